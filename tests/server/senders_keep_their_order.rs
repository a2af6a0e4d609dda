//! What one sender sends without waiting for answers arrives in the order in which it was sent.

use std::time::Duration;

use serde_json::json;

use crate::fleet::database;
use crate::harness::peer::Peer;
use crate::harness::{Server, agent, launch, on_both};

/// Several times what a connection may have under way, and less than a window.
const MESSAGES: u64 = 200;
/// Servers that are asked: what it is about happens once in the life of each.
const SERVERS: usize = 5;

#[test]
fn from_the_first_message_in_memory_on() {
    on_both(async |io| {
        for _ in 0..SERVERS {
            let server = launch(&["--io", io, "--shards", "1"]).start();
            let mut alice = agent(&server, "alice").await;
            let mut bob = Peer::connect(&server, "bob").await;
            let body = "x".repeat(4_096);
            for number in 0..MESSAGES {
                let body = json!({"n": number, "text": body});
                let params = json!({"to": {"agent": "bob"}, "body": body, "durable": false});
                alice.post("agent/send", params).await;
            }
            for number in 0..MESSAGES {
                let delivery = bob.delivery().await;
                assert_eq!(delivery["body"]["n"], number);
            }
        }
    });
}

/// With what each has under way these send far more in a turn of the shard than the 128 locks for which tokio lets a
/// task wait in one.
const SENDERS: usize = 48;

#[test]
fn when_many_send_at_once() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "1"]).start();
        let mut pairs = Vec::new();
        for number in 0..SENDERS {
            let sender = agent(&server, &format!("sender-{number}")).await;
            let receiver = Peer::connect(&server, &format!("receiver-{number}")).await;
            pairs.push((format!("receiver-{number}"), sender, receiver));
        }
        tokio::time::sleep(BEGUN).await;
        for number in 0..MESSAGES {
            for (to, sender, _) in &mut pairs {
                let params = json!({"to": {"agent": to}, "body": {"n": number}});
                sender.post("agent/send", params).await;
            }
        }
        for (_, _, receiver) in &mut pairs {
            for number in 0..MESSAGES {
                assert_eq!(receiver.delivery().await["body"]["n"], number);
            }
        }
    });
}

/// A session has asked the store for what waits in it.
const BEGUN: Duration = Duration::from_secs(2);

/// Sends messages that are stored, in memory only, and both under keys, without waiting in between.
async fn mix(server: &Server, io: &str) {
    let (from, to) = (format!("alice-{io}"), format!("bob-{io}"));
    let mut alice = agent(server, &from).await;
    let mut bob = Peer::connect(server, &to).await;
    // What comes while his session begins is put in order by the times of the messages.
    let first = json!({"to": {"agent": to}, "body": "first"});
    alice.post("agent/send", first).await;
    bob.delivery().await;
    tokio::time::sleep(BEGUN).await;
    for number in 0..MESSAGES {
        let mut params = json!({"to": {"agent": to}, "body": {"n": number}});
        // Neither kind always follows the same one.
        params["durable"] = json!(number * 7 % 5 < 3);
        if number * 5 % 7 < 3 {
            params["idempotency_key"] = json!(format!("{io}-{number}"));
        }
        alice.post("agent/send", params).await;
    }
    for number in 0..MESSAGES {
        let delivery = bob.delivery().await;
        assert_eq!(delivery["body"]["n"], number);
    }
}

#[test]
fn of_whatever_kind_the_messages_are() {
    on_both(async |io| mix(&launch(&["--io", io]).start(), io).await);
}

#[test]
fn of_whatever_kind_they_are_on_postgres() {
    let url = database();
    on_both(async |io| mix(&launch(&["--io", io, "--database-url", &url]).start(), io).await);
}
