//! The whole server on PostgreSQL: `TMWS_DATABASE_URL` chooses it, and nothing else changes.

use serde_json::json;

use crate::fleet::database;
use crate::harness::{agent, launch, on_both};

#[test]
fn memories_outlive_the_server_in_the_database() {
    let url = database();
    on_both(async |io| {
        let flags = [
            "--io",
            io,
            "--database-url",
            &url,
            "--embedding-provider",
            "static",
        ];
        let flags = [&flags[..], &["--embedding-model", "static"]].concat();
        let owner = format!("alice-{io}");
        let server = launch(&flags).start();
        let mut client = agent(&server, &owner).await;
        let health = client.result("system/health", json!({})).await;
        assert_eq!(health["store"], "postgres");
        let create = json!({"content": "The billing key is rotated on Mondays", "tags": ["key"]});
        let created = client.result("memory/create", create).await;
        let id = created["id"].clone();
        drop(client);
        server.kill();
        let server = launch(&flags).start();
        let mut client = agent(&server, &owner).await;
        for mode in ["hybrid", "semantic", "lexical"] {
            let question = json!({"query": "billing key", "mode": mode, "include_shared": false});
            let found = client.result("memory/search", question).await;
            assert_eq!(
                (&found["mode"], &found["hits"][0]["id"]),
                (&json!(mode), &id),
                "{found}"
            );
        }
        let recalled = client.result(
            "memory/recall",
            json!({"tags": ["key"], "include_shared": false}),
        );
        assert_eq!(recalled.await["memories"][0]["id"], id);
        let mut stranger = agent(&server, "mallory").await;
        assert_eq!(
            stranger.error("memory/get", json!({"id": id})).await.0,
            1404
        );
        let status = client.result("embedding/status", json!({})).await;
        assert_eq!(status["active"]["model"], "static");
        client
            .result("memory/delete", json!({"id": id, "purge": true}))
            .await;
        assert_eq!(client.error("memory/get", json!({"id": id})).await.0, 1404);
    });
}
