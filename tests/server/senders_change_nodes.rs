//! What a sender is told is taken on one node goes before what it sends on another one afterwards,
//! whatever the bus between them is like.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::fleet::{Line, database, node, redis, until_health};
use crate::harness::peer::{Peer, send};
use crate::harness::{Client, Server, agent, on_both};

/// Nothing comes within this time.
const SILENCE: Duration = Duration::from_millis(500);
/// Longer than the pause between two beats of a node.
const BEATS: Duration = Duration::from_millis(1_500);

/// A receiver whose session every node knows.
async fn receiver(server: &Server, name: &str) -> Peer {
    let mut peer = Peer::connect(server, name).await;
    // Until a new session gets its messages.
    sleep(Duration::from_secs(1)).await;
    let own = json!({"to": {"agent": name}, "body": "own"});
    peer.result("agent/send", own).await;
    assert_eq!(peer.delivery().await["body"], "own");
    peer
}

async fn post(sender: &mut Client, to: &str, body: Value) -> u64 {
    let params = json!({"to": {"agent": to}, "body": body});
    sender.post("agent/send", params).await
}

#[test]
fn a_message_is_answered_when_the_bus_has_its_word_and_its_repetition_brings_it() {
    let database = database();
    let (_redis, url) = redis("word");
    on_both(async |io| {
        let line = Line::to(&url).await;
        let one = node(io, &database, &line.url);
        let (two, three) = (node(io, &database, &url), node(io, &database, &url));
        let (alice, bob, carol) = (
            format!("alice-{io}"),
            format!("bob-{io}"),
            format!("carol-{io}"),
        );
        let mut bob_there = receiver(&three, &bob).await;
        let mut carol_here = receiver(&one, &carol).await;
        let mut sender = agent(&one, &alice).await;
        send(&mut sender, &bob, json!(0)).await;
        assert_eq!(bob_there.delivery().await["body"], 0);
        // The node waits for what Redis says to its last beat, and has nothing else to say meanwhile.
        line.hold(true);
        sleep(BEATS).await;
        send(&mut sender, &carol, json!("here")).await;
        assert_eq!(carol_here.delivery().await["body"], "here");
        let keyed = json!({"to": {"agent": bob}, "body": 1, "idempotency_key": "first"});
        sender.post("agent/send", keyed.clone()).await;
        let answer = timeout(SILENCE, sender.next()).await;
        assert!(answer.is_err(), "not said, and answered: {answer:?}");
        one.kill();
        let mut sender = agent(&two, &alice).await;
        sender.result("agent/send", keyed).await;
        send(&mut sender, &bob, json!(2)).await;
        assert_eq!(bob_there.bodies(2).await, [1, 2]);
    });
}

#[test]
fn what_is_on_its_way_from_the_other_node_comes_first() {
    let database = database();
    let (_redis, url) = redis("way");
    on_both(async |io| {
        let line = Line::to(&url).await;
        let (one, two) = (node(io, &database, &url), node(io, &database, &line.url));
        let (alice, bob) = (format!("alice-{io}"), format!("bob-{io}"));
        let mut bob_there = receiver(&two, &bob).await;
        let mut sender = agent(&one, &alice).await;
        send(&mut sender, &bob, json!(0)).await;
        assert_eq!(bob_there.delivery().await["body"], 0);
        line.hold(true);
        send(&mut sender, &bob, json!(1)).await;
        let mut sender = agent(&two, &alice).await;
        for n in 2..10 {
            post(&mut sender, &bob, json!(n)).await;
        }
        assert_eq!(bob_there.client.rest(SILENCE).await, Vec::<Value>::new());
        line.hold(false);
        // Nor does anything later overtake what has waited.
        for n in 10..40 {
            post(&mut sender, &bob, json!(n)).await;
        }
        let expected: Vec<Value> = (1..40).map(Value::from).collect();
        assert_eq!(bob_there.bodies(39).await, expected);
    });
}

#[test]
fn without_the_bus_a_session_looks_for_what_its_sender_has_sent_elsewhere() {
    let database = database();
    let (redis, url) = redis("without");
    on_both(async |io| {
        let (one, two) = (node(io, &database, &url), node(io, &database, &url));
        let (alice, bob) = (format!("alice-{io}"), format!("bob-{io}"));
        let mut bob_there = receiver(&two, &bob).await;
        let mut sender = agent(&one, &alice).await;
        send(&mut sender, &bob, json!(0)).await;
        assert_eq!(bob_there.delivery().await["body"], 0);
        redis.kill();
        until_health(&one, "degraded").await;
        until_health(&two, "degraded").await;
        send(&mut sender, &bob, json!(1)).await;
        one.kill();
        let mut sender = agent(&two, &alice).await;
        for n in 2..20 {
            send(&mut sender, &bob, json!(n)).await;
        }
        let expected: Vec<Value> = (1..20).map(Value::from).collect();
        assert_eq!(bob_there.bodies(19).await, expected);
        redis.up();
    });
}
