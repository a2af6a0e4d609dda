//! A peer that does not read costs its cap, and nobody else's time.

use std::time::Duration;

use serde_json::json;

use crate::harness::{agent, connect, launch, on_both, until};

#[test]
fn a_peer_that_does_not_read_is_not_read_further() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "1", "--echo-path", "/echo"]).start();
        let mut slow = connect(server.api, "/echo", &[]).await;
        let mut other = agent(&server, "other").await;
        let text = "x".repeat(100_000);
        // Many times what the caps and the kernel's buffers hold.
        let flood = async {
            for _ in 0..400 {
                slow.send(&text).await;
            }
            slow
        };
        let mut flood = std::pin::pin!(flood);
        assert!(
            tokio::time::timeout(Duration::from_millis(1_500), flood.as_mut())
                .await
                .is_err(),
            "the flood is stopped"
        );
        for _ in 0..50 {
            other.result("ping", json!({})).await;
        }
        let taken = server.metric("tmws_received_bytes_total").await;
        until(async || {
            tokio::time::sleep(Duration::from_millis(200)).await;
            server.metric("tmws_received_bytes_total").await - taken < 1.0
        })
        .await;
        assert!(
            taken < 20e6,
            "{taken} bytes were taken from a peer that reads nothing"
        );
    });
}

#[test]
fn a_peer_that_reads_late_gets_everything() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "1"]).start();
        let mut slow = agent(&server, "slow").await;
        let content = "word ".repeat(1_900);
        slow.result("memory/create", json!({"content": content}))
            .await;
        // Far beyond the calls under way and the bytes queued that a connection is allowed.
        for _ in 0..600 {
            slow.post("memory/search", json!({"query": "word"})).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut ids = Vec::new();
        for _ in 0..600 {
            let answer = slow.receive().await;
            assert_eq!(answer["result"]["hits"][0]["content"], content);
            ids.push(answer["id"].as_u64().unwrap());
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 600);
    });
}
