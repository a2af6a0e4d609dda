//! Whoever watches is told of each change that it may see, and of nothing else.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::web::{envelope, enveloped};
use crate::harness::{Client, Server, agent, connect, launch, on_both};

/// Longer than a watch waits between two looks, several times over.
const SILENCE: Duration = Duration::from_millis(300);
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
const UPDATED: &str = "notifications/resources/updated";
const LIST: &str = "notifications/resources/list_changed";

async fn modern(server: &Server, agent: &str) -> Client {
    connect(server.ws, "/", &[("X-Agent-ID", agent)]).await
}

/// Listens, and returns what of the filter is honoured.
async fn listen(client: &mut Client, id: Value, filter: Value) -> Value {
    let params = envelope(json!({"notifications": filter}));
    let request =
        json!({"jsonrpc": "2.0", "id": id, "method": "subscriptions/listen", "params": params});
    client.send(&request.to_string()).await;
    let first = client.receive().await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(first["params"]["_meta"][SUBSCRIPTION], id);
    first["params"]["notifications"].clone()
}

async fn store(client: &mut Client, arguments: Value) -> (String, String) {
    let memory = client.result("memory/create", arguments).await;
    let id = memory["id"].as_str().unwrap().to_owned();
    (format!("memory://default/{id}"), id)
}

fn updated(id: &Value, uri: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": uri, "_meta": {SUBSCRIPTION: id}}})
}

#[test]
fn every_kind_of_change_is_told_under_the_id_of_the_listen() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut writer = agent(&server, "alice").await;
        let (uri, id) = store(&mut writer, json!({"content": "one"})).await;
        let (other, _) = store(&mut writer, json!({"content": "not watched"})).await;
        for subscription in [json!(7), json!("7")] {
            let mut watcher = modern(&server, "alice").await;
            let nonsense = "memory://default/nothing";
            let honoured = listen(
                &mut watcher,
                subscription.clone(),
                json!({"resourceSubscriptions": [uri, nonsense], "toolsListChanged": true, "promptsListChanged": true}),
            )
            .await;
            // Tools and prompts never change.
            assert_eq!(honoured, json!({"resourceSubscriptions": [uri]}));
            let told = updated(&subscription, &uri);
            let content = format!("changed for {subscription}");
            writer
                .result("memory/update", json!({"id": id, "content": content}))
                .await;
            assert_eq!(watcher.receive().await, told, "an update");
            // Grants are no part of a memory, so it is the reader who sees a change.
            let mut reader = modern(&server, "bob").await;
            listen(
                &mut reader,
                subscription.clone(),
                json!({"resourceSubscriptions": [uri]}),
            )
            .await;
            for (revoke, what) in [(false, "a grant"), (true, "a grant withdrawn")] {
                let share = json!({"id": id, "agents": ["bob"], "revoke": revoke});
                writer.result("memory/share", share).await;
                assert_eq!(reader.receive().await, told, "{what}");
            }
            // The first grant lets the owner see another level, and nothing tells of other ones.
            let rest = watcher.rest(SILENCE).await;
            assert!(
                rest.iter().all(|message| *message == told),
                "{other}: {rest:?}"
            );
        }
        let (gone, gone_id) = store(&mut writer, json!({"content": "two"})).await;
        for (method, arguments, uri) in [
            (
                "memory/create",
                json!({"content": "later", "supersedes": id}),
                uri,
            ),
            ("memory/delete", json!({"id": gone_id}), gone),
        ] {
            let mut watcher = modern(&server, "alice").await;
            let filter = json!({"resourceSubscriptions": [uri]});
            listen(&mut watcher, json!(1), filter).await;
            writer.result(method, arguments).await;
            assert_eq!(
                watcher.receive().await,
                updated(&json!(1), &uri),
                "{method}"
            );
        }
    });
}

#[test]
fn a_new_memory_is_told_to_those_who_watch_recent_or_the_list() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut writer = agent(&server, "alice").await;
        let mut watcher = modern(&server, "bob").await;
        let recent = "memory://default/recent";
        let honoured = listen(
            &mut watcher,
            json!("recent"),
            json!({"resourceSubscriptions": [recent]}),
        )
        .await;
        assert_eq!(honoured, json!({"resourceSubscriptions": [recent]}));
        let honoured = listen(
            &mut watcher,
            json!("list"),
            json!({"resourcesListChanged": true}),
        )
        .await;
        assert_eq!(honoured, json!({"resourcesListChanged": true}));
        store(
            &mut writer,
            json!({"content": "for all", "access_level": "team"}),
        )
        .await;
        let mut told = [watcher.receive().await, watcher.receive().await];
        told.sort_by_key(|message| message["method"].to_string());
        assert_eq!(
            told[0],
            json!({"jsonrpc": "2.0", "method": LIST, "params": {"_meta": {SUBSCRIPTION: "list"}}})
        );
        assert_eq!(told[1], updated(&json!("recent"), recent));
        // An agent that registers is a new resource too.
        writer
            .result("agent/register", json!({"agent_id": "carol"}))
            .await;
        let told = watcher.receive().await;
        assert_eq!(told["method"], LIST);
        assert!(watcher.rest(SILENCE).await.is_empty());
    });
}

