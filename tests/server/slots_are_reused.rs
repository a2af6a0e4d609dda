//! Connections come and go while others work: no answer reaches the wrong one.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{agent, connect, launch, on_both, until, within};

#[test]
fn churn_beside_work() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "1", "--echo-path", "/echo"]).start();
        let churn = async {
            for round in 0..200 {
                match round % 4 {
                    // Gone with an answer under way.
                    0 => {
                        let mut client = agent(&server, "churn").await;
                        client
                            .post("memory/create", json!({"content": "left behind"}))
                            .await;
                    }
                    // Gone in the middle of a frame.
                    1 => {
                        let mut stream = within(TcpStream::connect(server.api)).await.unwrap();
                        stream.write_all(b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n\x81\xfe\x10\x00\0\0\0\0half").await.unwrap();
                    }
                    // Gone before it said anything, with a reset.
                    2 => {
                        let stream = within(TcpStream::connect(server.api)).await.unwrap();
                        stream.set_zero_linger().unwrap();
                    }
                    // Gone in order, after its own echo.
                    _ => {
                        let mut client = connect(server.api, "/echo", &[]).await;
                        let text = format!("round {round}");
                        client.send(&text).await;
                        assert_eq!(client.next().await.unwrap(), text.as_bytes());
                    }
                }
            }
        };
        let work = async |name: &str| {
            let mut client = agent(&server, name).await;
            for round in 0..100 {
                let content = format!("{name} {round}");
                let memory = client
                    .result("memory/create", json!({"content": content}))
                    .await;
                assert_eq!(
                    (&memory["content"], &memory["agent_id"]),
                    (&json!(content), &json!(name))
                );
            }
        };
        tokio::join!(churn, work("first"), work("second"), work("third"));
        until(async || server.metric("tmws_websocket_connections").await == 0.0).await;
        until(async || server.metric("tmws_sockets").await <= 1.0).await;
        assert_eq!(server.metric("tmws_buffers_lent").await, 0.0);
    });
}
