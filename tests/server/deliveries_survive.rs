//! Messages reach whoever they are for: connected, away, back again, after a kill.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::peer::{Peer, claim, send};
use crate::harness::{agent, connect, http, launch, on_both, within};

/// Nothing comes within this time.
const SILENCE: Duration = Duration::from_millis(200);

#[test]
fn a_message_is_delivered_until_it_is_acknowledged() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut alice = agent(&server, "alice").await;
        let mut bob = Peer::connect(&server, "bob").await;
        let limits = &bob.welcome["limits"];
        assert_eq!(
            (
                limits["window_messages"].as_u64(),
                limits["ack_ms"].as_u64()
            ),
            (Some(256), Some(30_000))
        );
        let sent = send(&mut alice, "bob", json!({"text": "hello"})).await;
        assert_eq!(sent["recipients"], 1);
        let first = bob.delivery().await;
        let delivered = json!({
            "epoch": bob.welcome["epoch"], "seq": 1, "delivery": 1, "priority": "normal",
            "topic": "message", "id": sent["message_id"], "sent_at": first["sent_at"],
            "expires_at": first["expires_at"], "body": {"text": "hello"},
            "from": {"agent_id": "alice", "namespace": "default"},
        });
        assert_eq!(first, delivered);
        // It waits in the meantime, and may be asked for again.
        let inbox = bob.result("agent/inbox", json!({})).await;
        assert_eq!(inbox["messages"][0]["id"], sent["message_id"]);
        let nacked = bob
            .result("session/nack", json!({"seq": 1, "delivery": 1}))
            .await;
        assert_eq!(nacked["accepted"], 1);
        let again = bob.delivery().await;
        assert_eq!((&again["seq"], &again["delivery"]), (&json!(1), &json!(2)));
        let late = json!({"acks": [{"seq": 1, "delivery": 1}]});
        let late = bob.result("session/ack", late).await;
        assert_eq!(late, json!({"accepted": 0, "stale": [1]}));
        let acked = bob.result("session/ack", json!({"up_to": 1})).await;
        assert_eq!(acked, json!({"accepted": 1}));
        let inbox = bob.result("agent/inbox", json!({})).await;
        assert_eq!(inbox["messages"], json!([]));
        let beyond = bob.call("session/ack", json!({"up_to": 2})).await;
        assert_eq!(beyond["error"]["code"], -32602);
    });
}

#[test]
fn an_agent_that_was_away_gets_what_waits_the_most_urgent_first() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut alice = agent(&server, "alice").await;
        for priority in ["low", "normal", "urgent", "high"] {
            let params = json!({"to": {"agent": "bob"}, "body": priority, "priority": priority});
            alice.result("agent/send", params).await;
        }
        let mut bob = Peer::connect(&server, "bob").await;
        assert_eq!(bob.bodies(4).await, ["urgent", "high", "normal", "low"]);
        bob.result("session/ack", json!({"up_to": 4})).await;
        drop(bob);
        // Nobody else gets them.
        let mut carol = Peer::connect(&server, "carol").await;
        assert!(carol.client.rest(3 * SILENCE).await.is_empty());
    });
}

#[test]
fn whoever_comes_back_has_missed_nothing() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "2"]).start();
        let mut alice = agent(&server, "alice").await;
        let mut bob = Peer::connect(&server, "bob").await;
        let mut last_seq = 0;
        for round in 0..10 {
            send(&mut alice, "bob", json!([round, "seen"])).await;
            send(&mut alice, "bob", json!([round, "not acknowledged"])).await;
            assert_eq!(
                bob.bodies(2).await,
                [json!([round, "seen"]), json!([round, "not acknowledged"])]
            );
            last_seq += 2;
            bob.result("session/ack", json!({"seqs": [last_seq - 1]}))
                .await;
            let welcome = bob.welcome.clone();
            drop(bob);
            send(&mut alice, "bob", json!([round, "missed"])).await;
            let (back, resumed) = Peer::resume(&server, "bob", &welcome, last_seq).await;
            bob = back;
            assert_eq!(resumed["recovered"], true, "{resumed}");
            assert_eq!(resumed["session_id"], welcome["session_id"]);
            assert_eq!(resumed["epoch"], welcome["epoch"]);
            let mut two = bob.bodies(2).await;
            two.sort_by_key(|body| body[1].to_string());
            assert_eq!(
                two,
                [json!([round, "missed"]), json!([round, "not acknowledged"])]
            );
            last_seq += 1;
            let all = json!({"up_to": last_seq});
            assert_eq!(bob.result("session/ack", all).await["accepted"], 2);
            bob.welcome = welcome;
        }
        assert_eq!(
            bob.result("agent/inbox", json!({})).await["messages"],
            json!([])
        );
    });
}