#[test]
fn a_burst_is_few_notifications_and_the_last_change_is_among_them() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut writer = agent(&server, "alice").await;
        let (uri, id) = store(&mut writer, json!({"content": "0"})).await;
        let mut watcher = modern(&server, "alice").await;
        listen(
            &mut watcher,
            json!(1),
            json!({"resourceSubscriptions": [uri]}),
        )
        .await;
        const CHANGES: usize = 100;
        for change in 1..=CHANGES {
            writer
                .post(
                    "memory/update",
                    json!({"id": id, "content": change.to_string()}),
                )
                .await;
        }
        for _ in 0..CHANGES {
            writer.receive().await;
        }
        let told = watcher.rest(SILENCE).await;
        assert!(
            (1..CHANGES / 2).contains(&told.len()),
            "{} notifications",
            told.len()
        );
        let read = json!({"uri": uri});
        let last = writer.result("resources/read", read).await;
        let text = last["contents"][0]["text"].as_str().unwrap().to_owned();
        assert!(text.contains("\"content\":\"100\""), "{text}");
    });
}

#[test]
fn what_is_cancelled_or_unsubscribed_tells_nothing_more() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut writer = agent(&server, "alice").await;
        let (uri, id) = store(&mut writer, json!({"content": "one"})).await;
        let update = json!({"id": id, "importance": 0.9});
        let mut watcher = modern(&server, "alice").await;
        for listening in [json!(1), json!("1")] {
            listen(
                &mut watcher,
                listening,
                json!({"resourceSubscriptions": [uri]}),
            )
            .await;
        }
        // The other one goes on: 1 and "1" are two ids.
        watcher
            .send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}).to_string())
            .await;
        watcher.result("server/discover", envelope(json!({}))).await;
        writer.result("memory/update", update.clone()).await;
        assert_eq!(watcher.receive().await, updated(&json!("1"), &uri));
        assert!(watcher.rest(SILENCE).await.is_empty());

        let mut watcher = agent(&server, "alice").await;
        let params = json!({"uri": uri});
        assert_eq!(
            watcher.result("resources/subscribe", params.clone()).await,
            json!({})
        );
        // A second time is the same as once.
        watcher.result("resources/subscribe", params.clone()).await;
        let told = json!({"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": uri}});
        writer
            .result("memory/update", json!({"id": id, "importance": 0.8}))
            .await;
        assert_eq!(watcher.receive().await, told);
        watcher
            .result("resources/unsubscribe", params.clone())
            .await;
        writer
            .result("memory/update", json!({"id": id, "importance": 0.7}))
            .await;
        assert!(watcher.rest(SILENCE).await.is_empty());
        watcher.result("resources/subscribe", params.clone()).await;
        assert!(
            watcher.rest(SILENCE).await.is_empty(),
            "what it missed is past"
        );
        writer
            .result("memory/update", json!({"id": id, "importance": 0.6}))
            .await;
        assert_eq!(watcher.receive().await, told);
        for uri in ["memory://default/nothing", "http://x/", ""] {
            let code = watcher
                .error("resources/subscribe", json!({"uri": uri}))
                .await;
            assert_eq!(code.0, -32002, "{uri}");
        }
    });
}

