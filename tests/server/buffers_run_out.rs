//! An empty pool of receive buffers is back-pressure: nothing is lost and nobody fails.

use crate::harness::{connect, launch, on_both, until};

#[test]
fn floods_on_many_connections_through_eight_buffers() {
    on_both(async |io| {
        let server = launch(&[
            "--io",
            io,
            "--shards",
            "1",
            "--buffer-pool-size",
            "8",
            "--message-buffer-size",
            "1024",
            "--echo-path",
            "/echo",
        ])
        .start();
        let mut clients = Vec::new();
        for _ in 0..32 {
            clients.push(connect(server.api, "/echo", &[]).await);
        }
        let floods = clients
            .into_iter()
            .enumerate()
            .map(|(number, mut client)| async move {
                for round in 0..8 {
                    let text = format!("{number}:{round}:{}", "x".repeat(20_000));
                    client.send(&text).await;
                    assert_eq!(client.next().await.unwrap(), text.as_bytes());
                }
            });
        futures_util::future::join_all(floods).await;
        // Gauges are published on the shard's tick.
        until(async || server.metric("tmws_buffer_pool_exhausted_total").await > 0.0).await;
        until(async || server.metric("tmws_buffers_lent").await == 0.0).await;
    });
}
