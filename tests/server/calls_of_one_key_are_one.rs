//! A call that comes twice under one idempotency key happens once, whichever wire each comes by.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::web::{MODERN, Web, envelope};
use crate::harness::{Client, agent, connect, launch, on_both};

const META: &str = "tmws/idempotencyKey";
/// Nothing comes within this time.
const SILENCE: Duration = Duration::from_millis(200);

/// The parameters of a direct call under a key.
fn keyed(key: &str, mut params: Value) -> Value {
    params["_meta"] = json!({META: key});
    params
}

async fn contents(client: &mut Client) -> Vec<String> {
    let page = client.result("memory/recall", json!({"limit": 100}));
    let page = page.await["memories"].as_array().unwrap().clone();
    let contents = page
        .iter()
        .map(|memory| memory["content"].as_str().unwrap().to_owned());
    contents.collect()
}

#[test]
fn on_every_wire() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "2"]).start();
        let mut client = agent(&server, "alice").await;
        let arguments = json!({"content": "only once", "tags": ["a"], "importance": 0.3});
        let first = client
            .result("memory/create", keyed("k", arguments.clone()))
            .await;
        let again = client
            .result("memory/create", keyed("k", arguments.clone()))
            .await;
        assert_eq!(again, first);
        // However it is written, and by whichever name it is called.
        let other = r#"{"jsonrpc":"2.0","id":"x","method":"create_memory","params":{"tags":["\u0061"],
            "importance":0.3,"idempotency_key":"k","content":"only once"}}"#;
        client.send(other).await;
        assert_eq!(client.receive().await["result"], first);
        let tool = json!({"name": "store_memory", "arguments": arguments, "_meta": {META: "k"}});
        let again = client.result("tools/call", tool).await;
        assert_eq!(again["structuredContent"], first);
        let tool = json!({"name": "store_memory", "arguments": keyed("k", arguments.clone())});
        let again = client.result("tools/call", tool).await;
        assert_eq!(again["structuredContent"], first);

        let mut web = Web::connect(server.api).await;
        let call = |params| {
            let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
            call.to_string().into_bytes()
        };
        let tool = json!({"name": "store_memory", "arguments": arguments});
        let modern = [
            ("X-Agent-ID", "alice"),
            ("MCP-Protocol-Version", MODERN),
            ("Mcp-Method", "tools/call"),
            ("Mcp-Name", "store_memory"),
            ("Idempotency-Key", "k"),
        ];
        let body = call(envelope(tool.clone()));
        let again = web.ask("POST", "/mcp", &modern, &body).await.result();
        assert_eq!(again["structuredContent"], first);

        let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"}}});
        let headers = [("X-Agent-ID", "alice")];
        let initialize = initialize.to_string();
        let begun = web
            .ask("POST", "/mcp", &headers, initialize.as_bytes())
            .await;
        let session = begun.header("mcp-session-id").unwrap().to_owned();
        let legacy = [
            ("Mcp-Session-Id", session.as_str()),
            ("Idempotency-Key", "k"),
        ];
        let again = web.ask("POST", "/mcp", &legacy, &call(tool)).await.result();
        assert_eq!(again["structuredContent"], first);

        let rest = [("X-Agent-ID", "alice"), ("Idempotency-Key", "k")];
        let body = arguments.to_string();
        let again = web
            .ask("POST", "/api/v1/memory", &rest, body.as_bytes())
            .await;
        assert_eq!((again.status, again.json()), (201, first.clone()));
        assert_eq!(contents(&mut client).await, ["only once"]);

        // Another agent's key is another key.
        let mut bob = agent(&server, "bob").await;
        let other = bob.result("memory/create", keyed("k", arguments)).await;
        assert_ne!(other["id"], first["id"]);
    });
}

#[test]
fn batches_have_a_key_in_each_entry() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut client = connect(server.ws, "/", &[]).await;
        client.initialize("2025-03-26").await;
        let create = |id: u64, key: &str, content: &str| {
            let params = keyed(key, json!({"content": content}));
            json!({"jsonrpc": "2.0", "id": id, "method": "memory/create", "params": params})
        };
        let batch = json!([
            create(1, "a", "x"),
            create(2, "b", "x"),
            create(3, "a", "x")
        ]);
        client.send(&batch.to_string()).await;
        let answers = client.receive().await;
        assert_eq!(answers[0]["result"], answers[2]["result"]);
        assert_ne!(answers[0]["result"]["id"], answers[1]["result"]["id"]);
        assert_eq!(contents(&mut client).await.len(), 2);
    });
}

