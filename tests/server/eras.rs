//! Both eras of MCP on one endpoint, and which of them a connection speaks.

use serde_json::{Value, json};

use crate::harness::{connect, launch, on_both};

fn envelope(mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    params
}

#[test]
fn the_legacy_era_negotiates_once() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        for version in ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"] {
            let mut client =
                connect(server.api, "/mcp", &[("Sec-WebSocket-Protocol", "mcp")]).await;
            assert_eq!(client.error("tools/list", json!({})).await.0, -32600);
            assert_eq!(client.initialize(version).await["protocolVersion"], version);
            assert_eq!(client.result("ping", json!({})).await, json!({}));
            let tools = client.result("tools/list", json!({})).await;
            assert_eq!(tools["tools"].as_array().unwrap().len(), 8);
            assert!(tools.get("resultType").is_none());
            assert_eq!(
                client
                    .error("initialize", json!({"protocolVersion": version}))
                    .await
                    .0,
                -32600
            );
            assert_eq!(
                client.error("tools/list", envelope(json!({}))).await.0,
                -32600
            );
            assert_eq!(client.error("server/discover", json!({})).await.0, -32601);
        }
        let mut client = connect(server.ws, "/", &[]).await;
        assert_eq!(
            client.initialize("1999-01-01").await["protocolVersion"],
            "2025-11-25"
        );
    });
}

#[test]
fn a_direct_operation_or_ping_needs_no_initialize() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut client = connect(server.ws, "/ws/mcp", &[]).await;
        assert_eq!(client.result("ping", json!({})).await, json!({}));
        assert_eq!(
            client.result("system/health", json!({})).await["status"],
            "healthy"
        );
        assert_eq!(
            client.error("server/discover", envelope(json!({}))).await.0,
            -32600
        );
    });
}

#[test]
fn the_modern_era_carries_its_version_in_every_request() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut client = connect(server.api, "/ws", &[]).await;
        // Without its envelope it is refused, and fixes nothing.
        assert_eq!(client.error("server/discover", json!({})).await.0, -32602);
        let discover = client.result("server/discover", envelope(json!({}))).await;
        assert_eq!(discover["supportedVersions"], json!(["2026-07-28"]));
        assert_eq!(discover["resultType"], "complete");
        let call = envelope(json!({"name": "health_check", "arguments": {}}));
        let result = client.result("tools/call", call).await;
        assert_eq!(result["structuredContent"]["status"], "healthy");
        assert_eq!(
            result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
            "tmws"
        );
        let list = client.result("tools/list", envelope(json!({}))).await;
        assert_eq!(
            (&list["cacheScope"], &list["resultType"]),
            (&json!("public"), &json!("complete"))
        );
        let direct = client
            .result("memory/create", envelope(json!({"content": "x"})))
            .await;
        assert_eq!(
            (&direct["content"], &direct["resultType"]),
            (&json!("x"), &json!("complete"))
        );
        assert_eq!(client.error("ping", envelope(json!({}))).await.0, -32601);
        assert_eq!(client.error("tools/list", json!({})).await.0, -32602);
        assert_eq!(
            client
                .error("initialize", json!({"protocolVersion": "2025-11-25"}))
                .await
                .0,
            -32022
        );
        let mut old = envelope(json!({}));
        old["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("1900-01-01");
        let answer = client.request("tools/list", old).await;
        assert_eq!(answer["error"]["code"], -32022);
        assert_eq!(answer["error"]["data"]["supported"], json!(["2026-07-28"]));
        assert_eq!(answer["error"]["data"]["requested"], "1900-01-01");
    });
}

#[test]
fn a_client_chooses_its_tool_profile() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        for (path, field) in [("/ws?tools=full", "core"), ("/ws", "full")] {
            let mut client = connect(server.ws, path, &[("X-Tool-Profile", field)]).await;
            client.initialize("2025-11-25").await;
            let first = client.result("tools/list", json!({})).await;
            assert_eq!(first, client.result("tools/list", json!({})).await);
            let next = json!({"cursor": first["nextCursor"]});
            let second = client.result("tools/list", next).await;
            let next = json!({"cursor": second["nextCursor"]});
            let third = client.result("tools/list", next).await;
            assert!(third.get("nextCursor").is_none());
            let tools = |page: &Value| page["tools"].as_array().unwrap().len();
            assert_eq!([&first, &second, &third].map(tools), [12, 12, 6]);
            assert_eq!(
                client.error("tools/list", json!({"cursor": "x"})).await.0,
                -32602
            );
        }
    });
}
