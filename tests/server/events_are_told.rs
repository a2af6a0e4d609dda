//! Subscribers hear of agents, memories and the server: what they may, all of it, and from where
//! they were.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fleet::{database, node, redis, until_health};
use crate::harness::peer::Peer;
use crate::harness::{launch, on_both};

/// Nothing comes within this time.
const SILENCE: Duration = Duration::from_millis(300);
/// A session that has begun gets its deliveries after this.
const BEGUN: Duration = Duration::from_millis(700);

async fn subscribe(peer: &mut Peer, params: Value) -> Value {
    peer.result("session/subscribe", params).await["positions"].clone()
}

/// The body of the next event of a topic, without its position.
async fn event(peer: &mut Peer, topic: &str) -> Value {
    let delivery = peer.delivery().await;
    assert_eq!(delivery["topic"], topic, "{delivery}");
    let mut body = delivery["body"].clone();
    let members = body.as_object_mut().unwrap();
    assert!(members.remove("epoch").unwrap().is_u64());
    assert!(members.remove("offset").unwrap().is_u64());
    body
}

/// Nothing else is delivered.
async fn is_silent(peer: &mut Peer) {
    let rest = peer.client.rest(SILENCE).await;
    assert!(rest.is_empty() && peer.waiting.is_empty(), "{rest:?}");
}

#[test]
fn presence_is_told_in_its_namespace_and_nowhere_else() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut watcher = Peer::connect(&server, "watcher").await;
        let mut stranger = Peer::connect_in(&server, "elsewhere", "stranger").await;
        let mut choosy = Peer::connect(&server, "choosy").await;
        subscribe(&mut watcher, json!({"topics": ["presence"]})).await;
        subscribe(&mut stranger, json!({"topics": ["presence"]})).await;
        let of_carol = json!({"topics": ["presence"], "filters": {"presence": {"agent": "carol"}}});
        subscribe(&mut choosy, of_carol).await;
        let mut bob = Peer::connect(&server, "bob").await;
        let body = |event: &str, status: &str| json!({"event": event, "agent_id": "bob", "namespace": "default", "status": status});
        assert_eq!(
            event(&mut watcher, "presence").await,
            body("join", "online")
        );
        let second = Peer::connect(&server, "bob").await;
        let said = json!({"status": "busy", "text": "reading"});
        let set = bob.result("agent/status", said).await;
        assert_eq!(
            (&set["status"], &set["text"]),
            (&json!("busy"), &json!("reading"))
        );
        let mut busy = body("status", "busy");
        busy["text"] = json!("reading");
        assert_eq!(event(&mut watcher, "presence").await, busy);
        let online = watcher.result("agent/online", json!({"limit": 1})).await;
        assert_eq!(online["agents"][0]["agent_id"], "bob");
        assert_eq!(online["agents"][0]["status"], "busy");
        let next = json!({"cursor": online["next_cursor"]});
        let online = watcher.result("agent/online", next).await;
        let ids: Vec<_> = online["agents"].as_array().unwrap().iter().collect();
        let ids: Vec<_> = ids.iter().map(|agent| &agent["agent_id"]).collect();
        assert_eq!(ids, ["choosy", "watcher"]);
        watcher
            .result("agent/register", json!({"agent_id": "bob"}))
            .await;
        watcher
            .result("agent/register", json!({"agent_id": "zoe"}))
            .await;
        let listed = watcher.result("agent/list", json!({})).await;
        let of = |index: usize| {
            let agent = &listed["agents"][index];
            [
                &agent["agent_id"],
                &agent["online"],
                &agent["status"],
                &agent["status_text"],
            ]
        };
        assert_eq!(
            of(0).map(Value::clone),
            [json!("bob"), json!(true), json!("busy"), json!("reading")]
        );
        assert_eq!(
            of(1).map(Value::clone),
            [json!("zoe"), json!(false), Value::Null, Value::Null]
        );
        drop(bob);
        is_silent(&mut watcher).await;
        drop(second);
        let gone = json!({"event": "leave", "agent_id": "bob", "namespace": "default"});
        assert_eq!(event(&mut watcher, "presence").await, gone);
        // The status went with the last session.
        let _again = Peer::connect(&server, "bob").await;
        assert_eq!(
            event(&mut watcher, "presence").await,
            body("join", "online")
        );
        let _carol = Peer::connect(&server, "carol").await;
        assert_eq!(event(&mut choosy, "presence").await["agent_id"], "carol");
        is_silent(&mut choosy).await;
        is_silent(&mut stranger).await;
        let removed = watcher
            .result("session/unsubscribe", json!({"topics": ["presence"]}))
            .await;
        assert_eq!(removed["removed"], json!(["presence"]));
        watcher.waiting.clear();
        let _dora = Peer::connect(&server, "dora").await;
        is_silent(&mut watcher).await;
    });
}

