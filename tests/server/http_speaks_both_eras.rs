//! Streamable HTTP: modern requests stand alone, legacy ones belong to sessions, on one path.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::web::{MODERN, Web, envelope};
use crate::harness::{Server, launch, on_both, until};

const UPDATED: &str = "notifications/resources/updated";
const RECENT: &str = "memory://default/recent";

fn body(method: &str, params: Value) -> Vec<u8> {
    let message = json!({"jsonrpc": "2.0", "id": "x", "method": method, "params": params});
    message.to_string().into_bytes()
}

/// The headers of a modern request.
fn modern<'h>(method: &'h str, name: &'h str) -> Vec<(&'h str, &'h str)> {
    vec![
        ("MCP-Protocol-Version", MODERN),
        ("Mcp-Method", method),
        ("Mcp-Name", name),
    ]
}

async fn stored(web: &mut Web, agent: &str, content: &str) -> String {
    let call = json!({"name": "store_memory", "arguments": {"content": content}});
    let answer = web.modern(agent, "tools/call", envelope(call)).await;
    let memory = answer.result()["structuredContent"].clone();
    memory["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_modern_request_is_answered_by_json() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        for address in [server.api, server.ws] {
            let mut web = Web::connect(address).await;
            let answer = web
                .modern("a", "server/discover", envelope(json!({})))
                .await;
            assert_eq!(answer.result()["supportedVersions"], json!([MODERN]));
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(answer.header("mcp-session-id"), None);
            let id = stored(&mut web, "a", "over HTTP").await;
            let uri = json!({"uri": format!("memory://default/{id}")});
            let read = web
                .modern("a", "resources/read", envelope(uri.clone()))
                .await;
            let text = read.result()["contents"][0]["text"].to_string();
            assert!(text.contains("over HTTP"), "{text}");
            let read = web.modern("b", "resources/read", envelope(uri)).await;
            assert_eq!(read.failure(), (400, -32602), "private");
            let listed = web.modern("a", "tools/list", envelope(json!({}))).await;
            assert_eq!(listed.result()["tools"].as_array().unwrap().len(), 8);
            let note =
                br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
            let headers = modern("notifications/cancelled", "");
            let answer = web.ask("POST", "/mcp", &headers, note).await;
            assert_eq!((answer.status, answer.body.as_str()), (202, ""));
            // A tool that fails is a result.
            let call = json!({"name": "store_memory", "arguments": {"content": ""}});
            let answer = web.modern("a", "tools/call", envelope(call)).await;
            assert_eq!(answer.result()["isError"], true);
        }
    });
}

