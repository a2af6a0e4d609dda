//! Caps and deadlines: connections, handshakes, pings, idleness.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{agent, connect, http, launch, on_both, read_response, until, within};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn connections_beyond_the_cap_are_answered_503() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--ws-max-connections", "2"]).start();
        let first = agent(&server, "a").await;
        let _second = agent(&server, "b").await;
        let (status, head, body) = http(server.api, HANDSHAKE).await;
        assert_eq!(status, 503, "{body}");
        assert!(head.contains("retry-after") && body.contains("CONNECTION_FAILED"));
        drop(first);
        until(async || http(server.api, HANDSHAKE).await.0 == 101).await;
    });
}

#[test]
fn a_head_that_does_not_come_is_not_waited_for() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--handshake-timeout", "1"]).start();
        for start in ["", "GET /ws HTTP/1.1\r\nHost: lo"] {
            let mut stream = within(TcpStream::connect(server.api)).await.unwrap();
            within(stream.write_all(start.as_bytes())).await.unwrap();
            assert_eq!(within(stream.read(&mut [0; 16])).await.unwrap_or(0), 0);
        }
        // A head in pieces is fine as long as it comes.
        let mut stream = within(TcpStream::connect(server.api)).await.unwrap();
        for piece in HANDSHAKE.as_bytes().chunks(40) {
            within(stream.write_all(piece)).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(read_response(&mut stream).await.0, 101);
    });
}

#[test]
fn a_peer_that_answers_no_ping_is_let_go_and_one_that_does_stays() {
    on_both(async |io| {
        let server = launch(&[
            "--io",
            io,
            "--ws-ping-interval",
            "1",
            "--ws-ping-timeout",
            "1",
        ])
        .start();
        let mut dead = within(TcpStream::connect(server.api)).await.unwrap();
        within(dead.write_all(HANDSHAKE.as_bytes())).await.unwrap();
        let mut live = agent(&server, "live").await;
        let mut seen = Vec::new();
        let reading = async { while within(dead.read_buf(&mut seen)).await.unwrap_or(0) > 0 {} };
        let talking = async {
            // Pongs are written while it reads.
            let _ =
                tokio::time::timeout(std::time::Duration::from_millis(3_500), live.next()).await;
            live.result("ping", json!({})).await
        };
        let (_, pong) = tokio::join!(reading, talking);
        assert_eq!(pong, json!({}));
        let close = seen
            .windows(4)
            .any(|bytes| bytes[0] == 0x88 && bytes[2..4] == 1011_u16.to_be_bytes());
        assert!(close, "a close frame says why");
        assert_eq!(server.metric("tmws_pings_unanswered_total").await, 1.0);
    });
}

#[test]
fn idle_connections_are_closed_and_busy_ones_are_not() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--connection-timeout", "2"]).start();
        let mut idle = agent(&server, "idle").await;
        let mut busy = agent(&server, "busy").await;
        let work = async {
            for _ in 0..8 {
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                busy.result("ping", json!({})).await;
            }
        };
        let (end, ()) = tokio::join!(idle.next(), work);
        assert_eq!(end.unwrap_err().0, 1001);
    });
}

#[test]
fn limits_are_reloaded_by_a_hangup() {
    on_both(async |io| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tmws.toml");
        std::fs::write(&file, "ws_max_connections = 1\nmemory_content_max = 5\n").unwrap();
        let server = launch(&["--io", io, "--config", file.to_str().unwrap()]).start();
        let mut client = agent(&server, "a").await;
        assert_eq!(
            client
                .error("memory/create", json!({"content": "longer"}))
                .await
                .0,
            -32602
        );
        assert_eq!(http(server.api, HANDSHAKE).await.0, 503);
        std::fs::write(&file, "ws_max_connections = 5\nmemory_content_max = 50\n").unwrap();
        server.signal(libc::SIGHUP);
        until(async || http(server.api, HANDSHAKE).await.0 == 101).await;
        // Each shard takes the new limits in a turn of its own.
        let longer = json!({"content": "longer"});
        until(async || {
            let answer = client.request("memory/create", longer.clone()).await;
            answer["error"].is_null()
        })
        .await;
        // A broken file changes nothing.
        std::fs::write(&file, "ws_max_conections = 1\n").unwrap();
        server.signal(libc::SIGHUP);
        client
            .result("memory/create", json!({"content": "longer"}))
            .await;
        let _another = connect(server.ws, "/", &[]).await;
    });
}
