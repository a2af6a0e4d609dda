//! Two server processes over one database and one Redis are one to their agents.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fleet::{Line, database, node, redis, until_health};
use crate::harness::peer::{Peer, claim, send};
use crate::harness::{agent, on_both, until};

/// Nothing comes within this time.
const SILENCE: Duration = Duration::from_millis(300);

/// Everybody here knows of everybody there.
async fn settled() {
    tokio::time::sleep(SILENCE).await;
}

#[test]
fn messages_reach_sessions_of_other_nodes() {
    let database = database();
    let (_redis, url) = redis("reach");
    on_both(async |io| {
        let (one, two) = (node(io, &database, &url), node(io, &database, &url));
        let space = |agent: &str| format!("{agent}-{io}");
        let (alice, bob) = (space("alice"), space("bob"));
        let mut sender = agent(&one, &alice).await;
        let mut near = Peer::connect(&one, &bob).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut far = Peer::connect(&two, &bob).await;
        // Until the second session of an agent gets its messages.
        tokio::time::sleep(Duration::from_secs(1)).await;
        for n in 0..20 {
            let params = json!({"to": {"agent": bob}, "body": n, "durable": n % 3 != 0});
            let sent = sender.result("agent/send", params).await;
            assert_eq!(sent["recipients"], 1);
        }
        let expected: Vec<Value> = (0..20).map(Value::from).collect();
        assert_eq!(near.bodies(20).await, expected);
        assert_eq!(far.bodies(20).await, expected);
        // Settled for all by one of them.
        far.result("session/ack", json!({"up_to": 20})).await;
        near.result("session/ack", json!({"up_to": 20})).await;
        let inbox = sender_inbox(&mut near).await;
        assert_eq!(inbox, json!([]));
        // To a topic, and to the namespace.
        far.result("session/subscribe", json!({"topics": ["topic:news"]}))
            .await;
        settled().await;
        let params = json!({"to": {"topic": "news"}, "body": "to the topic"});
        let sent = sender.result("agent/send", params).await;
        assert_eq!(sent["recipients"], 1);
        assert_eq!(far.delivery().await["body"], "to the topic");
        let params = json!({"body": "to all"});
        sender.result("agent/broadcast", params).await;
        assert_eq!(far.delivery().await["body"], "to all");
        assert_eq!(near.delivery().await["body"], "to all");
    });
}

async fn sender_inbox(peer: &mut Peer) -> Value {
    peer.result("agent/inbox", json!({})).await["messages"].clone()
}

#[test]
fn a_session_goes_on_on_another_node() {
    let database = database();
    let (_redis, url) = redis("move");
    on_both(async |io| {
        let (one, two) = (node(io, &database, &url), node(io, &database, &url));
        let (alice, bob) = (format!("alice-{io}"), format!("bob-{io}"));
        let mut sender = agent(&one, &alice).await;
        let mut old = Peer::connect(&one, &bob).await;
        old.result("session/subscribe", json!({"topics": ["topic:news"]}))
            .await;
        for n in 0..3 {
            let params = json!({"to": {"agent": bob}, "body": n, "durable": n != 1});
            sender.result("agent/send", params).await;
        }
        assert_eq!(old.bodies(3).await, [0, 1, 2]);
        old.result("session/ack", json!({"up_to": 1})).await;
        settled().await;
        // The first connection is still there when the client turns up at the other node.
        let (mut new, back) = Peer::resume(&two, &bob, &old.welcome, 3).await;
        assert_eq!(back["recovered"], true, "{back}");
        assert_eq!(back["session_id"], old.welcome["session_id"]);
        assert_eq!(back["topics"], json!(["message", "topic:news"]));
        let closed = loop {
            match old.client.next().await {
                Ok(_) => {}
                Err(closed) => break closed,
            }
        };
        assert_eq!(closed.0, 4001, "{closed:?}");
        assert_eq!(one.metric("tmws_sessions_given_away_total").await, 1.0);
        let taken = "tmws_sessions_taken_over_total";
        assert_eq!(two.metric_with(taken, "from=\"node\"").await, 1.0);
        let mut bodies = new.bodies(2).await;
        bodies.sort_by_key(Value::as_i64);
        assert_eq!(bodies, [1, 2]);
        // From either node, and by its topic.
        send(&mut sender, &bob, json!("after")).await;
        assert_eq!(new.delivery().await["body"], "after");
        let params = json!({"to": {"topic": "news"}, "body": "topic"});
        sender.result("agent/send", params).await;
        assert_eq!(new.delivery().await["body"], "topic");
        // Whoever is not the session's agent does not get it.
        let mut eve = Peer::connect(&one, "eve").await;
        let stolen = eve.call("session/resume", claim(&back, 0)).await;
        assert_eq!(stolen["error"]["code"], 1403, "{stolen}");
        // And back again, after the node was killed.
        two.kill();
        let (mut last, again) = Peer::resume(&one, &bob, &back, 0).await;
        assert_eq!(again["session_id"], old.welcome["session_id"]);
        // The killed node had a message in memory only.
        assert_eq!(again["recovered"], false, "{again}");
        assert_eq!(again["lost"]["volatile"], true);
        assert_eq!(
            last.bodies(3).await,
            json!([2, "after", "topic"]).as_array().unwrap()[..]
        );
    });
}