#[test]
fn another_call_is_refused() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut client = agent(&server, "alice").await;
        let one = json!({"content": "one"});
        let first = client
            .result("memory/create", keyed("k", one.clone()))
            .await;
        let refused = (1422, "IDEMPOTENCY_MISMATCH".to_owned());
        let two = json!({"content": "two"});
        assert_eq!(
            client.error("memory/create", keyed("k", two.clone())).await,
            refused
        );
        let delete = keyed("k", json!({"id": first["id"]}));
        assert_eq!(client.error("memory/delete", delete).await, refused);
        let send = keyed("k", json!({"to": {"agent": "bob"}, "body": 1}));
        assert_eq!(client.error("agent/send", send).await, refused);
        let tool = json!({"name": "store_memory", "arguments": two, "_meta": {META: "k"}});
        let told = client.result("tools/call", tool).await;
        assert_eq!(told["isError"], true);
        assert_eq!(told["structuredContent"]["code"], "IDEMPOTENCY_MISMATCH");
        let mut web = Web::connect(server.api).await;
        let headers = [("X-Agent-ID", "alice"), ("Idempotency-Key", "k")];
        let body = two.to_string();
        let answer = web
            .ask("POST", "/api/v1/memory", &headers, body.as_bytes())
            .await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (422, &json!("IDEMPOTENCY_MISMATCH"))
        );
        // Keys that are none, and keys that contradict each other.
        let invalid = (-32602, "INVALID_ARGUMENTS".to_owned());
        for key in [
            json!(""),
            json!("a b"),
            json!("é"),
            json!("x".repeat(256)),
            json!(7),
        ] {
            let params = json!({"content": "three", "_meta": {META: key}});
            assert_eq!(
                client.error("memory/create", params).await,
                invalid,
                "{key}"
            );
        }
        let mut params = keyed("k", json!({"content": "three"}));
        params["idempotency_key"] = json!("l");
        assert_eq!(client.error("memory/create", params).await, invalid);
        let tool = json!({"name": "store_memory", "_meta": {META: "k"},
            "arguments": {"content": "three", "idempotency_key": "l"}});
        assert_eq!(client.result("tools/call", tool).await["isError"], true);
        let body = r#"{"content":"three","idempotency_key":"l"}"#;
        let answer = web
            .ask("POST", "/api/v1/memory", &headers, body.as_bytes())
            .await;
        assert_eq!(answer.status, 400);
        // What reads needs no key, and what failed has used none up.
        let read = keyed("k", json!({"id": first["id"]}));
        assert_eq!(client.result("memory/get", read).await["content"], "one");
        let wrong = keyed("free", json!({"content": ""}));
        assert_eq!(client.error("memory/create", wrong).await, invalid);
        client
            .result("memory/create", keyed("free", json!({"content": "four"})))
            .await;
        assert_eq!(contents(&mut client).await, ["four", "one"]);
    });
}

#[test]
fn changes_are_made_once() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut client = agent(&server, "alice").await;
        let id = client
            .result("memory/create", json!({"content": "v1"}))
            .await["id"]
            .clone();
        let calls = [
            (
                "memory/update",
                json!({"id": id, "content": "v2", "expected_version": 1}),
            ),
            ("memory/share", json!({"id": id, "agents": ["bob"]})),
            (
                "agent/register",
                json!({"agent_id": "carol", "capabilities": ["x"]}),
            ),
            ("memory/delete", json!({"id": id})),
            ("agent/inbox", json!({"ack": []})),
            ("dlq/retry", json!({"all": true})),
            ("dlq/purge", json!({"all": true})),
        ];
        for (method, params) in calls {
            let params = keyed(method, params);
            let first = client.result(method, params.clone()).await;
            assert_eq!(client.result(method, params).await, first, "{method}");
        }
        let history = client.result("memory/history", json!({"id": id})).await;
        assert_eq!(history["versions"].as_array().unwrap().len(), 4);
    });
}

