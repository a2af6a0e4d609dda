//! What becomes of deliveries and of sessions is told by `/metrics`.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::peer::{Peer, claim, send};
use crate::harness::{PATIENCE, Server, agent, launch, on_both};

/// Waits until a metric has this value: what is counted is shown at the end of a turn.
async fn shows(server: &Server, name: &str, value: f64) {
    let started = Instant::now();
    loop {
        let shown = server.metric(name).await;
        if shown == value {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{name} is {shown}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn labelled(server: &Server, name: &str, label: &str, value: &str) -> f64 {
    let label = format!("{label}=\"{value}\"");
    server.metric_with(name, &label).await
}

#[test]
fn deliveries_and_sessions_are_counted() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "2", "--reconnect-window", "2"]).start();
        let mut alice = agent(&server, "alice").await;
        let mut bob = Peer::connect(&server, "bob").await;
        shows(&server, "tmws_delivery_sessions", 1.0).await;
        for n in 0..3 {
            send(&mut alice, "bob", json!(n)).await;
        }
        assert_eq!(bob.bodies(3).await, [0, 1, 2]);
        shows(&server, "tmws_deliveries_in_window", 3.0).await;
        assert!(server.metric("tmws_deliveries_held_bytes").await > 0.0);
        bob.result("session/nack", json!({"seq": 2})).await;
        assert_eq!(bob.delivery().await["delivery"], 2);
        bob.result("session/ack", json!({"seqs": [1, 2]})).await;
        bob.result("session/term", json!({"seq": 3})).await;
        for (name, value) in [
            ("tmws_deliveries_sent_total", 4.0),
            ("tmws_deliveries_repeated_total", 1.0),
            ("tmws_deliveries_settled_total", 2.0),
            ("tmws_deliveries_dead_total", 1.0),
            ("tmws_deliveries_in_window", 0.0),
            ("tmws_deliveries_settling", 0.0),
            ("tmws_deliveries_held_bytes", 0.0),
        ] {
            shows(&server, name, value).await;
        }
        // What comes while it is away waits in its lane.
        let before = bob.welcome.clone();
        drop(bob);
        let params = json!({"to": {"agent": "bob"}, "body": "urgent", "priority": "urgent"});
        alice.result("agent/send", params).await;
        shows(&server, "tmws_deliveries_waiting", 1.0).await;
        let name = "tmws_deliveries_waiting";
        assert_eq!(labelled(&server, name, "lane", "urgent").await, 1.0);
        let name = "tmws_delivery_sessions";
        assert_eq!(labelled(&server, name, "state", "waiting").await, 1.0);
        assert_eq!(labelled(&server, name, "state", "connected").await, 0.0);
        let (mut back, resumed) = Peer::resume(&server, "bob", &before, 3).await;
        // Terminated by itself, and so not missed.
        assert_eq!(resumed["recovered"], true, "{resumed}");
        assert_eq!(back.delivery().await["body"], "urgent");
        back.result(
            "session/ack",
            json!({"up_to": resumed["latest_seq"].as_u64().unwrap() + 1}),
        )
        .await;
        // Another connection takes the session, and a stranger does not get it.
        let (second, _) = Peer::resume(&server, "bob", &before, 4).await;
        shows(&server, "tmws_connections_fenced_total", 1.0).await;
        let mut eve = Peer::connect(&server, "eve").await;
        let stolen = eve.call("session/resume", claim(&before, 0)).await;
        assert_eq!(stolen["error"]["code"], 1403, "{stolen}");
        let name = "tmws_session_resumes_total";
        assert_eq!(labelled(&server, name, "outcome", "recovered").await, 2.0);
        assert_eq!(labelled(&server, name, "outcome", "refused").await, 1.0);
        // Nobody comes back for either; what clients gave up themselves is not among them.
        shows(&server, "tmws_reconnect_windows_ended_total", 0.0).await;
        drop((second, eve, back));
        shows(&server, "tmws_reconnect_windows_ended_total", 2.0).await;
        shows(&server, "tmws_delivery_sessions", 0.0).await;
        // Whoever comes later has missed nothing either: what waited is in the inbox.
        let (_late, restored) = Peer::resume(&server, "bob", &before, 4).await;
        assert_eq!(restored["recovered"], true, "{restored}");
        assert_eq!(labelled(&server, name, "outcome", "recovered").await, 3.0);
        let name = "tmws_sessions_taken_over_total";
        assert_eq!(labelled(&server, name, "from", "store").await, 1.0);
        assert_eq!(labelled(&server, name, "from", "node").await, 0.0);
        // The counts have outlived the sessions.
        assert_eq!(server.metric("tmws_deliveries_sent_total").await, 5.0);
        assert_eq!(server.metric("tmws_deliveries_settled_total").await, 3.0);
    });
}
