//! What is no WebSocket goes to HTTP, on the same ports and shards.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{agent, http, launch, on_both, read_response, within};

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Agent-ID: rest\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn health_metrics_and_statistics_are_served() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        for address in [server.api, server.ws] {
            for path in [
                "/health",
                "/health/live",
                "/health/ready",
                "/api/v1/stats",
                "/ws/mcp/stats",
            ] {
                let (status, head, body) = http(address, &get(path)).await;
                assert_eq!(status, 200, "{path}");
                assert!(
                    head.to_lowercase()
                        .contains("content-type: application/json")
                );
                assert!(serde_json::from_str::<Value>(&body).unwrap().is_object());
            }
        }
        let (status, head, body) = http(server.api, &get("/metrics")).await;
        assert_eq!(status, 200);
        assert!(head.contains("openmetrics-text") && body.ends_with("# EOF\n"));
        assert!(server.metric("tmws_http_requests_total").await >= 11.0);
    });
}

#[test]
fn a_memory_stored_by_rest_is_found_by_mcp() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut stream = within(TcpStream::connect(server.api)).await.unwrap();
        // One connection for all: keep-alive.
        within(
            stream.write_all(
                post("/api/v1/memory", r#"{"content":"Rust 1.95 is pinned"}"#).as_bytes(),
            ),
        )
        .await
        .unwrap();
        let (status, head, body) = read_response(&mut stream).await;
        let memory: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status, 201);
        assert!(head.contains(&format!(
            "location: /api/v1/memory/{}",
            memory["id"].as_str().unwrap()
        )));
        assert!(head.contains("etag: \"1\""));
        within(stream.write_all(post("/api/v1/memory/search", r#"{"query":"pinned"}"#).as_bytes()))
            .await
            .unwrap();
        let (status, _, body) = read_response(&mut stream).await;
        let found: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &found["hits"][0]["id"]), (200, &memory["id"]));
        let mut client = agent(&server, "rest").await;
        let found = client
            .result("memory/search", json!({"query": "pinned"}))
            .await;
        assert_eq!(found["hits"][0]["id"], memory["id"]);
    });
}

#[test]
fn problems_are_problem_details() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let large = format!("{{\"content\":\"{}\"}}", "x".repeat(2 << 20));
        let head_beyond = format!(
            "GET /health HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
            "x".repeat(20_000)
        );
        for (request, status, code) in [
            (get("/nothing"), 404, "NOT_FOUND"),
            (get("/api/v1/memory"), 405, "METHOD_NOT_ALLOWED"),
            (post("/health", "{}"), 405, "METHOD_NOT_ALLOWED"),
            (post("/api/v1/memory", "{"), 400, "INVALID_JSON"),
            (post("/api/v1/memory", "[]"), 400, "INVALID_ARGUMENTS"),
            (
                post("/api/v1/memory", r#"{"content":""}"#),
                400,
                "INVALID_ARGUMENTS",
            ),
            (
                post("/api/v1/memory", r#"{"content":"x","importance":2}"#),
                400,
                "INVALID_ARGUMENTS",
            ),
            (post("/api/v1/memory", &large), 413, "MESSAGE_TOO_LARGE"),
            (
                post("/api/v1/memory", "{}").replace("application/json", "text/plain"),
                415,
                "UNSUPPORTED_MEDIA_TYPE",
            ),
            (
                get("/health").replace("localhost", "evil.example"),
                403,
                "SECURITY_VIOLATION",
            ),
            (
                get("/health").replace("\r\n\r\n", "\r\nOrigin: http://evil.example\r\n\r\n"),
                403,
                "SECURITY_VIOLATION",
            ),
            (
                get("/health").replace("Host: localhost\r\n", ""),
                400,
                "INVALID_MESSAGE_FORMAT",
            ),
        ] {
            let (seen, head, body) = http(server.api, &request).await;
            assert_eq!(seen, status, "{request:.100}: {body}");
            assert!(head.contains("application/problem+json"));
            let problem: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(
                (&problem["code"], &problem["status"]),
                (&json!(code), &json!(status))
            );
        }
        for (request, status) in [(head_beyond.as_str(), 431), ("NONSENSE\r\n\r\n", 400)] {
            assert_eq!(http(server.api, request).await.0, status);
        }
    });
}

#[test]
fn handshakes_that_cannot_be_are_told_why() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let handshake = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        for (from, to, status, part) in [
            (
                "Version: 13",
                "Version: 8",
                426,
                "sec-websocket-version: 13",
            ),
            ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", 400, "problem+json"),
            ("GET /ws ", "GET /nowhere ", 404, "problem+json"),
            ("GET /ws ", "POST /ws ", 405, "allow: GET"),
            ("Host: localhost", "Host: evil.example", 403, "problem+json"),
            (
                "Host: localhost",
                "Host: localhost\r\nOrigin: http://evil.example",
                403,
                "problem+json",
            ),
            (
                "Host: localhost",
                "Host: localhost\r\nX-Agent-ID: no spaces",
                400,
                "problem+json",
            ),
            ("Connection: Upgrade\r\n", "", 400, "problem+json"),
        ] {
            let request = handshake.replace(from, to);
            let (seen, head, body) = http(server.api, &request).await;
            assert_eq!(seen, status, "{to}: {body}");
            assert!(head.contains(part), "{head}");
        }
    });
}