#[test]
fn a_killed_server_has_lost_nothing_that_it_acknowledged() {
    on_both(async |io| {
        let data = tempfile::tempdir().unwrap();
        let start = || launch(&["--io", io]).data(data.path()).start();
        let server = start();
        let mut alice = agent(&server, "alice").await;
        let mut bob = Peer::connect(&server, "bob").await;
        for n in 0..3 {
            send(&mut alice, "bob", json!(n)).await;
        }
        assert_eq!(bob.bodies(3).await, [0, 1, 2]);
        bob.result("session/ack", json!({"seqs": [2]})).await;
        send(&mut alice, "carol", json!("for carol")).await;
        let welcome = bob.welcome.clone();
        server.kill();
        let server = start();
        let (mut bob, resumed) = Peer::resume(&server, "bob", &welcome, 3).await;
        assert_eq!(resumed["recovered"], true, "{resumed}");
        assert_ne!(resumed["epoch"], welcome["epoch"], "places begin anew");
        let (first, second) = (bob.delivery().await, bob.delivery().await);
        assert_eq!((&first["body"], &second["body"]), (&json!(0), &json!(2)));
        assert_eq!((&first["seq"], &first["delivery"]), (&json!(1), &json!(2)));
        assert!(bob.client.rest(SILENCE).await.is_empty());
        // Acknowledgements of the epoch before mean other places.
        let old = json!({"seqs": [1], "epoch": welcome["epoch"]});
        assert_eq!(bob.result("session/ack", old).await["unknown"], json!([1]));
        let mut carol = Peer::connect(&server, "carol").await;
        assert_eq!(carol.bodies(1).await, ["for carol"]);
    });
}

#[test]
fn who_is_told_of_a_loss_had_one() {
    on_both(async |io| {
        let data = tempfile::tempdir().unwrap();
        let start = || launch(&["--io", io]).data(data.path()).start();
        let server = start();
        let mut alice = agent(&server, "alice").await;
        let bob = Peer::connect(&server, "bob").await;
        let params = json!({"to": {"agent": "bob"}, "body": 1, "durable": false});
        alice.result("agent/send", params).await;
        let welcome = bob.welcome.clone();
        server.kill();
        let server = start();
        let (_, resumed) = Peer::resume(&server, "bob", &welcome, 0).await;
        assert_eq!(resumed["recovered"], false, "{resumed}");
        assert_eq!(resumed["lost"]["volatile"], true);
        assert_eq!(resumed["reason"], "server_restarted");
    });
}

#[test]
fn a_session_that_ended_is_no_restart() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut alice = agent(&server, "alice").await;
        let bob = Peer::connect(&server, "bob").await;
        let params = json!({"to": {"agent": "bob"}, "body": 1, "durable": false});
        alice.result("agent/send", params).await;
        let (second, resumed) = Peer::resume(&server, "bob", &bob.welcome, 0).await;
        assert_eq!(resumed["recovered"], true, "{resumed}");
        // The session that the second connection began with ended when it took up the first's. While its
        // queue is being closed nothing is known of it.
        let told = within(async {
            loop {
                let (_, resumed) = Peer::resume(&server, "bob", &second.welcome, 0).await;
                assert_eq!(resumed["recovered"], false, "{resumed}");
                if resumed["reason"] != "unknown_session" {
                    return resumed["reason"].clone();
                }
                tokio::time::sleep(SILENCE / 10).await;
            }
        });
        assert_eq!(told.await, "session_ended");
    });
}

