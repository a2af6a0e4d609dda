//! What one sender sends without waiting for answers arrives in the order in which it was sent.

use serde_json::json;

use crate::harness::peer::Peer;
use crate::harness::{agent, launch, on_both};

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
