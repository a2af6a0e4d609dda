//! Large answers arrive whole, compressed or not.

use serde_json::json;

use crate::harness::{agent, connect, launch, on_both};

#[test]
fn a_hundred_large_memories_fit_one_answer() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut client = agent(&server, "a").await;
        let text = "lorem ipsum dolor sit amet ".repeat(400);
        for number in 0..100 {
            client
                .post(
                    "memory/create",
                    json!({"content": format!("{number} {text}")[..10_000]}),
                )
                .await;
        }
        for _ in 0..100 {
            assert!(client.receive().await.get("result").is_some());
        }
        // This client does not offer compression: the answer is about a megabyte.
        let found = client
            .result(
                "tools/call",
                json!({"name": "search_memories", "arguments": {"query": "lorem", "limit": 100}}),
            )
            .await;
        assert_eq!(
            found["structuredContent"]["hits"].as_array().unwrap().len(),
            100
        );
    });
}

#[test]
fn compression_is_declined_when_it_is_off() {
    on_both(async |io| {
        let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        for (flag, answered) in [("true", true), ("false", false)] {
            let server = launch(&["--io", io, &format!("--permessage-deflate={flag}")]).start();
            let request = format!(
                "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
            );
            let (status, head, _) = crate::harness::http(server.api, &request).await;
            assert_eq!(status, 101);
            assert_eq!(
                head.contains("permessage-deflate; server_no_context_takeover"),
                answered,
                "{head}"
            );
            // The subprotocol is echoed only to those who offer it.
            assert!(!head.to_lowercase().contains("sec-websocket-protocol"));
            let mut client = connect(
                server.api,
                "/ws",
                &[("Sec-WebSocket-Protocol", "other, mcp")],
            )
            .await;
            assert_eq!(client.result("ping", json!({})).await, json!({}));
        }
    });
}