#[test]
fn nobody_is_told_of_what_it_may_not_read() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut alice = agent(&server, "alice").await;
        let mut bob = agent(&server, "bob").await;
        let (own, own_id) = store(&mut bob, json!({"content": "mine"})).await;
        let (hidden, hidden_id) = store(&mut alice, json!({"content": "the vault"})).await;
        let (second, second_id) = store(&mut alice, json!({"content": "the key"})).await;
        let mut watcher = modern(&server, "bob").await;
        let filter = json!({"resourcesListChanged": true,
            "resourceSubscriptions": [hidden, second, own, "memory://default/recent"]});
        // What is not there for the watcher is watched like what is not there at all.
        listen(&mut watcher, json!(1), filter).await;
        let pause = || tokio::time::sleep(Duration::from_millis(80));
        let exported = alice.result("memory/export", json!({})).await;
        let mut quiet = async |what: &str| {
            let told = watcher.rest(SILENCE).await;
            assert!(told.is_empty(), "{what}: {told:?}");
        };
        for change in [
            json!({"id": hidden_id, "content": "the vault is open"}),
            json!({"id": hidden_id, "tags": ["a"], "importance": 1.0}),
        ] {
            alice.result("memory/update", change).await;
            pause().await;
        }
        quiet("changes").await;
        let grant = json!({"id": hidden_id, "agents": ["carol"]});
        alice.result("memory/share", grant).await;
        pause().await;
        let (_, newer) = store(
            &mut alice,
            json!({"content": "new", "supersedes": second_id}),
        )
        .await;
        quiet("a grant to another, a successor").await;
        // What a reader does leaves traces in what it reads; they are no change to tell of, and
        // must not come out when somebody else writes.
        bob.result("memory/get", json!({"id": own_id})).await;
        bob.result("resources/read", json!({"uri": own})).await;
        bob.result("memory/search", json!({"query": "mine"})).await;
        alice
            .result(
                "memory/update",
                json!({"id": hidden_id, "content": "again"}),
            )
            .await;
        quiet("a private change after a read").await;
        alice
            .result("memory/delete", json!({"id": newer, "purge": true}))
            .await;
        pause().await;
        alice
            .result("memory/delete", json!({"id": second_id, "purge": true}))
            .await;
        quiet("deleted").await;
        // The same memory, once more under its own id.
        let records = json!({"records": exported["records"]});
        alice.result("memory/import", records).await;
        quiet("recreated").await;

        let level = |level: &str| json!({"id": hidden_id, "access_level": level});
        alice.result("memory/update", level("team")).await;
        let mut told: Vec<Value> = Vec::new();
        while told.len() < 3 {
            told.push(watcher.receive().await);
        }
        let of = |told: &[Value], uri: &str| {
            told.iter()
                .filter(|message| message["params"]["uri"] == uri)
                .count()
        };
        assert_eq!(of(&told, &hidden), 1, "{told:?}");
        assert_eq!(of(&told, "memory://default/recent"), 1, "{told:?}");
        // It goes from the reader's sight, which is a change; afterwards nothing of it is.
        alice.result("memory/update", level("private")).await;
        let told = watcher.rest(SILENCE).await;
        assert_eq!(of(&told, &hidden), 1, "{told:?}");
        alice
            .result(
                "memory/update",
                json!({"id": hidden_id, "content": "secret"}),
            )
            .await;
        alice
            .result("memory/delete", json!({"id": hidden_id}))
            .await;
        let told = watcher.rest(SILENCE).await;
        assert!(told.is_empty(), "private again: {told:?}");
    });
}

#[test]
fn changes_on_another_shard_arrive() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "2"]).start();
        let mut writers = Vec::new();
        let mut watchers = Vec::new();
        let mut control = agent(&server, "alice").await;
        let (uri, id) = store(&mut control, json!({"content": "start"})).await;
        // The kernel deals connections out: with so many, both shards have some of each.
        for number in 0..16 {
            writers.push(agent(&server, "alice").await);
            let mut watcher = modern(&server, "alice").await;
            listen(
                &mut watcher,
                json!(number),
                json!({"resourceSubscriptions": [uri]}),
            )
            .await;
            watchers.push(watcher);
        }
        for (round, writer) in writers.iter_mut().enumerate() {
            let change = json!({"id": id, "content": format!("round {round}")});
            writer.result("memory/update", change).await;
            for (number, watcher) in watchers.iter_mut().enumerate() {
                assert_eq!(watcher.receive().await, updated(&json!(number), &uri));
            }
        }
    });
}

#[test]
fn a_stop_ends_each_listen_with_its_result() {
    on_both(async |io| {
        let mut server = launch(&["--io", io, "--drain-seconds", "1"]).start();
        let mut watcher = modern(&server, "alice").await;
        let filter = json!({"resourcesListChanged": true});
        for id in [json!("a"), json!(2)] {
            listen(&mut watcher, id, filter.clone()).await;
        }
        let mut legacy = agent(&server, "alice").await;
        let params = json!({"uri": "memory://default/recent"});
        legacy.result("resources/subscribe", params).await;
        server.signal(libc::SIGTERM);
        for id in [json!("a"), json!(2)] {
            let end = watcher.receive().await;
            assert_eq!(end["id"], id, "{end}");
            assert_eq!(end["result"]["resultType"], "complete");
            assert_eq!(end["result"]["_meta"][SUBSCRIPTION], id);
        }
        assert_eq!(watcher.next().await.unwrap_err().0, 1012);
        assert_eq!(legacy.next().await.unwrap_err().0, 1012);
        assert_eq!(server.wait().code(), Some(0));
    });
}

#[test]
fn tasks_in_a_listen_need_the_extension() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut client = modern(&server, "alice").await;
        let filter =
            json!({"notifications": {"taskIds": ["0199c0de-0000-7000-8000-000000000000"]}});
        let answer = client
            .request("subscriptions/listen", envelope(filter.clone()))
            .await;
        assert_eq!(answer["error"]["code"], -32021, "{answer}");
        assert!(answer["error"]["data"]["requiredCapabilities"]["extensions"].is_object());
        let able = enveloped(filter, crate::harness::web::tasks());
        client.post("subscriptions/listen", able).await;
        let first = client.receive().await;
        assert!(first["params"]["notifications"].is_object(), "{first}");
    });
}
