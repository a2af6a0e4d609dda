//! What is private stays so on every way to it.

use serde_json::json;

use crate::harness::{agent, launch, on_both};

#[test]
fn another_agent_finds_nothing_that_it_may_not_see() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut alice = agent(&server, "alice").await;
        let mut mallory = agent(&server, "mallory").await;
        let secret = alice
            .result(
                "memory/create",
                json!({"content": "the vault opens with xylophone"}),
            )
            .await;
        let id = secret["id"].clone();
        for (method, params) in [
            ("memory/get", json!({"id": id})),
            ("memory/update", json!({"id": id, "content": "x"})),
            ("memory/delete", json!({"id": id, "purge": true})),
            ("memory/share", json!({"id": id, "agents": ["mallory"]})),
            ("memory/history", json!({"id": id})),
            ("memory/create", json!({"content": "x", "supersedes": id})),
        ] {
            assert_eq!(
                mallory.error(method, params).await,
                (1404, "NOT_FOUND".to_owned()),
                "{method}"
            );
        }
        let found = mallory
            .result("memory/search", json!({"query": "xylophone"}))
            .await;
        assert_eq!(found["hits"], json!([]));
        for params in [json!({"id": id}), json!({"agent": "alice"}), json!({})] {
            assert_eq!(
                mallory.result("memory/recall", params).await["memories"],
                json!([])
            );
        }
        alice
            .result("memory/share", json!({"id": id, "agents": ["mallory"]}))
            .await;
        assert_eq!(
            mallory.result("memory/get", json!({"id": id})).await["content"],
            secret["content"]
        );
        assert_eq!(
            mallory
                .error("memory/update", json!({"id": id, "content": "x"}))
                .await
                .0,
            1403
        );
        alice
            .result(
                "memory/share",
                json!({"id": id, "agents": ["mallory"], "revoke": true}),
            )
            .await;
        assert_eq!(mallory.error("memory/get", json!({"id": id})).await.0, 1404);
    });
}