#[test]
fn a_new_session_is_silent_once_an_earlier_one_is_taken_up() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut alice = agent(&server, "alice").await;
        for round in 0..5 {
            let name = format!("bob{round}");
            let before = Peer::connect(&server, &name).await.welcome;
            for n in 0..256 {
                send(&mut alice, &name, json!(n)).await;
            }
            // Its client is slow to ask: deliveries of the new session are on their way already.
            let mut bob = Peer::connect(&server, &name).await;
            let first = bob.delivery().await;
            assert_eq!(first["epoch"], bob.welcome["epoch"]);
            let back = bob.result("session/resume", claim(&before, 0)).await;
            assert_eq!(back["epoch"], before["epoch"], "{back}");
            let of_new = |message: &Value| message["params"]["epoch"] == bob.welcome["epoch"];
            bob.waiting.retain(|message| !of_new(message));
            for n in 0..256 {
                let delivery = bob.delivery().await;
                assert_eq!(delivery["epoch"], before["epoch"]);
                assert_eq!(delivery["body"], n);
            }
            let all = json!({"up_to": 256});
            assert_eq!(bob.result("session/ack", all).await["accepted"], 256);
        }
    });
}

#[test]
fn a_second_connection_takes_the_session_and_the_first_is_told() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "2"]).start();
        let mut alice = agent(&server, "alice").await;
        for _ in 0..4 {
            let mut first = Peer::connect(&server, "bob").await;
            let (mut second, resumed) = Peer::resume(&server, "bob", &first.welcome, 0).await;
            assert_eq!(resumed["recovered"], true);
            let (code, reason) = first.client.next().await.unwrap_err();
            assert_eq!(code, 4001, "{reason}");
            assert!(reason.contains("another connection"));
            send(&mut alice, "bob", json!("once")).await;
            assert_eq!(second.bodies(1).await, ["once"]);
            second.result("session/ack", json!({"up_to": 1})).await;
            let welcome = second.welcome.clone();
            let (code, _) = {
                let answer = second
                    .call(
                        "session/resume",
                        json!({"session_id": welcome["session_id"], "token": "x"}),
                    )
                    .await;
                (answer["error"]["code"].clone(), ())
            };
            assert_eq!(code, 1403);
        }
        // The token is its agent's.
        let bob = Peer::connect(&server, "bob").await;
        let mut mallory = Peer::connect(&server, "mallory").await;
        let stolen = mallory.call("session/resume", claim(&bob.welcome, 0)).await;
        assert_eq!(stolen["error"]["code"], 1403, "{stolen}");
    });
}

#[test]
fn a_plain_client_pulls_or_subscribes() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut alice = agent(&server, "alice").await;
        let mut bob = agent(&server, "bob").await;
        let one = send(&mut alice, "bob", json!("one")).await;
        send(&mut alice, "bob", json!("two")).await;
        assert!(
            bob.rest(SILENCE).await.is_empty(),
            "it did not ask for deliveries"
        );
        let inbox = bob.result("agent/inbox", json!({"limit": 10})).await;
        assert_eq!(inbox["messages"].as_array().unwrap().len(), 2);
        assert_eq!(inbox["messages"][0]["from"]["agent_id"], "alice");
        let acked = json!({"ids": [one["message_id"]]});
        assert_eq!(bob.result("ack_messages", acked).await["acknowledged"], 1);
        let subscribed = bob
            .result(
                "session/subscribe",
                json!({"topics": ["message", "topic:news"]}),
            )
            .await;
        assert_eq!(subscribed["topics"], json!(["message", "topic:news"]));
        let two = within(bob.receive()).await;
        assert_eq!(two["params"]["body"], "two");
        let params = json!({"to": {"topic": "news"}, "body": {"n": 3}});
        assert_eq!(
            alice.result("agent/send", params.clone()).await["recipients"],
            1
        );
        let news = bob.receive().await;
        assert_eq!(news["params"]["topic"], "topic:news");
        let removed = bob
            .result("session/unsubscribe", json!({"topics": ["topic:news"]}))
            .await;
        assert_eq!(removed["removed"], json!(["topic:news"]));
        assert_eq!(alice.result("agent/send", params).await["recipients"], 0);
        let (code, _) = bob
            .error("session/subscribe", json!({"topics": ["weather"]}))
            .await;
        assert_eq!(code, -32602);
        let (code, _) = alice.error("session/ack", json!({"up_to": 0})).await;
        assert_eq!(code, 1409, "alice takes no deliveries");
    });
}