#[test]
fn the_ladder_of_refusals_is_told_by_code_and_status() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut web = Web::connect(server.api).await;
        let read = body(
            "resources/read",
            envelope(json!({"uri": "memory://a/none"})),
        );
        let list = body("tools/list", envelope(json!({})));
        let mut other = envelope(json!({}));
        other["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("1900-01-01");
        let mut half = envelope(json!({}));
        half["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": MODERN});
        let old = [
            ("MCP-Protocol-Version", "1900-01-01"),
            ("Mcp-Method", "tools/list"),
        ];
        let twice = [modern("tools/list", ""), modern("tools/list", "")].concat();
        let none = [("Mcp-Method", "tools/list")];
        let tool = body(
            "tools/call",
            envelope(json!({"name": "none", "arguments": {}})),
        );
        let escaped = "=?base64?bm9uZQ==?=";
        let wrong = "=?base64?bm9uZQ=?=";
        for (what, headers, body, failure) in [
            (
                "no envelope",
                modern("tools/list", ""),
                body("tools/list", json!({})),
                (400, -32602),
            ),
            (
                "half of it",
                modern("tools/list", ""),
                body("tools/list", half),
                (400, -32602),
            ),
            (
                "versions differ",
                modern("tools/list", ""),
                body("tools/list", other.clone()),
                (400, -32020),
            ),
            (
                "an unknown version",
                old.to_vec(),
                body("tools/list", other),
                (400, -32022),
            ),
            (
                "methods differ",
                modern("tools/call", ""),
                list.clone(),
                (400, -32020),
            ),
            ("no method", modern("", ""), list.clone(), (400, -32020)),
            ("no version", none.to_vec(), list.clone(), (400, -32020)),
            ("headers twice", twice, list.clone(), (400, -32020)),
            (
                "names differ",
                modern("resources/read", "memory://a/other"),
                read.clone(),
                (400, -32020),
            ),
            (
                "no name",
                modern("resources/read", ""),
                read.clone(),
                (400, -32020),
            ),
            (
                "nothing of that name",
                modern("resources/read", "memory://a/none"),
                read.clone(),
                (400, -32602),
            ),
            (
                "an escaped name",
                modern("tools/call", escaped),
                tool.clone(),
                (400, -32602),
            ),
            (
                "a name escaped badly",
                modern("tools/call", wrong),
                tool.clone(),
                (400, -32020),
            ),
            (
                "no such method",
                modern("no/such", ""),
                body("no/such", envelope(json!({}))),
                (404, -32601),
            ),
            (
                "initialize",
                modern("initialize", ""),
                body("initialize", envelope(json!({}))),
                (404, -32601),
            ),
            (
                "ping",
                modern("ping", ""),
                body("ping", envelope(json!({}))),
                (404, -32601),
            ),
            (
                "an array",
                modern("tools/list", ""),
                [b"[", &list[..], b"]"].concat(),
                (400, -32600),
            ),
            (
                "a response",
                modern("", ""),
                br#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_vec(),
                (400, -32600),
            ),
            (
                "no JSON",
                modern("tools/list", ""),
                b"{\"jsonrpc\":".to_vec(),
                (400, -32700),
            ),
            (
                "no UTF-8",
                modern("tools/list", ""),
                b"{\"jsonrpc\":\"\xff\"}".to_vec(),
                (400, -32700),
            ),
            (
                "no request",
                modern("tools/list", ""),
                b"{}".to_vec(),
                (400, -32600),
            ),
        ] {
            let answer = web.ask("POST", "/mcp", &headers, &body).await;
            assert_eq!(answer.failure(), failure, "{what}: {}", answer.body);
        }
        // The connection has survived all of them.
        web.modern("a", "tools/list", envelope(json!({})))
            .await
            .result();
    });
}

#[test]
fn what_http_itself_refuses_is_told_by_its_status() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let list = body("tools/list", envelope(json!({})));
        let large = body("tools/list", envelope(json!({"x": "x".repeat(2 << 20)})));
        for (what, header, body, status) in [
            ("nothing readable", ("Accept", "text/html"), &list, 406),
            (
                "all refused",
                ("Accept", "application/json;q=0, text/event-stream;q=0"),
                &list,
                406,
            ),
            ("JSON alone", ("Accept", "application/json"), &list, 200),
            ("anything", ("Accept", "*/*"), &list, 200),
            ("no word of it", ("Accept", ""), &list, 200),
            ("no JSON", ("Content-Type", "text/plain"), &list, 415),
            ("of no type", ("Content-Type", ""), &list, 415),
            (
                "of JSON",
                ("Content-Type", "application/json; charset=utf-8"),
                &list,
                200,
            ),
            ("too large", ("X-Large", "yes"), &large, 413),
            ("foreign", ("Origin", "http://evil.example"), &list, 403),
            ("no origin", ("Origin", "null"), &list, 403),
            ("foreign host", ("Host", "evil.example"), &list, 403),
            ("no agent", ("X-Agent-ID", "not an agent"), &list, 400),
        ] {
            let mut headers = modern("tools/list", "");
            headers.push(header);
            let mut web = Web::connect(server.api).await;
            let answer = web.ask("POST", "/mcp", &headers, body).await;
            assert_eq!(answer.status, status, "{what}: {}", answer.body);
        }
        let mut web = Web::connect(server.api).await;
        for (method, version, status) in [
            ("GET", MODERN, 405),
            ("DELETE", MODERN, 405),
            ("PUT", MODERN, 405),
            ("GET", "1900-01-01", 405),
            ("PUT", "2025-11-25", 405),
            ("GET", "2025-11-25", 400),
            ("DELETE", "2025-11-25", 400),
        ] {
            let headers = [("MCP-Protocol-Version", version)];
            let answer = web.ask(method, "/mcp", &headers, b"").await;
            assert_eq!(answer.status, status, "{method} {version}");
            assert_eq!(answer.header("allow").is_some(), status == 405);
        }
    });
}

