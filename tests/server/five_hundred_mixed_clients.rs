//! Many clients of every kind at once: each sees its own memories, marks and notifications only.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::web::{Web, envelope};
use crate::harness::{Client, Server, connect, launch, on_both};

const CLIENTS: usize = 500;
const ROUNDS: usize = 3;
/// A bound against creeping, several times what it takes.
const TIME: Duration = Duration::from_secs(60);
const LEGACY: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
const RECENT: &str = "memory://default/recent";
const UPDATED: &str = "notifications/resources/updated";

/// A client over either wire, in either era.
enum Wire {
    Socket(Client, bool),
    /// Requests, the stream of notifications, and the session of a legacy client.
    Http(Web, Web, Option<String>),
}

struct Mixed {
    agent: String,
    wire: Wire,
    /// Notifications that have come.
    told: Vec<Value>,
}

impl Mixed {
    async fn connect(server: &Server, number: usize) -> Self {
        let agent = format!("agent-{number}");
        let revision = (!number.is_multiple_of(2)).then(|| LEGACY[number / 2 % LEGACY.len()]);
        let wire = if number < CLIENTS / 2 {
            let mut client = connect(server.ws, "/", &[("X-Agent-ID", &agent)]).await;
            if let Some(revision) = revision {
                client.initialize(revision).await;
            }
            Wire::Socket(client, revision.is_none())
        } else {
            let mut web = Web::connect(server.api).await;
            let stream = Web::connect(server.api).await;
            let session = match revision {
                Some(revision) => Some(web.initialize(&agent, revision).await),
                None => None,
            };
            Wire::Http(web, stream, session)
        };
        let mut this = Self {
            agent,
            wire,
            told: Vec::new(),
        };
        this.subscribe().await;
        this
    }

    async fn subscribe(&mut self) {
        let filter = envelope(json!({"notifications": {"resourceSubscriptions": [RECENT]}}));
        let first = match &mut self.wire {
            Wire::Socket(client, true) => {
                client.post("subscriptions/listen", filter).await;
                client.receive().await
            }
            Wire::Http(_, stream, None) => {
                stream
                    .post_modern(&self.agent, "subscriptions/listen", &filter)
                    .await;
                assert!(stream.response().await.streams());
                stream.event().await.unwrap().json()
            }
            Wire::Http(_, stream, Some(session)) => {
                let headers = [("Mcp-Session-Id", session.as_str())];
                let head = stream.ask("GET", "/mcp", &headers, b"").await;
                assert!(head.streams(), "{head:?}");
                self.ask("resources/subscribe", json!({"uri": RECENT}))
                    .await;
                return;
            }
            Wire::Socket(_, false) => {
                self.ask("resources/subscribe", json!({"uri": RECENT}))
                    .await;
                return;
            }
        };
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    }

    /// The result of a request; what comes before it is a notification.
    async fn ask(&mut self, method: &str, params: Value) -> Value {
        match &mut self.wire {
            Wire::Socket(client, modern) => {
                let params = if *modern { envelope(params) } else { params };
                let id = client.post(method, params).await;
                loop {
                    let message = client.receive().await;
                    if message["method"].is_string() {
                        self.told.push(message);
                        continue;
                    }
                    assert_eq!(message["id"], id, "{message}");
                    assert!(message.get("error").is_none(), "{message}");
                    return message["result"].clone();
                }
            }
            Wire::Http(web, _, None) => web
                .modern(&self.agent, method, envelope(params))
                .await
                .result(),
            Wire::Http(web, _, Some(session)) => web.legacy(session, method, params).await.result(),
        }
    }

    /// Waits until it has been told that its resource changed.
    async fn hear(&mut self) {
        let message = match &mut self.wire {
            _ if !self.told.is_empty() => self.told.remove(0),
            Wire::Socket(client, _) => client.receive().await,
            Wire::Http(_, stream, _) => loop {
                let event = stream.event().await.unwrap();
                // The first event of some revisions has no message.
                if !event.data.is_empty() {
                    break event.json();
                }
            },
        };
        assert_eq!(message["method"], UPDATED, "{message}");
        assert_eq!(message["params"]["uri"], RECENT, "{message}");
    }

    async fn work(&mut self) {
        let marks: Vec<String> = (0..ROUNDS)
            .map(|round| format!("{} keeps mark{round} of its own", self.agent))
            .collect();
        for (round, mark) in marks.iter().enumerate() {
            let call = json!({"name": "store_memory", "arguments": {"content": mark}});
            let stored = self.ask("tools/call", call).await;
            let text = stored["content"][0]["text"].as_str().unwrap();
            let stored: Value = serde_json::from_str(text).unwrap();
            assert_eq!(
                (&stored["content"], &stored["agent_id"]),
                (&json!(mark), &json!(self.agent))
            );
            if round == 0 {
                self.hear().await;
            }
            let found = self
                .ask(
                    "memory/search",
                    json!({"query": format!("mark{round}"), "mode": "lexical"}),
                )
                .await;
            let hits = found["hits"].as_array().unwrap();
            assert!(!hits.is_empty(), "{found}");
            assert!(
                hits.iter().all(|hit| hit["agent_id"] == self.agent),
                "{found}"
            );
        }
        let read = self.ask("resources/read", json!({"uri": RECENT})).await;
        let text = read["contents"][0]["text"].as_str().unwrap();
        let recent: Value = serde_json::from_str(text).unwrap();
        let mut contents: Vec<_> = recent["memories"]
            .as_array()
            .unwrap()
            .iter()
            .map(|memory| memory["content"].as_str().unwrap().to_owned())
            .collect();
        contents.sort();
        assert_eq!(contents, marks);
    }
}

#[test]
fn five_hundred_clients_do_not_hear_each_other() {
    on_both(async |io| {
        let server = launch(&["--io", io, "--shards", "2"]).start();
        let began = Instant::now();
        let clients = (0..CLIENTS).map(async |number| {
            let mut client = Mixed::connect(&server, number).await;
            client.work().await;
            client
        });
        let clients = futures_util::future::join_all(clients).await;
        assert!(began.elapsed() < TIME, "{:?}", began.elapsed());
        // All of them at once, each as itself.
        let sessions = server.metric("tmws_sessions").await;
        assert_eq!(sessions as usize, CLIENTS / 4 * 3, "modern HTTP has none");
        drop(clients);
    });
}
