//! Every operation answers by its method, its tool and its aliases.

use serde_json::json;

use crate::harness::{agent, launch, on_both};

#[test]
fn memories_live_from_create_to_purge() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        assert_eq!(server.io, io);
        let mut client = agent(&server, "alice").await;
        let created = client
            .result("memory/create", json!({"content": "Builds need clang 17", "tags": ["build", "ci"], "importance": 0.9}))
            .await;
        let id = created["id"].clone();
        assert_eq!(
            (&created["agent_id"], &created["version"]),
            (&json!("alice"), &json!(1))
        );
        let found = client
            .result("memory/search", json!({"query": "clang"}))
            .await;
        assert_eq!(found["hits"][0]["id"], id);
        assert_eq!(found["mode"], "lexical");
        assert_eq!(found["truncated"], false);
        let changed = client
            .result(
                "memory/update",
                json!({"id": id, "content": "Builds need clang 18", "expected_version": 1}),
            )
            .await;
        assert_eq!(changed["version"], 2);
        let (code, name) = client
            .error(
                "memory/update",
                json!({"id": id, "content": "x", "expected_version": 1}),
            )
            .await;
        assert_eq!((code, name.as_str()), (1409, "CONFLICT"));
        let history = client.result("memory/history", json!({"id": id})).await;
        assert_eq!(history["versions"].as_array().unwrap().len(), 2);
        let stats = client.result("memory/stats", json!({})).await;
        assert_eq!(stats["owned"], 1);
        let recalled = client
            .result("memory/recall", json!({"tags": ["ci"]}))
            .await;
        assert_eq!(recalled["memories"][0]["content"], "Builds need clang 18");
        client
            .result("memory/delete", json!({"id": id, "purge": true}))
            .await;
        assert_eq!(client.error("memory/get", json!({"id": id})).await.0, 1404);
    });
}

#[test]
fn a_tool_answers_as_its_operation_does() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut client = agent(&server, "alice").await;
        for name in [
            "store_memory",
            "create_memory",
            "memory/store",
            "memory/create",
        ] {
            let call = json!({"name": name, "arguments": {"content": name}});
            let result = client.result("tools/call", call).await;
            assert_eq!(result["isError"], false, "{name}");
            assert_eq!(result["structuredContent"]["content"], name);
            let text: serde_json::Value =
                serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
            assert_eq!(text, result["structuredContent"]);
            assert_eq!(
                client.result(name, json!({"content": name})).await["content"],
                name
            );
        }
        let result = client
            .result(
                "tools/call",
                json!({"name": "get_memory", "arguments": {"id": "nonsense"}}),
            )
            .await;
        assert_eq!(
            (&result["isError"], &result["structuredContent"]["code"]),
            (&json!(true), &json!("INVALID_ARGUMENTS"))
        );
        assert_eq!(
            client
                .error("tools/call", json!({"name": "no_such_tool"}))
                .await
                .0,
            -32602
        );
        assert_eq!(
            client
                .error(
                    "tools/call",
                    json!({"name": "health_check", "arguments": []})
                )
                .await
                .0,
            -32602
        );
        assert_eq!(
            client.error("no/such/method", json!({})).await,
            (-32601, "METHOD_NOT_FOUND".to_owned())
        );
    });
}

#[test]
fn agents_register_and_switch() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut client = agent(&server, "alice").await;
        let info = client.result("agent/info", json!({})).await;
        assert_eq!(
            (&info["agent_id"], &info["registered"]),
            (&json!("alice"), &json!(false))
        );
        assert_eq!(
            client
                .error("agent/switch", json!({"agent_id": "bob"}))
                .await
                .0,
            1404
        );
        client
            .result(
                "register_agent",
                json!({"agent_id": "bob", "capabilities": ["review"]}),
            )
            .await;
        client
            .result("switch_agent", json!({"agent_id": "bob"}))
            .await;
        let info = client.result("get_current_agent", json!({})).await;
        assert_eq!(
            (&info["agent_id"], &info["capabilities"]),
            (&json!("bob"), &json!(["review"]))
        );
        let agents = client
            .result("agent/list", json!({"capability": "review"}))
            .await;
        assert_eq!(agents["agents"][0]["agent_id"], "bob");
        let session = client.result("session/info", json!({})).await;
        assert_eq!(
            (&session["agent_id"], &session["client"]["name"]),
            (&json!("bob"), &json!("test"))
        );
        let health = client.result("system/health", json!({})).await;
        assert_eq!(health["status"], "healthy");
        // The same question soon after is answered by the same answer, and counted as such.
        for _ in 0..20 {
            client.result("health_check", json!({})).await;
        }
        let stats = client.result("get_session_statistics", json!({})).await;
        assert!(stats["cache_hits"].as_u64().unwrap() >= 1, "{stats}");
        assert_eq!(
            (&stats["active_sessions"], &stats["ws_connections"]),
            (&json!(1), &json!(1))
        );
    });
}