#[test]
fn a_modern_listen_streams_until_its_client_leaves() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "2"]).start();
        let mut writer = Web::connect(server.api).await;
        let mut listener = Web::connect(server.api).await;
        let filter = json!({"notifications": {"resourceSubscriptions": [RECENT]}});
        let params = envelope(filter);
        let id = listener
            .post_modern("a", "subscriptions/listen", &params)
            .await;
        let head = listener.response().await;
        assert!(head.status == 200 && head.streams());
        assert_eq!(head.header("x-accel-buffering"), Some("no"));
        let first = listener.event().await.unwrap().json();
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
        for round in 0..3 {
            stored(&mut writer, "a", &format!("round {round}")).await;
            let event = listener.event().await.unwrap();
            assert_eq!(event.id, None, "nothing to come back to");
            let told = event.json();
            assert_eq!(
                (&told["method"], &told["params"]["uri"]),
                (&json!(UPDATED), &json!(RECENT))
            );
            assert_eq!(
                told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
                id
            );
        }
        // Somebody else's are not told.
        stored(&mut writer, "b", "private").await;
        assert!(listener.is_silent(Duration::from_millis(300)).await);
        // Whoever is gone is told nothing, and harms nobody.
        drop(listener);
        for round in 0..3 {
            stored(&mut writer, "a", &format!("nobody listens {round}")).await;
        }
    });
}

#[test]
fn a_legacy_session_begins_with_initialize_and_ends_with_delete() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut web = Web::connect(server.api).await;
        for version in ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"] {
            let session = web.initialize("a", version).await;
            assert!(session.bytes().all(|byte| byte.is_ascii_graphic()));
            let listed = web.legacy(&session, "tools/list", json!({})).await;
            assert_eq!(listed.header("mcp-session-id"), None);
            let listed = listed.result();
            assert_eq!(listed["tools"].as_array().unwrap().len(), 8);
            assert!(listed.get("resultType").is_none());
            assert_eq!(
                web.legacy(&session, "ping", json!({})).await.result(),
                json!({})
            );
            let headers = [
                ("Mcp-Session-Id", session.as_str()),
                ("MCP-Protocol-Version", version),
            ];
            let answer = web
                .ask("POST", "/mcp", &headers, &body("ping", json!({})))
                .await;
            assert_eq!(answer.result(), json!({}));
            // A second initialize within the session is refused.
            let again = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}});
            let answer = web.legacy(&session, "initialize", again).await;
            assert_eq!(answer.json()["error"]["code"], -32600);
            let headers = [("Mcp-Session-Id", session.as_str())];
            let answer = web.ask("DELETE", "/mcp", &headers, b"").await;
            assert!((200..300).contains(&answer.status));
            for _ in 0..2 {
                assert_eq!(web.legacy(&session, "ping", json!({})).await.status, 404);
                assert_eq!(web.ask("GET", "/mcp", &headers, b"").await.status, 404);
                assert_eq!(web.ask("DELETE", "/mcp", &headers, b"").await.status, 404);
            }
        }
        assert_eq!(web.legacy("", "tools/list", json!({})).await.status, 400);
        let note = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!(web.ask("POST", "/mcp", &[], note).await.status, 400);
        for unknown in [
            "x",
            "-",
            "0",
            "00000000-0000-4000-8000-000000000000-0",
            "00000000-0000-4000-8000-000000000000-99",
            "00000000-0000-4000-8000-000000000000-99999999999999999999999",
        ] {
            let answer = web.legacy(unknown, "tools/list", json!({})).await;
            assert_eq!(answer.status, 404, "{unknown}");
        }
        // What cannot begin leaves no session behind.
        let answer = web
            .legacy("", "initialize", json!({"protocolVersion": 7}))
            .await;
        assert_eq!(answer.json()["error"]["code"], -32602);
        assert_eq!(answer.header("mcp-session-id"), None);
        until(async || server.metric("tmws_sessions").await == 0.0).await;
    });
}

