//! A plain HTTP/1.1 client that keeps its connection and reads streams of events.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::within;

/// The modern revision.
pub const MODERN: &str = "2026-07-28";

/// Params of a modern request.
pub fn envelope(params: Value) -> Value {
    enveloped(params, json!({}))
}

/// Params of a modern request whose client can do this.
pub fn enveloped(mut params: Value, capabilities: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    });
    params
}

/// What a client of the tasks extension can do.
pub fn tasks() -> Value {
    json!({"extensions": {"io.modelcontextprotocol/tasks": {}}})
}

/// One connection.
pub struct Web {
    stream: TcpStream,
    address: SocketAddr,
    /// Bytes that have come and have not been read.
    bytes: Vec<u8>,
    /// Text of a stream that is no whole event yet.
    text: String,
    next: u64,
}

/// The head of an answer, and its body unless that streams.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

/// An event of a stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Event {
    pub id: Option<String>,
    pub retry: Option<u64>,
    pub data: String,
}

impl Event {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The result of a request that succeeds.
    pub fn result(&self) -> Value {
        let answer = self.json();
        assert_eq!(self.status, 200, "{answer}");
        assert!(answer.get("error").is_none(), "{answer}");
        answer["result"].clone()
    }

    /// Status and JSON-RPC code of one that fails.
    pub fn failure(&self) -> (u16, i64) {
        let answer = self.json();
        (
            self.status,
            answer["error"]["code"].as_i64().expect("an error"),
        )
    }

    pub fn streams(&self) -> bool {
        self.header("content-type") == Some("text/event-stream")
    }
}

impl Web {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within(TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            address,
            bytes: Vec::new(),
            text: String::new(),
            next: 0,
        }
    }

    /// Sends a request; a header given here takes the place of a usual one, an empty one leaves it
    /// out.
    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let host = self.address.to_string();
        let length = body.len().to_string();
        let mut usual = vec![
            ("Host", host.as_str()),
            ("Accept", "application/json, text/event-stream"),
        ];
        if !body.is_empty() {
            usual.push(("Content-Type", "application/json"));
            usual.push(("Content-Length", &length));
        }
        usual.retain(|(name, _)| {
            !headers
                .iter()
                .any(|(other, _)| other.eq_ignore_ascii_case(name))
        });
        let mut request = format!("{method} {path} HTTP/1.1\r\n");
        for (name, value) in usual.iter().chain(headers) {
            if !value.is_empty() {
                request += &format!("{name}: {value}\r\n");
            }
        }
        let mut request = (request + "\r\n").into_bytes();
        request.extend_from_slice(body);
        within(self.stream.write_all(&request)).await.unwrap();
    }

    /// Reads an answer; the body of a stream is left to [`Web::event`].
    pub async fn response(&mut self) -> Response {
        let head = loop {
            if let Some(at) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(self.bytes.drain(..at + 4).collect()).unwrap();
                break head;
            }
            assert!(self.fill().await, "the connection ended");
        };
        let mut lines = head.trim_end().lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        let mut response = Response {
            status: status.parse().unwrap(),
            headers: headers.collect(),
            body: String::new(),
        };
        self.text.clear();
        if !response.streams() {
            let length = response
                .header("content-length")
                .map_or(0, |length| length.parse().unwrap());
            while self.bytes.len() < length {
                assert!(self.fill().await, "the body ended early");
            }
            response.body = String::from_utf8(self.bytes.drain(..length).collect()).unwrap();
        }
        response
    }

    /// One request and its answer.
    pub async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.send(method, path, headers, body).await;
        self.response().await
    }

    /// Sends a modern request with the headers that its body asks for.
    pub async fn post_modern(&mut self, agent: &str, method: &str, params: &Value) -> u64 {
        self.next += 1;
        let message =
            json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params});
        let member = match method {
            "tools/call" | "prompts/get" => "name",
            "resources/read" => "uri",
            "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
            _ => "",
        };
        let headers = [
            ("X-Agent-ID", agent),
            ("MCP-Protocol-Version", MODERN),
            ("Mcp-Method", method),
            ("Mcp-Name", params[member].as_str().unwrap_or_default()),
        ];
        self.send("POST", "/mcp", &headers, message.to_string().as_bytes())
            .await;
        self.next
    }

    /// One modern request and its answer.
    pub async fn modern(&mut self, agent: &str, method: &str, params: Value) -> Response {
        self.post_modern(agent, method, &params).await;
        self.response().await
    }

    /// One legacy request and its answer; the empty session is none.
    pub async fn legacy(&mut self, session: &str, method: &str, params: Value) -> Response {
        self.next += 1;
        let message =
            json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params});
        let headers = [("Mcp-Session-Id", session)];
        self.ask("POST", "/mcp", &headers, message.to_string().as_bytes())
            .await
    }

    /// Begins a legacy session; its id.
    pub async fn initialize(&mut self, agent: &str, version: &str) -> String {
        let message = json!({"jsonrpc": "2.0", "id": "begin", "method": "initialize", "params":
            {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
        let headers = [("X-Agent-ID", agent)];
        let answer = self
            .ask("POST", "/mcp", &headers, message.to_string().as_bytes())
            .await;
        assert_eq!(answer.result()["protocolVersion"], version);
        let session = answer.header("mcp-session-id").unwrap().to_owned();
        let headers = [("Mcp-Session-Id", session.as_str())];
        let message = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let answer = self.ask("POST", "/mcp", &headers, message).await;
        assert_eq!((answer.status, answer.body.as_str()), (202, ""));
        session
    }

    /// The next event of a stream, comments left out; none at its end.
    pub async fn event(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let mut event = Event::default();
                let mut any = false;
                for line in block.lines().filter(|line| !line.starts_with(':')) {
                    let (name, value) = line.split_once(':').unwrap_or((line, ""));
                    let value = value.strip_prefix(' ').unwrap_or(value);
                    any = true;
                    match name {
                        "id" => event.id = Some(value.to_owned()),
                        "retry" => event.retry = Some(value.parse().unwrap()),
                        "data" => event.data += value,
                        "event" => assert_eq!(value, "message"),
                        other => panic!("no field of an event: {other}"),
                    }
                }
                if any {
                    return Some(event);
                }
                continue;
            }
            let chunk = self.chunk().await?;
            self.text += std::str::from_utf8(&chunk).unwrap();
        }
    }

    /// A chunk of a body in chunks (RFC 9112, 7.1); none behind the last.
    async fn chunk(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.bytes.windows(2).position(|two| two == b"\r\n") {
                let size = std::str::from_utf8(&self.bytes[..at]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                while self.bytes.len() < at + 2 + size + 2 {
                    assert!(self.fill().await, "a chunk ended early");
                }
                let chunk = self.bytes[at + 2..at + 2 + size].to_vec();
                self.bytes.drain(..at + 2 + size + 2);
                return (size > 0).then_some(chunk);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// True if nothing comes for this long.
    pub async fn is_silent(&mut self, time: std::time::Duration) -> bool {
        self.text.is_empty()
            && self.bytes.is_empty()
            && tokio::time::timeout(time, self.stream.readable())
                .await
                .is_err()
    }

    /// True if the server closes the connection and says nothing more.
    pub async fn is_closed(&mut self) -> bool {
        !self.fill().await && self.bytes.is_empty()
    }

    async fn fill(&mut self) -> bool {
        within(self.stream.read_buf(&mut self.bytes))
            .await
            .is_ok_and(|count| count > 0)
    }
}
