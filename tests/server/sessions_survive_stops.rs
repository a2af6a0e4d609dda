//! What becomes of sessions when their client stays away, and when their server stops.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::peer::{Peer, claim, send};
use crate::harness::{Client, agent, launch, on_both, until};

async fn send_volatile(client: &mut Client, to: Value, body: Value) -> Value {
    let params = json!({"to": to, "body": body, "durable": false});
    client.result("agent/send", params).await
}

/// The code and reason of the close, and the notifications before it that are no deliveries.
async fn closed(client: &mut Client) -> ((u16, String), Vec<Value>) {
    let mut told = Vec::new();
    loop {
        match client.next().await {
            Ok(message) => {
                let message: Value = serde_json::from_slice(&message).unwrap();
                if message["method"] != "notifications/delivery" {
                    told.push(message);
                }
            }
            Err(close) => return (close, told),
        }
    }
}

#[test]
fn a_session_that_does_not_come_back_ends_and_its_messages_return() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--reconnect-window", "1"]).start();
        let mut alice = agent(&server, "alice").await;
        let mut bob = Peer::connect(&server, "bob").await;
        assert_eq!(bob.welcome["reconnect_window_ms"], 1_000);
        let topics = json!({"topics": ["topic:news"]});
        bob.result("session/subscribe", topics).await;
        let welcome = bob.welcome.clone();
        drop(bob);
        send(&mut alice, "bob", json!("stays")).await;
        // In time it goes on, with its topics.
        let (bob, resumed) = Peer::resume(&server, "bob", &welcome, 0).await;
        assert_eq!(resumed["epoch"], welcome["epoch"], "{resumed}");
        drop(bob);
        let params = json!({"to": {"topic": "news"}, "body": 1, "durable": false});
        until(async || alice.result("agent/send", params.clone()).await["recipients"] == 0).await;
        let (mut bob, resumed) = Peer::resume(&server, "bob", &welcome, 0).await;
        assert_ne!(resumed["epoch"], welcome["epoch"], "it had ended");
        assert_eq!(
            resumed["recovered"], false,
            "messages in memory went with it"
        );
        assert_eq!(bob.bodies(1).await, ["stays"]);
    });
}

#[test]
fn a_stop_closes_over_its_time_and_tells_clients_when_to_come_back() {
    on_both(async |io| {
        let flags = ["--io", io, "--shards", "2", "--drain-seconds", "3"];
        let mut server = launch(&flags).start();
        let mut peers = Vec::new();
        for _ in 0..30 {
            peers.push(Peer::connect(&server, "bob").await);
        }
        let mut plain = agent(&server, "alice").await;
        server.signal(libc::SIGTERM);
        let started = std::time::Instant::now();
        let closes = peers.iter_mut().map(async |peer| {
            let (close, told) = closed(&mut peer.client).await;
            (close, told, started.elapsed())
        });
        let closes = futures_util::future::join_all(closes).await;
        let mut times = Vec::new();
        for ((code, reason), told, time) in closes {
            assert_eq!(code, 1012, "{reason}");
            assert!(reason.contains("reconnect_window_ms=300000"), "{reason}");
            let closing = json!({"jsonrpc": "2.0", "method": "notifications/session/closing",
                "params": {"reason": "restart", "reconnect_window_ms": 300_000, "retry_after_ms": 3_000}});
            assert_eq!(told, [closing]);
            times.push(time);
        }
        let ((code, _), told) = closed(&mut plain).await;
        assert_eq!((code, told.len()), (1012, 0));
        times.sort_unstable();
        // Not all at once: of 30 over 2.4 s no third leaves within a quarter of a second.
        let crowd = Duration::from_millis(250);
        let crowded = times.windows(10).any(|ten| ten[9] - ten[0] < crowd);
        assert!(!crowded, "{times:?}");
        assert_eq!(server.wait().code(), Some(0));
    });
}