#[test]
fn requests_of_a_session_may_come_by_any_connection() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "2"]).start();
        let mut first = Web::connect(server.api).await;
        let session = first.initialize("a", "2025-11-25").await;
        let call = |n: usize| json!({"name": "store_memory", "arguments": {"content": format!("by connection {n}")}});
        let mut connections = Vec::new();
        // The kernel deals them out: with so many, both shards have some.
        for number in 0..16 {
            let mut web = Web::connect(server.api).await;
            let answer = web.legacy(&session, "tools/call", call(number)).await;
            let memory = answer.result()["structuredContent"].clone();
            assert_eq!(memory["agent_id"], "a", "the session says who it is");
            connections.push(web);
        }
        // Side by side as well.
        for (number, web) in connections.iter_mut().enumerate() {
            let message = body("tools/call", call(100 + number));
            let headers = [("Mcp-Session-Id", session.as_str())];
            web.send("POST", "/mcp", &headers, &message).await;
        }
        for (number, web) in connections.iter_mut().enumerate() {
            let stored = web.response().await.result()["structuredContent"]["content"].clone();
            assert_eq!(stored, format!("by connection {}", 100 + number));
        }
        let stats = first.legacy(&session, "memory/stats", json!({})).await;
        assert_eq!(stats.result()["owned"], 32);
    });
}

async fn get(server: &Server, session: &str, last: &str) -> Web {
    let mut web = Web::connect(server.api).await;
    let headers = [("Mcp-Session-Id", session), ("Last-Event-ID", last)];
    let head = web.ask("GET", "/mcp", &headers, b"").await;
    assert!(head.status == 200 && head.streams(), "{head:?}");
    web
}

#[test]
fn the_stream_of_a_session_tells_of_changes_and_goes_on_where_it_broke() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "2"]).start();
        let mut web = Web::connect(server.api).await;
        let session = web.initialize("a", "2025-11-25").await;
        let mut stream = get(&server, &session, "").await;
        let primed = stream.event().await.unwrap();
        assert!(primed.retry.is_some() && primed.id.is_some() && primed.data.is_empty());
        let headers = [("Mcp-Session-Id", session.as_str())];
        let second = web.ask("GET", "/mcp", &headers, b"").await;
        assert_eq!(second.status, 409, "one reader at a time");
        let subscribe = json!({"uri": RECENT});
        web.legacy(&session, "resources/subscribe", subscribe)
            .await
            .result();
        let mut ids = Vec::new();
        for round in 0..3 {
            stored(&mut web, "a", &format!("round {round}")).await;
            let event = stream.event().await.unwrap();
            let told = json!({"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": RECENT}});
            assert_eq!(event.json(), told);
            ids.push(event.id.unwrap());
        }
        assert!(stream.is_silent(Duration::from_millis(200)).await);
        drop(stream);
        // What came while nobody read is there for whoever reads on.
        tokio::time::sleep(Duration::from_millis(100)).await;
        stored(&mut web, "a", "unread").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut stream = get(&server, &session, &ids[0]).await;
        for id in &ids[1..] {
            assert_eq!(stream.event().await.unwrap().id.as_ref(), Some(id));
        }
        let missed = stream.event().await.unwrap();
        assert!(!ids.contains(missed.id.as_ref().unwrap()));
        drop(stream);
        tokio::time::sleep(Duration::from_millis(100)).await;
        // Whoever begins anew gets nothing twice.
        let mut stream = get(&server, &session, "").await;
        assert!(stream.event().await.unwrap().data.is_empty(), "primed");
        assert!(stream.is_silent(Duration::from_millis(200)).await);
        for wrong in ["x", "9-1", "0-", "-"] {
            let headers = [
                ("Mcp-Session-Id", session.as_str()),
                ("Last-Event-ID", wrong),
            ];
            let answer = web.ask("GET", "/mcp", &headers, b"").await;
            assert_eq!(answer.status, 400, "{wrong}");
        }
        // The end of the session is the end of its stream.
        web.ask("DELETE", "/mcp", &headers, b"").await;
        assert_eq!(stream.event().await, None);
    });
}

