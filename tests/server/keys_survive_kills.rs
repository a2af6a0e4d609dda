//! Whoever repeats its calls under their keys after a kill has made each of them once.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::fleet::database;
use crate::harness::{Client, Server, agent, launch, on_both};

/// Keys; every second one stores a memory, the others send a message.
const KEYS: usize = 90;
/// Kills in the normal run.
const KILLS: usize = 6;

async fn call(client: &mut Client, key: usize) -> u64 {
    let meta = json!({"tmws/idempotencyKey": format!("key-{key}")});
    let text = format!("number {key}");
    if key.is_multiple_of(2) {
        let params = json!({"content": text, "_meta": meta});
        return client.post("memory/create", params).await;
    }
    let params = json!({"to": {"agent": "reader"}, "body": text, "ttl": 3_600, "_meta": meta});
    client.post("agent/send", params).await
}

/// Waits for `count` answers, and notes the result of each key, which must be the one that is known.
async fn take(
    client: &mut Client,
    count: usize,
    asked: &HashMap<u64, usize>,
    results: &mut HashMap<usize, Value>,
) {
    for _ in 0..count {
        let answer = client.receive().await;
        assert!(answer.get("error").is_none(), "{answer}");
        let key = asked[&answer["id"].as_u64().unwrap()];
        let result = answer["result"].clone();
        let known = results.entry(key).or_insert_with(|| result.clone());
        assert_eq!(*known, result, "key {key}");
    }
}

async fn repeat_over_kills(start: impl Fn() -> Server, writer: &str) {
    let mut results = HashMap::new();
    for kill in 0..=KILLS {
        let server = start();
        let mut client = agent(&server, writer).await;
        let mut asked = HashMap::new();
        // Those that were answered before are repeated too.
        for key in 0..KEYS {
            asked.insert(call(&mut client, key).await, key);
        }
        if kill == KILLS {
            take(&mut client, KEYS, &asked, &mut results).await;
            check(&server, &mut client, &results).await;
        } else {
            // Some are answered, some under way, some not begun.
            take(&mut client, (kill * 31) % KEYS, &asked, &mut results).await;
            server.kill();
        }
    }
}

/// Every key has made exactly one memory or message: the one that its result tells of.
async fn check(server: &Server, client: &mut Client, results: &HashMap<usize, Value>) {
    let page = client.result(
        "memory/recall",
        json!({"limit": 100, "include_shared": false}),
    );
    let page = page.await;
    let mut made: HashMap<String, String> = HashMap::new();
    let mut reader = agent(server, "reader").await;
    let inbox = reader.result("agent/inbox", json!({"limit": 100})).await;
    let memories = page["memories"].as_array().unwrap().iter();
    let messages = inbox["messages"].as_array().unwrap().iter();
    let memories = memories.map(|memory| (&memory["id"], &memory["content"]));
    let messages = messages.map(|message| (&message["id"], &message["body"]));
    let mut count = 0;
    for (id, text) in memories.chain(messages) {
        let text = text.as_str().unwrap().to_owned();
        made.insert(text, id.as_str().unwrap().to_owned());
        count += 1;
    }
    assert_eq!((count, made.len()), (KEYS, KEYS));
    for (key, result) in results {
        let id = result.get("id").unwrap_or(&result["message_id"]);
        assert_eq!(made[&format!("number {key}")], id.as_str().unwrap());
    }
    let ids: Vec<&Value> = inbox["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["id"])
        .collect();
    reader.result("agent/ack", json!({"ids": ids})).await;
}

#[test]
fn on_the_embedded_store() {
    on_both(async |io| {
        let data = tempfile::tempdir().unwrap();
        let start = || {
            launch(&["--io", io, "--shards", "2"])
                .data(data.path())
                .start()
        };
        repeat_over_kills(start, "writer").await;
    });
}

#[test]
fn on_postgres() {
    let url = database();
    on_both(async |io| {
        let flags = ["--io", io, "--shards", "2", "--database-url", &url];
        let start = || launch(&flags).start();
        repeat_over_kills(start, &format!("writer-{io}")).await;
    });
}