#[test]
fn duplicates_under_way_wait_for_the_first() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "2"]).start();
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(agent(&server, "alice").await);
        }
        for client in &mut clients {
            for _ in 0..12 {
                client
                    .post("memory/create", keyed("c", json!({"content": "once"})))
                    .await;
                let send = json!({"to": {"agent": "bob"}, "body": "once"});
                client.post("agent/send", keyed("s", send)).await;
            }
        }
        let mut results = HashSet::new();
        for client in &mut clients {
            for _ in 0..24 {
                let answer = client.receive().await;
                assert!(answer.get("error").is_none(), "{answer}");
                results.insert(answer["result"].to_string());
            }
        }
        assert_eq!(results.len(), 2, "{results:?}");
        assert_eq!(contents(&mut clients[0]).await, ["once"]);
        let mut bob = agent(&server, "bob").await;
        let inbox = bob.result("agent/inbox", json!({})).await;
        assert_eq!(inbox["messages"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn messages_are_delivered_once() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "2"]).start();
        let fields = [("X-Agent-ID", "bob"), ("Sec-WebSocket-Protocol", "tmws.v1")];
        let mut bob = connect(server.ws, "/", &fields).await;
        assert_eq!(
            bob.receive().await["method"],
            "notifications/session/welcome"
        );
        let mut alice = agent(&server, "alice").await;
        let sends = [
            ("agent/send", json!({"to": {"agent": "bob"}, "body": 1})),
            (
                "agent/send",
                json!({"to": {"agent": "bob"}, "body": 2, "durable": false}),
            ),
            ("agent/broadcast", json!({"body": 3})),
            ("agent/send", json!({"to": {"topic": "nobody"}, "body": 4})),
        ];
        for (n, (method, params)) in sends.into_iter().enumerate() {
            let params = keyed(&format!("m{n}"), params);
            let first = alice.result(method, params.clone()).await;
            assert_eq!(first["recipients"], u64::from(n < 3));
            for _ in 0..3 {
                assert_eq!(alice.result(method, params.clone()).await, first);
            }
            if n == 3 {
                break;
            }
            let delivery = bob.receive().await;
            assert_eq!(delivery["params"]["body"], n + 1, "{delivery}");
            assert_eq!(delivery["params"]["id"], first["message_id"]);
            // An answer to it is given once as well, and told again.
            let seq = delivery["params"]["seq"].clone();
            let ack = keyed(
                &format!("a{n}"),
                json!({"acks": [{"seq": seq, "delivery": 1}]}),
            );
            for _ in 0..2 {
                let acked = bob.result("session/ack", ack.clone()).await;
                assert_eq!(acked, json!({"accepted": 1}));
            }
        }
        assert_eq!(bob.rest(SILENCE).await, Vec::<Value>::new());
        // A message that was put back is acknowledged once.
        let sent = alice
            .result("agent/send", json!({"to": {"agent": "dave"}, "body": 5}))
            .await;
        let mut dave = agent(&server, "dave").await;
        let ack = keyed("ack", json!({"ids": [sent["message_id"]]}));
        for _ in 0..2 {
            let acked = dave.result("agent/ack", ack.clone()).await;
            assert_eq!(acked, json!({"acknowledged": 1}));
        }
    });
}

#[test]
fn what_changes_a_session_is_kept_with_it() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let fields = [
            ("X-Agent-ID", "alice"),
            ("Sec-WebSocket-Protocol", "tmws.v1"),
        ];
        let mut client = connect(server.ws, "/", &fields).await;
        client.receive().await;
        let topics = keyed("s", json!({"topics": ["topic:news"]}));
        let first = client.result("session/subscribe", topics.clone()).await;
        assert_eq!(
            client.result("session/subscribe", topics.clone()).await,
            first
        );
        let refused = (1422, "IDEMPOTENCY_MISMATCH".to_owned());
        assert_eq!(client.error("session/unsubscribe", topics).await, refused);
        drop(client);
        let mut client = agent(&server, "alice").await;
        client
            .result("agent/register", json!({"agent_id": "carol"}))
            .await;
        let switch = keyed("w", json!({"agent_id": "carol"}));
        let first = client.result("agent/switch", switch.clone()).await;
        assert_eq!(first["previous_agent_id"], "alice");
        assert_eq!(client.result("agent/switch", switch.clone()).await, first);
        // On another connection nothing was switched yet.
        let mut other = agent(&server, "alice").await;
        assert_eq!(other.result("agent/switch", switch).await, first);
        let info = other.result("agent/info", json!({})).await;
        assert_eq!(info["agent_id"], "carol");
    });
}