#[test]
fn batches_are_for_the_revision_that_has_them() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut web = Web::connect(server.api).await;
        let batch = br#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/x"},
            {"jsonrpc":"2.0","id":"s","method":"tools/call","params":{"name":"store_memory","arguments":{"content":"b"}}},
            {"jsonrpc":"2.0","id":3,"method":"no/such"}]"#;
        let notes = br#"[{"jsonrpc":"2.0","method":"notifications/x"}]"#;
        for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
            let session = web.initialize("a", version).await;
            let headers = [("Mcp-Session-Id", session.as_str())];
            let answer = web.ask("POST", "/mcp", &headers, batch).await;
            if version != "2025-03-26" {
                assert_eq!(answer.json()["error"]["code"], -32600, "{version}");
                continue;
            }
            let answers = answer.json();
            let ids: Vec<_> = answers
                .as_array()
                .unwrap()
                .iter()
                .map(|one| &one["id"])
                .collect();
            assert_eq!(ids, [&json!(1), &json!("s"), &json!(3)]);
            assert_eq!(answers[1]["result"]["structuredContent"]["content"], "b");
            assert_eq!(answers[2]["error"]["code"], -32601);
            let answer = web.ask("POST", "/mcp", &headers, notes).await;
            assert_eq!((answer.status, answer.body.as_str()), (202, ""));
        }
    });
}

#[test]
fn both_eras_share_a_connection() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut web = Web::connect(server.api).await;
        let first = web.initialize("a", "2025-03-26").await;
        let second = web.initialize("b", "2025-11-25").await;
        for round in 0..5 {
            stored(&mut web, "c", &format!("modern {round}")).await;
            for session in [&first, &second] {
                let call = json!({"name": "store_memory", "arguments": {"content": "legacy"}});
                let stored = web.legacy(session, "tools/call", call).await.result();
                assert!(stored.get("resultType").is_none());
                let owned = web
                    .legacy(session, "memory/stats", json!({}))
                    .await
                    .result();
                assert_eq!(owned["owned"], round + 1);
            }
        }
        // A body of one era under the headers of the other is neither's.
        let headers = [
            ("Mcp-Session-Id", first.as_str()),
            ("MCP-Protocol-Version", "2025-03-26"),
        ];
        let list = body("tools/list", envelope(json!({})));
        let answer = web.ask("POST", "/mcp", &headers, &list).await;
        assert_eq!(answer.json()["error"]["code"], -32600);
        let answer = web.legacy(&first, "tools/list", envelope(json!({}))).await;
        assert_eq!(answer.failure(), (400, -32020));
    });
}

#[test]
fn sessions_that_nobody_uses_expire() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--connection-timeout", "1"]).start();
        let mut web = Web::connect(server.api).await;
        let idle = web.initialize("idle", "2025-11-25").await;
        let reader = web.initialize("reader", "2025-11-25").await;
        let mut stream = get(&server, &reader, "").await;
        stream.event().await.unwrap();
        // Not asked itself, which would be a use.
        until(async || server.metric("tmws_sessions").await <= 1.0).await;
        let mut web = Web::connect(server.api).await;
        assert_eq!(web.legacy(&idle, "ping", json!({})).await.status, 404);
        let answer = web.legacy(&reader, "ping", json!({})).await;
        assert_eq!(answer.status, 200, "its stream is read");
    });
}

#[test]
fn a_stop_ends_every_stream_within_the_drain() {
    on_both(async |io| {
        let mut server = launch(&["--io", io, "--shards", "2", "--drain-seconds", "1"]).start();
        let mut web = Web::connect(server.api).await;
        let mut listeners = Vec::new();
        let mut readers = Vec::new();
        for number in 0..4 {
            let mut listener = Web::connect(server.api).await;
            let filter = envelope(json!({"notifications": {"resourcesListChanged": true}}));
            let id = listener
                .post_modern("a", "subscriptions/listen", &filter)
                .await;
            assert!(listener.response().await.streams());
            listener.event().await.unwrap();
            listeners.push((listener, id));
            let session = web.initialize(&format!("r{number}"), "2025-11-25").await;
            let mut reader = get(&server, &session, "").await;
            reader.event().await.unwrap();
            readers.push(reader);
        }
        let began = Instant::now();
        server.signal(libc::SIGTERM);
        for (mut listener, id) in listeners {
            let last = listener.event().await.unwrap().json();
            assert_eq!(
                (&last["id"], &last["result"]["resultType"]),
                (&json!(id), &json!("complete"))
            );
            assert_eq!(listener.event().await, None);
        }
        for mut reader in readers {
            assert_eq!(reader.event().await, None);
        }
        assert_eq!(server.wait().code(), Some(0));
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
    });
}