#[test]
fn without_redis_each_node_serves_its_own_and_catches_up() {
    let database = database();
    let (redis, url) = redis("catch");
    on_both(async |io| {
        let (one, two) = (node(io, &database, &url), node(io, &database, &url));
        let (alice, bob) = (format!("alice-{io}"), format!("bob-{io}"));
        let mut sender = Peer::connect(&one, &alice).await;
        let mut receiver = Peer::connect(&two, &bob).await;
        settled().await;
        redis.kill();
        let health = until_health(&one, "degraded").await;
        assert!(health["nodes_detail"].is_string(), "{health}");
        until_health(&two, "degraded").await;
        // Taken, and delivered when Redis is back; also what would be in memory only.
        for n in 0..4 {
            let params = json!({"to": {"agent": bob}, "body": n, "durable": n % 2 == 0});
            sender.result("agent/send", params).await;
        }
        let own = json!({"to": {"agent": alice}, "body": "own"});
        sender.result("agent/send", own).await;
        assert_eq!(sender.delivery().await["body"], "own");
        // A session that begins meanwhile gets what waits for its agent.
        let carol = format!("carol-{io}");
        let mut third = Peer::connect(&two, &carol).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let params = json!({"to": {"agent": carol}, "body": "blind"});
        sender.result("agent/send", params).await;
        redis.up();
        until_health(&one, "healthy").await;
        until_health(&two, "healthy").await;
        assert_eq!(receiver.bodies(4).await, [0, 1, 2, 3]);
        assert_eq!(third.delivery().await["body"], "blind");
        let params = json!({"to": {"agent": bob}, "body": "live"});
        sender.result("agent/send", params).await;
        assert_eq!(receiver.delivery().await["body"], "live");
    });
}

#[test]
fn a_session_taken_without_redis_is_given_up_where_it_was() {
    let database = database();
    let (redis, url) = redis("split");
    on_both(async |io| {
        let (one, two) = (node(io, &database, &url), node(io, &database, &url));
        let (alice, bob) = (format!("alice-{io}"), format!("bob-{io}"));
        let mut sender = agent(&one, &alice).await;
        let mut old = Peer::connect(&one, &bob).await;
        send(&mut sender, &bob, json!("first")).await;
        assert_eq!(old.delivery().await["body"], "first");
        redis.kill();
        until_health(&two, "degraded").await;
        let (mut new, back) = Peer::resume(&two, &bob, &old.welcome, 0).await;
        assert_eq!(back["recovered"], true, "{back}");
        assert_eq!(new.delivery().await["body"], "first");
        redis.up();
        let mut closed = None;
        until(async || {
            if let Ok(Err(end)) = tokio::time::timeout(SILENCE, old.client.next()).await {
                closed = Some(end);
            }
            closed.is_some()
        })
        .await;
        assert_eq!(closed.unwrap().0, 4001);
        settled().await;
        send(&mut sender, &bob, json!("second")).await;
        assert_eq!(new.delivery().await["body"], "second");
    });
}

#[test]
fn what_is_sent_where_a_session_was_reaches_it_where_it_is() {
    let database = database();
    let (_redis, url) = redis("behind");
    on_both(async |io| {
        let line = Line::to(&url).await;
        let (one, two) = (node(io, &database, &line.url), node(io, &database, &url));
        let (alice, bob) = (format!("alice-{io}"), format!("bob-{io}"));
        let mut sender = agent(&one, &alice).await;
        let mut old = Peer::connect(&one, &bob).await;
        send(&mut sender, &bob, json!("first")).await;
        assert_eq!(old.delivery().await["body"], "first");
        settled().await;
        // It is not heard that the session is asked for, nor that it is elsewhere now.
        line.hold(true);
        let (mut new, back) = Peer::resume(&two, &bob, &old.welcome, 0).await;
        assert_eq!(back["recovered"], true, "{back}");
        assert_eq!(new.delivery().await["body"], "first");
        send(&mut sender, &bob, json!("second")).await;
        assert_eq!(old.delivery().await["body"], "second");
        line.hold(false);
        assert_eq!(new.delivery().await["body"], "second");
        send(&mut sender, &bob, json!("third")).await;
        assert_eq!(new.delivery().await["body"], "third");
    });
}

#[test]
fn a_node_that_goes_is_forgotten_and_its_agents_messages_wait() {
    let database = database();
    let (_redis, url) = redis("gone");
    on_both(async |io| {
        let (one, mut two) = (node(io, &database, &url), node(io, &database, &url));
        let (alice, bob) = (format!("alice-{io}"), format!("bob-{io}"));
        let mut sender = agent(&one, &alice).await;
        let old = Peer::connect(&two, &bob).await;
        settled().await;
        send(&mut sender, &bob, json!(1)).await;
        two.signal(libc::SIGTERM);
        assert!(two.wait().success());
        send(&mut sender, &bob, json!(2)).await;
        let (mut new, back) = Peer::resume(&one, &bob, &old.welcome, 0).await;
        assert_eq!(back["recovered"], true, "{back}");
        assert_eq!(new.bodies(2).await, [1, 2]);
    });
}

#[test]
fn changes_are_told_on_every_node() {
    let database = database();
    let (_redis, url) = redis("changes");
    on_both(async |io| {
        let (one, two) = (node(io, &database, &url), node(io, &database, &url));
        let owner = format!("owner-{io}");
        let mut writer = agent(&one, &owner).await;
        let created = writer
            .result("memory/create", json!({"content": "first"}))
            .await;
        let mut watcher = crate::harness::connect(two.ws, "/", &[("X-Agent-ID", &owner)]).await;
        watcher.initialize("2025-11-25").await;
        let uri = format!("memory://default/{}", created["id"].as_str().unwrap());
        watcher
            .result("resources/subscribe", json!({"uri": uri}))
            .await;
        settled().await;
        let update = json!({"id": created["id"], "content": "second"});
        writer.result("memory/update", update).await;
        let told = watcher.receive().await;
        assert_eq!(told["method"], "notifications/resources/updated", "{told}");
        assert_eq!(told["params"]["uri"], uri);
    });
}