#[test]
fn memories_are_told_to_those_who_may_read_them() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut owner = Peer::connect(&server, "owner").await;
        let mut friend = Peer::connect(&server, "friend").await;
        let mut far = Peer::connect_in(&server, "elsewhere", "far").await;
        let mut labelled = Peer::connect(&server, "labelled").await;
        let memory = json!({"topics": ["memory"]});
        subscribe(&mut friend, memory.clone()).await;
        subscribe(&mut far, memory.clone()).await;
        let tags = json!({"topics": ["memory"], "filters": {"memory": {"tags": ["a", "b"]}}});
        subscribe(&mut labelled, tags).await;
        let mut create = async |access: &str, tags: &[&str]| {
            let new = json!({"content": access, "access_level": access, "tags": tags});
            let created = owner.result("memory/create", new).await;
            created["id"].as_str().unwrap().to_owned()
        };
        let private = create("private", &["a", "b"]).await;
        let team = create("team", &["a"]).await;
        let both = create("team", &["b", "a", "c"]).await;
        let told = |event: &str, id: &str| json!({"event": event, "id": id});
        assert_eq!(event(&mut friend, "memory").await, told("created", &team));
        assert_eq!(event(&mut friend, "memory").await, told("created", &both));
        assert_eq!(event(&mut labelled, "memory").await, told("created", &both));
        let update = json!({"id": private, "content": "other"});
        owner.result("memory/update", update).await;
        // Who may hear of it is judged when it is told, in the order of events: once this one is told, it is.
        let behind = json!({"content": "behind", "access_level": "team"});
        let behind = owner.result("memory/create", behind).await;
        let behind = behind["id"].as_str().unwrap();
        assert_eq!(event(&mut friend, "memory").await, told("created", behind));
        let share = json!({"id": private, "agents": ["friend"]});
        owner.result("memory/share", share).await;
        assert_eq!(event(&mut friend, "memory").await, told("shared", &private));
        let update = json!({"id": private, "content": "third"});
        owner.result("memory/update", update).await;
        assert_eq!(
            event(&mut friend, "memory").await,
            told("updated", &private)
        );
        let share = json!({"id": private, "agents": ["far"], "namespace": "elsewhere"});
        owner.result("memory/share", share).await;
        assert_eq!(event(&mut far, "memory").await, told("shared", &private));
        assert_eq!(event(&mut friend, "memory").await, told("shared", &private));
        let revoke = json!({"id": private, "agents": ["friend"], "revoke": true});
        owner.result("memory/share", revoke).await;
        // Of one that may not be read any more nothing is told, nor of others' private ones.
        owner.result("memory/delete", json!({"id": private})).await;
        let hidden = json!({"content": "hidden"});
        let hidden = owner.result("memory/create", hidden).await;
        let purge = json!({"id": hidden["id"], "purge": true});
        owner.result("memory/delete", purge).await;
        let purge = json!({"id": team, "purge": true});
        owner.result("memory/delete", purge).await;
        assert_eq!(event(&mut friend, "memory").await, told("deleted", &team));
        is_silent(&mut friend).await;
        is_silent(&mut far).await;
        is_silent(&mut labelled).await;
    });
}

#[test]
fn events_keep_their_order_whoever_else_wants_only_some_of_them() {
    const MEMORIES: usize = 24;
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "1"]).start();
        let mut owner = Peer::connect(&server, "owner").await;
        // One that wants all, among some that want every second one. Their sessions have just begun, so
        // what comes is kept until the store has said what waits for them.
        let mut choosy = Vec::new();
        for n in 0..4 {
            let mut peer = Peer::connect(&server, &format!("choosy-{n}")).await;
            let odd = json!({"topics": ["memory"], "filters": {"memory": {"tags": ["odd"]}}});
            subscribe(&mut peer, odd).await;
            choosy.push(peer);
        }
        let mut all = Peer::connect(&server, "all").await;
        subscribe(&mut all, json!({"topics": ["memory"]})).await;
        for n in 0..MEMORIES {
            let tag = ["even", "odd"][n % 2];
            let new =
                json!({"content": format!("memory {n}"), "access_level": "team", "tags": [tag]});
            owner.client.post("memory/create", new).await;
        }
        let mut offsets = Vec::new();
        for _ in 0..MEMORIES {
            offsets.push(all.delivery().await["body"]["offset"].as_u64().unwrap());
        }
        assert!(offsets.is_sorted(), "{offsets:?}");
        for peer in &mut choosy {
            for _ in 0..MEMORIES / 2 {
                assert_eq!(event(peer, "memory").await["event"], "created");
            }
        }
    });
}

