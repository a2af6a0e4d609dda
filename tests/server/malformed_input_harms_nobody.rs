//! Whatever a peer sends gets its error, and no other connection notices.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Server, agent, connect, launch, on_both, read_response, within};

const HANDSHAKE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Sends frames and returns the close code that answers them.
async fn close_code(server: &Server, frames: &[u8]) -> u16 {
    let mut stream = within(TcpStream::connect(server.api)).await.unwrap();
    within(stream.write_all(HANDSHAKE)).await.unwrap();
    assert_eq!(read_response(&mut stream).await.0, 101);
    within(stream.write_all(frames)).await.unwrap();
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer[0], 0x88, "a close frame");
    u16::from_be_bytes([answer[2], answer[3]])
}

#[test]
fn broken_frames_close_their_own_connection() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut other = agent(&server, "other").await;
        for (frames, code) in [
            (&b"\x81\x02hi"[..], 1002),                    // not masked
            (b"\xc1\x80\0\0\0\0", 1002),                   // RSV1 without deflate
            (b"\x83\x80\0\0\0\0", 1002),                   // reserved opcode
            (b"\x80\x80\0\0\0\0", 1002),                   // nothing to continue
            (b"\x09\x80\0\0\0\0", 1002),                   // fragmented ping
            (b"\x89\xfe\0\x7e\0\0\0\0", 1002),             // long ping
            (b"\x81\xff\0\0\0\0\0\x20\0\0\0\0\0\0", 1009), // 2 MiB announced
            (b"\x81\xff\x80\0\0\0\0\0\0\0\0\0\0\0", 1002), // 63 bits and more
            (b"\x81\x82\0\0\0\0\xc3\x28", 1007),           // not UTF-8
            (b"\x82\x82\0\0\0\0hi", 1003),                 // binary
            (b"\x88\x81\0\0\0\0\x03", 1002),               // close of one byte
            (b"\x88\x82\0\0\0\0\x03\xed", 1002),           // close code 1005
            (b"\x88\x82\0\0\0\0\x03\xe8", 1000),           // an orderly close
        ] {
            assert_eq!(close_code(&server, frames).await, code, "{frames:?}");
            assert_eq!(other.result("ping", json!({})).await, json!({}));
        }
    });
}

#[test]
fn broken_messages_are_answered_and_the_connection_lives_on() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut client = agent(&server, "a").await;
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{}1{}}}"#,
            "[".repeat(70),
            "]".repeat(70)
        );
        let long_id = format!(
            r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#,
            "x".repeat(300)
        );
        for (message, code, name) in [
            ("{", -32700, "INVALID_JSON"),
            ("\u{0}", -32700, "INVALID_JSON"),
            ("[", -32600, "INVALID_MESSAGE_FORMAT"),
            ("7", -32600, "INVALID_MESSAGE_FORMAT"),
            ("{}", -32600, "INVALID_MESSAGE_FORMAT"),
            (
                r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
                -32600,
                "INVALID_MESSAGE_ID",
            ),
            (
                r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
                -32600,
                "INVALID_MESSAGE_ID",
            ),
            (&long_id, -32600, "INVALID_MESSAGE_ID"),
            (&deep, -32600, "INVALID_MESSAGE_FORMAT"),
        ] {
            client.send(message).await;
            let answer = client.receive().await;
            assert_eq!(
                (&answer["id"], &answer["error"]["code"]),
                (&json!(null), &json!(code)),
                "{message:.80}"
            );
            assert_eq!(answer["error"]["data"]["code"], name, "{message:.80}");
        }
        assert_eq!(client.result("ping", json!({})).await, json!({}));
        for (method, params) in [
            ("memory/create", json!({})),
            ("memory/create", json!({"content": 7})),
            ("memory/create", json!({"content": "  "})),
            ("memory/create", json!({"content": "x".repeat(10_001)})),
            ("memory/create", json!({"content": "x", "importance": 1.01})),
            ("memory/create", json!({"content": "x", "ttl": 0})),
            ("memory/create", json!({"content": "x", "ttl": -1})),
            (
                "memory/create",
                json!({"content": "x", "access_level": "secret"}),
            ),
            (
                "memory/create",
                json!({"content": "x", "valid_from": "yesterday"}),
            ),
            ("memory/create", json!({"content": "x", "metadata": []})),
            ("memory/create", json!({"content": "x", "tags": "build"})),
            ("memory/create", json!({"content": "x", "unknown": 1})),
            ("memory/search", json!({"query": ""})),
            ("memory/search", json!({"query": "x", "limit": 0})),
            ("memory/search", json!({"query": "x", "limit": 101})),
            ("memory/search", json!({"query": "x", "min_similarity": -1})),
            ("memory/recall", json!({"cursor": "nonsense"})),
            ("memory/get", json!({"id": "nonsense"})),
            ("agent/register", json!({"agent_id": "two words"})),
        ] {
            assert_eq!(
                client.error(method, params.clone()).await,
                (-32602, "INVALID_ARGUMENTS".to_owned()),
                "{method} {params:.80}"
            );
        }
        assert_eq!(client.result("memory/stats", json!({})).await["owned"], 0);
    });
}

#[test]
fn ids_come_back_as_they_were_written() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut client = connect(server.ws, "/", &[]).await;
        for id in [
            "0",
            "-1",
            "1.50",
            "12345678901234567890123",
            "\"\"",
            "\"\\u0041\"",
            "\"\u{e9}\"",
        ] {
            for method in ["ping", "no/such", "memory/stats"] {
                client
                    .send(&format!(
                        r#"{{"method":"{method}","id":{id},"jsonrpc":"2.0"}}"#
                    ))
                    .await;
                let answer = String::from_utf8(client.next().await.unwrap()).unwrap();
                assert!(
                    answer.starts_with(&format!(r#"{{"jsonrpc":"2.0","id":{id},"#)),
                    "{answer}"
                );
            }
        }
    });
}
