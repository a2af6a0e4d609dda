//! A stop: 1012 to every WebSocket, what was asked is answered, exit 0.

use crate::harness::{PATIENCE, agent, http, launch, on_both};
use serde_json::json;

#[test]
fn connections_are_closed_with_1012_and_calls_under_way_are_answered() {
    on_both(async |io| {
        let data = tempfile::tempdir().unwrap();
        let mut server = launch(&["--io", io, "--drain-seconds", "1"])
            .data(data.path())
            .start();
        let mut clients = Vec::new();
        for number in 0..20 {
            clients.push(agent(&server, &format!("agent-{number}")).await);
        }
        for client in &mut clients {
            for number in 0..5 {
                client
                    .post(
                        "memory/create",
                        json!({"content": format!("memory {number}")}),
                    )
                    .await;
            }
        }
        server.signal(libc::SIGTERM);
        let mut stored = Vec::new();
        for client in &mut clients {
            let code = loop {
                match client.next().await {
                    Ok(message) => {
                        let answer: serde_json::Value = serde_json::from_slice(&message).unwrap();
                        stored.push(answer["result"]["id"].clone());
                    }
                    Err((code, _)) => break code,
                }
            };
            assert_eq!(code, 1012);
        }
        assert_eq!(stored.len(), 100, "every call under way is answered");
        assert_eq!(server.wait().code(), Some(0));
        let server = launch(&["--io", io]).data(data.path()).start();
        let mut client = agent(&server, "agent-0").await;
        assert_eq!(client.result("memory/stats", json!({})).await["owned"], 5);
    });
}

#[test]
fn a_server_without_connections_stops_at_once_and_accepts_nobody() {
    on_both(async |io| {
        let mut server = launch(&["--io", io, "--drain-seconds", "9"]).start();
        let (status, _, _) = http(
            server.api,
            "GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )
        .await;
        assert_eq!(status, 200);
        server.signal(libc::SIGINT);
        let started = std::time::Instant::now();
        assert_eq!(server.wait().code(), Some(0));
        assert!(started.elapsed() < PATIENCE);
        assert!(std::net::TcpStream::connect(server.api).is_err());
    });
}