#[test]
fn events_are_read_on_from_an_offset_or_said_to_be_lost() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut reader = Peer::connect(&server, "reader").await;
        let mut writer = Peer::connect(&server, "writer").await;
        let topics = json!(["memory"]);
        let place = subscribe(&mut reader, json!({"topics": topics})).await["memory"].clone();
        assert!(place.get("recovered").is_none(), "{place}");
        let mut ids = Vec::new();
        for n in 0..5 {
            let new = json!({"content": format!("memory {n}"), "access_level": "team"});
            ids.push(writer.result("memory/create", new).await["id"].clone());
        }
        let mut offsets = vec![place["offset"].as_u64().unwrap()];
        for id in &ids {
            let delivery = reader.delivery().await;
            assert_eq!(delivery["body"]["id"], *id);
            assert_eq!(delivery["body"]["epoch"], place["epoch"]);
            offsets.push(delivery["body"]["offset"].as_u64().unwrap());
        }
        assert!(
            offsets.is_sorted_by(|one, other| one < other),
            "{offsets:?}"
        );
        let mut late = Peer::connect(&server, "late").await;
        let from = |epoch: &Value, offset: u64| json!({"topics": topics, "from": {"memory": {"epoch": epoch, "offset": offset}}});
        let back = subscribe(&mut late, from(&place["epoch"], offsets[2])).await;
        assert_eq!(back["memory"]["recovered"], true, "{back}");
        assert!(back["memory"]["offset"].as_u64().unwrap() > offsets[5]);
        for id in &ids[2..] {
            assert_eq!(late.delivery().await["body"]["id"], *id);
        }
        is_silent(&mut late).await;
        // Another epoch, the time before this run, and the future.
        let epoch = place["epoch"].as_u64().unwrap();
        for (epoch, offset) in [
            (epoch + 1, offsets[2]),
            (epoch, epoch - 1),
            (epoch, offsets[5] + 3_600_000_000),
        ] {
            let mut lost = Peer::connect(&server, "lost").await;
            let back = subscribe(&mut lost, from(&json!(epoch), offset)).await;
            assert_eq!(back["memory"]["recovered"], false, "{back}");
            tokio::time::sleep(BEGUN).await;
            is_silent(&mut lost).await;
        }
        // What nobody can name is told as a gap, and nothing before it is to be had.
        let export = writer.result("memory/export", json!({})).await;
        let mut record = export["records"][0].clone();
        record["memory"]["id"] = json!("018f0000-0000-7000-8000-000000000001");
        writer
            .result("memory/import", json!({"records": [record]}))
            .await;
        assert_eq!(event(&mut reader, "memory").await, json!({"event": "gap"}));
        let mut lost = Peer::connect(&server, "lost").await;
        let back = subscribe(&mut lost, from(&place["epoch"], offsets[5])).await;
        assert_eq!(back["memory"]["recovered"], false, "{back}");
    });
}

#[test]
fn wrong_topics_filters_and_places_are_refused() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut peer = Peer::connect(&server, "peer").await;
        for wrong in [
            json!({"topics": ["task"]}),
            json!({"topics": ["workflow"]}),
            json!({"topics": ["memories"]}),
            json!({"topics": ["memory"], "filters": {"presence": {"agent": "x"}}}),
            json!({"topics": ["memory"], "filters": {"memory": {"agent": "no spaces"}}}),
            json!({"topics": ["memory"], "from": {"presence": {"epoch": 1, "offset": 1}}}),
            json!({"topics": ["message"], "from": {"message": {"epoch": 1, "offset": 1}}}),
        ] {
            let answer = peer.call("session/subscribe", wrong.clone()).await;
            assert_eq!(answer["error"]["code"], -32602, "{wrong}: {answer}");
        }
        let long = json!({"status": "away", "text": "x".repeat(257)});
        let answer = peer.call("agent/status", long).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        let answer = peer.call("agent/status", json!({"status": "asleep"})).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    });
}