#[test]
fn a_broadcast_reaches_the_others_of_the_namespace() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut alice = Peer::connect(&server, "alice").await;
        let mut bob = Peer::connect(&server, "bob").await;
        let mut carol = agent(&server, "carol").await;
        let mut dave = Peer::connect(&server, "dave").await;
        let fields = [
            ("X-Agent-ID", "eve"),
            ("X-Agent-Namespace", "elsewhere"),
            ("Sec-WebSocket-Protocol", "tmws.v1"),
        ];
        let mut eve = connect(server.ws, "/", &fields).await;
        eve.receive().await;
        let params = json!({"body": "all", "exclude": ["dave"]});
        assert_eq!(
            alice.result("broadcast_message", params).await["recipients"],
            2
        );
        assert_eq!(bob.bodies(1).await, ["all"]);
        let inbox = carol.result("check_inbox", json!({})).await;
        assert_eq!(inbox["messages"][0]["body"], "all");
        assert!(dave.client.rest(SILENCE).await.is_empty());
        assert!(eve.rest(SILENCE).await.is_empty());
        assert!(
            alice.client.rest(SILENCE).await.is_empty(),
            "not to oneself"
        );
        let foreign = json!({"to": {"namespace": "elsewhere"}, "body": 1});
        assert_eq!(
            alice.call("agent/send", foreign).await["error"]["code"],
            1403
        );
    });
}

#[test]
fn an_operator_reaches_an_agent_over_http() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut bob = Peer::connect(&server, "team/bob").await;
        let body = json!({"body": {"stop": true}, "priority": "urgent"}).to_string();
        let post = |path: &str, body: &str| {
            format!(
                "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                server.api,
                body.len()
            )
        };
        let (status, _, answer) =
            http(server.api, &post("/ws/mcp/broadcast/team%2Fbob", &body)).await;
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let delivered = bob.delivery().await;
        assert_eq!(delivered["id"], answer["message_id"]);
        assert_eq!(
            (&delivered["body"], &delivered["priority"]),
            (&json!({"stop": true}), &json!("urgent"))
        );
        for (path, body, refused) in [
            ("/ws/mcp/broadcast/team%2Fbob", "{}", 400),
            ("/ws/mcp/broadcast/", "{\"body\":1}", 400),
            ("/ws/mcp/broadcast/a%20b", "{\"body\":1}", 400),
        ] {
            let (status, _, answer) = http(server.api, &post(path, body)).await;
            assert_eq!(status, refused, "{path}: {answer}");
        }
    });
}