#[test]
fn a_stop_stores_what_is_in_memory_and_a_kill_loses_it() {
    on_both(async |io| {
        for (stops, shards) in [(true, "1"), (true, "2"), (false, "2")] {
            let data = tempfile::tempdir().unwrap();
            let flags = ["--io", io, "--shards", shards, "--drain-seconds", "1"];
            let start = || launch(&flags).data(data.path()).start();
            let mut server = start();
            let mut alice = agent(&server, "alice").await;
            // Away, unsettled, and not the only one of its agent.
            let gone = Peer::connect(&server, "bob").await;
            let gone_welcome = gone.welcome.clone();
            let mut here = Peer::connect(&server, "bob").await;
            drop(gone);
            let mut carol = Peer::connect(&server, "carol").await;
            // A second session is filled before it is sent anything that is in memory only.
            until(async || {
                send_volatile(&mut alice, json!({"agent": "bob"}), json!("knock")).await;
                !here.client.rest(Duration::from_millis(50)).await.is_empty()
            })
            .await;
            // More than a window, mixed with what is stored.
            for n in 0..300 {
                match n % 3 {
                    0 => send(&mut alice, "bob", json!(n)).await,
                    _ => send_volatile(&mut alice, json!({"agent": "bob"}), json!(n)).await,
                };
            }
            let everybody = json!({"namespace": "default"});
            send_volatile(&mut alice, everybody, json!("to all")).await;
            assert_eq!(carol.bodies(1).await, ["to all"]);
            carol.result("session/ack", json!({"up_to": 1})).await;
            let welcome = here.welcome.clone();
            if stops {
                server.signal(libc::SIGTERM);
                let ((code, _), _) = closed(&mut here.client).await;
                assert_eq!(code, 1012);
                assert_eq!(server.wait().code(), Some(0));
            } else {
                server.kill();
            }
            let server = start();
            let (mut here, resumed) = Peer::resume(&server, "bob", &welcome, 0).await;
            assert_eq!(resumed["recovered"], stops, "{resumed}");
            let (mut gone, resumed) = Peer::resume(&server, "bob", &gone_welcome, 0).await;
            assert_eq!(resumed["recovered"], stops, "{resumed}");
            for peer in [&mut here, &mut gone] {
                let mut expected: Vec<Value> = vec![json!("knock")];
                expected.extend((0..300).map(|n| json!(n)));
                expected.push(json!("to all"));
                if !stops {
                    expected.retain(|body| body.as_i64().is_some_and(|n| n % 3 == 0));
                }
                let mut bodies: Vec<Value> = Vec::new();
                while bodies.len() < expected.len() {
                    let delivery = peer.delivery().await;
                    bodies.push(delivery["body"].clone());
                    bodies.dedup_by(|new, old| new == "knock" && old == "knock");
                    let up_to = json!({"up_to": delivery["seq"]});
                    peer.result("session/ack", up_to).await;
                }
                assert_eq!(bodies, expected, "all of it, in order");
                let silence = Duration::from_millis(100);
                assert!(peer.client.rest(silence).await.is_empty());
            }
            let mut carol_again = Peer::connect(&server, "carol").await;
            let back = carol_again
                .call("session/resume", claim(&carol.welcome, 1))
                .await;
            assert_eq!(back["result"]["recovered"], stops);
            let silence = Duration::from_millis(100);
            assert!(
                carol_again.client.rest(silence).await.is_empty(),
                "it was settled"
            );
        }
    });
}

#[test]
fn a_session_that_is_not_told_of_a_loss_learns_of_it_after_a_stop() {
    on_both(async |io| {
        let data = tempfile::tempdir().unwrap();
        let flags = ["--io", io, "--drain-seconds", "0"];
        let mut server = launch(&flags).data(data.path()).start();
        let mut alice = agent(&server, "alice").await;
        let bob = Peer::connect(&server, "bob").await;
        let body = json!("x".repeat(250_000));
        for _ in 0..12 {
            send_volatile(&mut alice, json!({"agent": "bob"}), body.clone()).await;
        }
        server.signal(libc::SIGTERM);
        assert_eq!(server.wait().code(), Some(0));
        let server = launch(&flags).data(data.path()).start();
        let (_, resumed) = Peer::resume(&server, "bob", &bob.welcome, 0).await;
        assert_eq!(resumed["recovered"], false, "{resumed}");
    });
}