#[test]
fn subscriptions_go_on_with_a_session_that_is_resumed() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut reader = Peer::connect(&server, "reader").await;
        let mut writer = Peer::connect(&server, "writer").await;
        tokio::time::sleep(BEGUN).await;
        subscribe(&mut reader, json!({"topics": ["memory"]})).await;
        let welcome = reader.welcome.clone();
        drop(reader);
        let new = json!({"content": "meanwhile", "access_level": "team"});
        let created = writer.result("memory/create", new).await;
        let (mut back, answer) = Peer::resume(&server, "reader", &welcome, 0).await;
        assert_eq!(answer["recovered"], true, "{answer}");
        assert_eq!(answer["topics"], json!(["message", "memory"]));
        assert_eq!(back.delivery().await["body"]["id"], created["id"]);
    });
}

#[test]
fn operators_are_told_of_a_stop() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--drain-seconds", "1"]).start();
        let mut operator = Peer::connect(&server, "operator").await;
        tokio::time::sleep(BEGUN).await;
        subscribe(&mut operator, json!({"topics": ["diagnostics"]})).await;
        server.signal(libc::SIGTERM);
        let told = operator.delivery().await;
        assert_eq!(
            (&told["topic"], &told["body"]["event"]),
            (&json!("diagnostics"), &json!("draining"))
        );
    });
}

#[test]
fn events_of_other_nodes_are_told_once() {
    let database = database();
    let (redis, url) = redis("events");
    on_both(async |io| {
        let (one, two) = (node(io, &database, &url), node(io, &database, &url));
        let space = format!("space-{io}");
        let mut near = Peer::connect_in(&one, &space, "near").await;
        let mut far = Peer::connect_in(&two, &space, "far").await;
        tokio::time::sleep(BEGUN).await;
        let topics = json!({"topics": ["presence", "memory", "diagnostics"]});
        subscribe(&mut near, topics.clone()).await;
        subscribe(&mut far, topics).await;
        let mut bob = Peer::connect_in(&two, &space, "bob").await;
        let body = |event: &str, status: &str| json!({"event": event, "agent_id": "bob", "namespace": space, "status": status});
        for peer in [&mut near, &mut far] {
            assert_eq!(event(peer, "presence").await, body("join", "online"));
        }
        bob.result("agent/status", json!({"status": "away"})).await;
        for peer in [&mut near, &mut far] {
            assert_eq!(event(peer, "presence").await, body("status", "away"));
        }
        // On another node as well: no second join, and the status stays with the agent.
        let other = Peer::connect_in(&one, &space, "bob").await;
        let online = near.result("agent/online", json!({})).await;
        assert_eq!(online["agents"][0]["status"], "away", "{online}");
        // Until the other node knows that the agent is here as well.
        tokio::time::sleep(SILENCE).await;
        drop(bob);
        is_silent(&mut near).await;
        drop(other);
        let gone = json!({"event": "leave", "agent_id": "bob", "namespace": space});
        for peer in [&mut near, &mut far] {
            assert_eq!(event(peer, "presence").await, gone);
        }
        let new = json!({"content": "told everywhere", "access_level": "team"});
        let created = far.result("memory/create", new).await;
        for peer in [&mut near, &mut far] {
            let told = event(peer, "memory").await;
            assert_eq!(told, json!({"event": "created", "id": created["id"]}));
        }
        far.result("memory/delete", json!({"id": created["id"]}))
            .await;
        let told = event(&mut near, "memory").await;
        assert_eq!(told, json!({"event": "deleted", "id": created["id"]}));
        // Without Redis operators are told, and of what may have been missed.
        redis.kill();
        until_health(&one, "degraded").await;
        let down = event(&mut near, "diagnostics").await;
        assert_eq!(down["event"], "nodes_unreachable", "{down}");
        redis.up();
        until_health(&one, "healthy").await;
        let back = event(&mut near, "diagnostics").await;
        assert_eq!(back["event"], "nodes_back", "{back}");
        assert_eq!(event(&mut near, "memory").await, json!({"event": "gap"}));
        // A node that dies takes its agents with it.
        near.client.rest(SILENCE).await;
        two.kill();
        let mut told = Vec::new();
        while told.len() < 3 {
            let delivery = near.delivery().await;
            let body = &delivery["body"];
            told.push((
                delivery["topic"].clone(),
                body["event"].clone(),
                body["agent_id"].clone(),
            ));
        }
        let has = |topic: &str, event: &str, agent: Value| {
            told.contains(&(json!(topic), json!(event), agent))
        };
        assert!(has("presence", "leave", json!("far")), "{told:?}");
        assert!(has("diagnostics", "node_silent", Value::Null), "{told:?}");
        assert!(has("memory", "gap", Value::Null), "{told:?}");
    });
}