#[test]
fn a_plain_client_is_told_how_to_come_back() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut alice = agent(&server, "alice").await;
        let mut bob = connect(server.ws, "/", &[("X-Agent-ID", "bob")]).await;
        let told = bob.initialize("2025-11-25").await["_meta"]["tmws/session"].clone();
        assert_eq!(told["reconnect_window_ms"], 300_000);
        let subscribed = bob
            .result("session/subscribe", json!({"topics": ["message"]}))
            .await;
        assert_eq!(subscribed["session_id"], told["session_id"]);
        drop(bob);
        send(&mut alice, "bob", json!("while you were away")).await;
        let mut bob = agent(&server, "bob").await;
        let claim = json!({
            "session_id": told["session_id"], "epoch": subscribed["epoch"], "last_seq": 0,
            "token": told["resume_token"],
        });
        let back = bob.post("session/resume", claim).await;
        let messages = bob.rest(3 * SILENCE).await;
        assert_eq!(messages.len(), 2, "{messages:?}");
        let answer = messages
            .iter()
            .find(|message| message["id"] == back)
            .unwrap();
        assert_eq!(answer["result"]["recovered"], true, "{answer}");
        let other = messages
            .iter()
            .find(|message| message["id"] != back)
            .unwrap();
        assert_eq!(other["params"]["body"], "while you were away");
    });
}

#[test]
fn what_is_terminated_is_a_dead_letter_that_can_be_sent_again() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut alice = agent(&server, "alice").await;
        let mut bob = Peer::connect(&server, "bob").await;
        send(&mut alice, "bob", json!("cannot be read")).await;
        bob.delivery().await;
        let term = json!({"seq": 1, "reason": "no such format"});
        assert_eq!(bob.result("session/term", term).await["accepted"], 1);
        let mut letters = json!([]);
        for _ in 0..100 {
            letters = bob.result("dlq/list", json!({})).await["dead_letters"].clone();
            if letters != json!([]) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(letters[0]["cause"], "terminated");
        assert_eq!(letters[0]["reason"], "no such format");
        assert_eq!(letters[0]["body"], "cannot be read");
        let id = letters[0]["id"].clone();
        let others = alice.result("dlq/list", json!({})).await;
        assert_eq!(others["dead_letters"], json!([]), "one's own only");
        assert_eq!(alice.error("dlq/get", json!({"id": id})).await.0, 1404);
        assert_eq!(
            bob.result("dlq/retry", json!({"id": id})).await["retried"],
            1
        );
        let again = bob.delivery().await;
        assert_eq!(
            (&again["body"], &again["delivery"]),
            (&json!("cannot be read"), &json!(1))
        );
        bob.result("session/term", json!({"seq": again["seq"]}))
            .await;
        let mut purged = json!(0);
        for _ in 0..100 {
            purged = bob.result("dlq/purge", json!({"all": true})).await["purged"].clone();
            if purged != 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(purged, 1);
        let wrong = bob.call("dlq/purge", json!({})).await;
        assert_eq!(wrong["error"]["code"], -32602);
    });
}

#[test]
fn bad_messages_are_refused_and_change_nothing() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut alice = agent(&server, "alice").await;
        let deep = format!("{}1{}", "[".repeat(57), "]".repeat(57));
        let deep: Value = serde_json::from_str(&deep).unwrap();
        for (params, code) in [
            (json!({"to": {}, "body": 1}), -32602),
            (
                json!({"to": {"agent": "a", "topic": "b"}, "body": 1}),
                -32602,
            ),
            (json!({"to": {"agent": "has space"}, "body": 1}), -32602),
            (json!({"to": {"agent": "bob"}}), -32602),
            (json!({"to": {"agent": "bob"}, "body": 1, "ttl": 0}), -32602),
            (
                json!({"to": {"agent": "bob"}, "body": 1, "priority": "soon"}),
                -32602,
            ),
            (
                json!({"to": {"agent": "bob"}, "body": "x".repeat(300_000)}),
                -32602,
            ),
            (json!({"to": {"agent": "bob"}, "body": deep}), -32602),
            (
                json!({"to": {"agent": "bob"}, "body": 1, "correlation_id": ""}),
                -32602,
            ),
        ] {
            let (got, _) = alice.error("agent/send", params.clone()).await;
            assert_eq!(got, code, "{params}");
        }
        let mut bob = agent(&server, "bob").await;
        assert_eq!(
            bob.result("agent/inbox", json!({})).await["messages"],
            json!([])
        );
    });
}
