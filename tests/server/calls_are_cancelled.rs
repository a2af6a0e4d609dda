//! A call that its client cancels is never answered, and the connection goes on.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use serde_json::{Value, json};
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::harness::peer::Peer;
use crate::harness::web::envelope;
use crate::harness::{Client, Server, agent, connect, connect_over, launch, on_both, within};

fn cancel(id: &Value) -> String {
    json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})
        .to_string()
}

fn call(id: &Value, method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

/// A connection whose frames can leave together.
struct Corked {
    client: Client,
    socket: OwnedFd,
}

impl Corked {
    async fn connect(server: &Server, agent: &str) -> Self {
        let stream = within(TcpStream::connect(server.ws)).await.unwrap();
        let socket = stream.as_fd().try_clone_to_owned().unwrap();
        let fields = [("X-Agent-ID", agent)];
        let mut client = connect_over(stream, server.ws, "/", &fields).await;
        client.initialize("2025-11-25").await;
        Self { client, socket }
    }

    /// The server reads all of it in one turn, so nothing is answered in between.
    async fn send_together(&mut self, texts: &[&str]) {
        let socket = SockRef::from(&self.socket);
        socket.set_tcp_cork(true).unwrap();
        for text in texts {
            self.client.send(text).await;
        }
        socket.set_tcp_cork(false).unwrap();
    }
}

#[test]
fn a_cancelled_call_is_not_answered_and_gives_its_place_back() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut corked = Corked::connect(&server, "alice").await;
        let create = json!({"content": "x"});
        let tool = json!({"name": "store_memory", "arguments": create});
        // More rounds than a connection may have calls under way.
        for round in 0..40 {
            let (id, method, params) = match round % 4 {
                0 => (json!(1000 + round), "memory/create", &create),
                1 => (
                    json!(format!("c{round}")),
                    "memory/search",
                    &json!({"query": "x"}),
                ),
                2 => (json!(1000 + round), "tools/call", &tool),
                _ => (json!(format!("c{round}")), "memory/recall", &json!({})),
            };
            corked
                .send_together(&[&call(&id, method, params), &cancel(&id)])
                .await;
            let client = &mut corked.client;
            assert_eq!(client.result("ping", json!({})).await, json!({}), "{round}");
        }
        let client = &mut corked.client;
        assert!(client.rest(Duration::from_millis(200)).await.is_empty());
        // The answer is what a cancel takes back; what was on its way to the store may be there.
        let stats = client.result("memory/stats", json!({})).await;
        assert!(stats["owned"].as_u64().unwrap() <= 20, "{stats}");
        for _ in 0..32 {
            client.post("memory/create", create.clone()).await;
        }
        for _ in 0..32 {
            let answer = client.receive().await;
            assert!(answer["result"]["id"].is_string(), "{answer}");
        }
    });
}

#[test]
fn a_message_in_memory_is_sent_where_it_is_read() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut bob = Peer::connect(&server, "bob").await;
        let mut corked = Corked::connect(&server, "alice").await;
        let send = |n: u64| json!({"to": {"agent": "bob"}, "body": n, "durable": false});
        // The first one waits for the store, which is told that there will be such messages.
        corked.client.result("agent/send", send(0)).await;
        for n in 1..20 {
            let id = json!(1000 + n);
            corked
                .send_together(&[&call(&id, "agent/send", &send(n)), &cancel(&id)])
                .await;
            // It is over when the cancel is read.
            let answer = corked.client.receive().await;
            assert_eq!(
                (&answer["id"], answer["error"].is_null()),
                (&id, true),
                "{answer}"
            );
        }
        let all: Vec<Value> = (0..20_u64).map(|n| json!(n)).collect();
        assert_eq!(bob.bodies(20).await, all);
    });
}

#[test]
fn cancelling_what_is_unknown_or_over_is_ignored() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut corked = Corked::connect(&server, "alice").await;
        let client = &mut corked.client;
        let id = client.post("memory/create", json!({"content": "x"})).await;
        assert_eq!(client.receive().await["id"], id);
        for id in [
            json!(id),
            json!("nothing"),
            json!(null),
            json!({"a": 1}),
            json!([]),
            json!(1.5),
        ] {
            client.send(&cancel(&id)).await;
        }
        client
            .send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#)
            .await;
        // Parameters by position are no message of MCP, whatever the method is.
        client
            .send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":[]}"#)
            .await;
        assert_eq!(client.receive().await["error"]["code"], -32600);
        // Not the other one: 5 is no "5".
        let five = json!(55);
        corked
            .send_together(&[
                &call(&five, "memory/recall", &json!({})),
                &cancel(&json!("55")),
            ])
            .await;
        let client = &mut corked.client;
        let answer = client.receive().await;
        assert_eq!(answer["id"], five, "{answer}");
        assert_eq!(client.result("ping", json!({})).await, json!({}));
    });
}

#[test]
fn subscriptions_of_a_connection_are_bounded() {
    on_both(async |io| {
        let server = launch(&["--io", io]).start();
        let mut client = connect(server.ws, "/", &[("X-Agent-ID", "alice")]).await;
        let filter = |filter: Value| envelope(json!({"notifications": filter}));
        let uris = |from: usize, count: usize| -> Vec<String> {
            (from..from + count)
                .map(|n| format!("agent://a{n}"))
                .collect()
        };
        let refused = async |client: &mut crate::harness::Client, wanted: Value, part: &str| {
            let answer = client.request("subscriptions/listen", filter(wanted)).await;
            assert_eq!(answer["error"]["code"], -32602, "{answer}");
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(message.contains(part), "{message}");
        };
        refused(
            &mut client,
            json!({"resourceSubscriptions": uris(0, 257)}),
            "256",
        )
        .await;
        for listen in 0..32 {
            let wanted = filter(json!({"resourceSubscriptions": uris(listen * 8, 8)}));
            client.post("subscriptions/listen", wanted).await;
            let first = client.receive().await;
            assert!(first["params"]["notifications"].is_object(), "{first}");
        }
        refused(&mut client, json!({"resourcesListChanged": true}), "32").await;
        // One that ends makes room.
        client.send(&cancel(&json!(4))).await;
        let wanted = json!({"resourceSubscriptions": uris(0, 9)});
        refused(&mut client, wanted, "256").await;
        client
            .post(
                "subscriptions/listen",
                filter(json!({"resourcesListChanged": true})),
            )
            .await;
        assert!(client.receive().await["method"].is_string());

        let mut client = agent(&server, "bob").await;
        for uri in uris(0, 256) {
            client
                .result("resources/subscribe", json!({"uri": uri}))
                .await;
        }
        let again = json!({"uri": "agent://a0"});
        client.result("resources/subscribe", again).await;
        let answer = client
            .request("resources/subscribe", json!({"uri": "agent://b"}))
            .await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        client
            .result("resources/unsubscribe", json!({"uri": "agent://a0"}))
            .await;
        client
            .result("resources/subscribe", json!({"uri": "agent://b"}))
            .await;
    });
}
