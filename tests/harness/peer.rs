//! A client that takes deliveries.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::{Client, Server, connect};

/// A client that takes deliveries.
pub struct Peer {
    pub client: Client,
    pub welcome: Value,
    pub waiting: VecDeque<Value>,
}

impl Peer {
    pub async fn connect(server: &Server, agent: &str) -> Self {
        Self::connect_in(server, "default", agent).await
    }

    pub async fn connect_in(server: &Server, namespace: &str, agent: &str) -> Self {
        let fields = [
            ("X-Agent-ID", agent),
            ("X-Agent-Namespace", namespace),
            ("Sec-WebSocket-Protocol", "tmws.v1"),
        ];
        let mut client = connect(server.ws, "/", &fields).await;
        let first = client.receive().await;
        assert_eq!(first["method"], "notifications/session/welcome", "{first}");
        Self {
            client,
            welcome: first["params"].clone(),
            waiting: VecDeque::new(),
        }
    }

    /// Takes up the session of another peer that is gone.
    pub async fn resume(
        server: &Server,
        agent: &str,
        before: &Value,
        last_seq: u64,
    ) -> (Self, Value) {
        let mut peer = Self::connect(server, agent).await;
        let back = peer.call("session/resume", claim(before, last_seq)).await;
        (peer, back["result"].clone())
    }

    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.client.post(method, params).await;
        loop {
            let message = self.client.receive().await;
            if message["id"] == id {
                return message;
            }
            self.waiting.push_back(message);
        }
    }

    pub async fn result(&mut self, method: &str, params: Value) -> Value {
        let answer = self.call(method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    pub async fn delivery(&mut self) -> Value {
        let message = match self.waiting.pop_front() {
            Some(message) => message,
            None => self.client.receive().await,
        };
        assert_eq!(message["method"], "notifications/delivery", "{message}");
        message["params"].clone()
    }

    pub async fn bodies(&mut self, count: usize) -> Vec<Value> {
        let mut bodies = Vec::new();
        for _ in 0..count {
            bodies.push(self.delivery().await["body"].clone());
        }
        bodies
    }
}

/// What takes the session of a welcome up again.
pub fn claim(welcome: &Value, last_seq: u64) -> Value {
    json!({
        "session_id": welcome["session_id"], "epoch": welcome["epoch"],
        "token": welcome["resume_token"], "last_seq": last_seq,
    })
}

/// Sends a durable message.
pub async fn send(client: &mut Client, to: &str, body: Value) -> Value {
    let params = json!({"to": {"agent": to}, "body": body});
    client.result("agent/send", params).await
}
