//! A client that takes deliveries and does not read them: it costs its cap, nobody else notices, and
//! it misses nothing that is not said.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::harness::peer::{Peer, send};
use crate::harness::{Client, Server, agent, connect_over, launch, on_both, until, within};

/// Bytes of a body: four of them fill the window.
const BODY_BYTES: usize = 250_000;

/// A client that takes deliveries, and whose socket takes little before it is read.
async fn narrow(server: &Server, name: &str) -> (Client, Value) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let stream = within(socket.connect(server.ws)).await.unwrap();
    let fields = [("X-Agent-ID", name), ("Sec-WebSocket-Protocol", "tmws.v1")];
    let mut client = connect_over(stream, server.ws, "/", &fields).await;
    let welcome = client.receive().await["params"].clone();
    (client, welcome)
}

fn resident_bytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() * 1_024
}

fn body(number: usize) -> Value {
    json!({"n": number, "text": "x".repeat(BODY_BYTES)})
}

#[test]
fn who_does_not_read_is_let_go_and_comes_back_to_everything() {
    on_both(async |io| {
        let flags = ["--io", io, "--shards", "1", "--stalled-timeout", "2"];
        let server = launch(&flags).start();
        let mut alice = agent(&server, "alice").await;
        let mut carol = Peer::connect(&server, "carol").await;
        let (mut slow, welcome) = narrow(&server, "bob").await;
        // Storing as much fills caches of the store, which is not what is measured.
        let empty = resident_bytes(&server);
        for number in 0..80 {
            send(&mut alice, "nobody", body(number)).await;
        }
        let before = resident_bytes(&server);
        let control = before.saturating_sub(empty);
        for number in 0..80 {
            send(&mut alice, "bob", body(number)).await;
            if number % 10 == 0 {
                send(&mut alice, "carol", json!(number)).await;
                let delivery = carol.delivery().await;
                assert_eq!(delivery["body"], number, "others never notice");
                let up_to = json!({"up_to": delivery["seq"]});
                carol.result("session/ack", up_to).await;
            }
        }
        // 20 MB went to it; a window, its lanes and what is on its way take less than half of that.
        let grown = resident_bytes(&server).saturating_sub(before);
        assert!(
            grown < control + (10 << 20),
            "a slow client costs {grown} bytes, an absent one {control}"
        );
        // A window fits into the buffers of the kernel; with answers as well, more waits than fits.
        for _ in 0..8 {
            slow.post("agent/inbox", json!({"limit": 10})).await;
        }
        until(async || server.metric("tmws_slow_consumers_total").await == 1.0).await;
        let (code, reason) = loop {
            if let Err(close) = slow.next().await {
                break close;
            }
        };
        // It may have been too slow for its close frame too.
        assert!(code == 1013 || code == 1006, "{code} {reason}");
        let (mut bob, resumed) = Peer::resume(&server, "bob", &welcome, 0).await;
        assert_eq!(resumed["recovered"], true, "{resumed}");
        for number in 0..80 {
            let delivery = bob.delivery().await;
            assert_eq!(delivery["body"]["n"], number);
            let up_to = json!({"up_to": delivery["seq"]});
            bob.result("session/ack", up_to).await;
        }
        assert!(bob.client.rest(Duration::from_millis(100)).await.is_empty());
    });
}

#[test]
fn who_reads_late_gets_everything_on_the_same_connection() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "1"]).start();
        let mut alice = agent(&server, "alice").await;
        let (mut slow, _) = narrow(&server, "bob").await;
        for number in 0..80 {
            send(&mut alice, "bob", body(number)).await;
        }
        for number in 0..80 {
            let delivery = loop {
                let message = slow.receive().await;
                if message["method"] == "notifications/delivery" {
                    break message["params"].clone();
                }
            };
            assert_eq!(delivery["body"]["n"], number);
            assert_eq!(delivery["dropped"], json!(null), "nothing was");
            slow.post("session/ack", json!({"up_to": delivery["seq"]}))
                .await;
        }
    });
}

#[test]
fn what_is_in_memory_only_is_dropped_and_counted_for_who_does_not_read() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "1"]).start();
        let mut alice = agent(&server, "alice").await;
        let mut carol = Peer::connect(&server, "carol").await;
        let (mut slow, welcome) = narrow(&server, "bob").await;
        // From then on it is served.
        send(&mut alice, "bob", json!("first")).await;
        assert_eq!(slow.receive().await["params"]["body"], "first");
        for number in 0..40 {
            let params = json!({"to": {"agent": "bob"}, "body": body(number), "durable": false});
            alice.result("agent/send", params).await;
        }
        let params = json!({"to": {"agent": "carol"}, "body": 1, "durable": false});
        alice.result("agent/send", params).await;
        assert_eq!(carol.bodies(1).await, [1]);
        drop(slow);
        let (mut bob, resumed) = Peer::resume(&server, "bob", &welcome, 1).await;
        assert_eq!(resumed["recovered"], false, "{resumed}");
        assert_eq!(resumed["reason"], "messages_lost");
        let dropped = resumed["lost"]["dropped"].as_u64().unwrap();
        // A window of 1 MiB and as much behind it were kept, the first that came.
        assert!((28..=34).contains(&dropped), "{dropped}");
        let mut numbers = Vec::new();
        while (numbers.len() as u64) < 40 - dropped {
            let delivery = bob.delivery().await;
            // What it has received and not answered comes again too, in whatever place.
            numbers.extend(delivery["body"]["n"].as_u64());
            assert_eq!(delivery["dropped"], dropped, "with every delivery");
            let up_to = json!({"up_to": delivery["seq"]});
            bob.result("session/ack", up_to).await;
        }
        assert!(numbers.into_iter().eq(0..40 - dropped), "the first ones");
        // Once it was heard it is not told again.
        let (_, resumed) = Peer::resume(&server, "bob", &welcome, 41 - dropped).await;
        assert_eq!(resumed["recovered"], true, "{resumed}");
    });
}
