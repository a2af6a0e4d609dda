//! A server of one's own on free ports, and clients to talk to it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test binary uses its own part"
)]

pub mod peer;
pub mod web;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Time for anything that should happen soon; a bound against hanging, not a measurement.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Both ways to drive sockets.
pub const BACKENDS: [&str; 2] = ["uring", "epoll"];

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    pub api: SocketAddr,
    pub ws: SocketAddr,
    pub io: String,
    _data: Option<tempfile::TempDir>,
}

/// How to start one.
pub struct Launch<'a> {
    flags: Vec<&'a str>,
    data: Option<&'a Path>,
    before: Vec<Box<dyn FnMut() -> std::io::Result<()> + Send + Sync>>,
}

/// A server with these flags.
pub fn launch<'a>(flags: &[&'a str]) -> Launch<'a> {
    Launch {
        flags: flags.to_vec(),
        data: None,
        before: Vec::new(),
    }
}

impl<'a> Launch<'a> {
    /// Keeps its data here instead of in a directory of its own.
    pub fn data(mut self, dir: &'a Path) -> Self {
        self.data = Some(dir);
        self
    }

    /// Runs this in the child before the program starts; it may only make system calls.
    pub fn before(
        mut self,
        work: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.before.push(Box::new(work));
        self
    }

    /// Starts it and waits until it listens.
    pub fn start(self) -> Server {
        let own = self.data.is_none().then(|| tempfile::tempdir().unwrap());
        let dir = self.data.unwrap_or_else(|| own.as_ref().unwrap().path());
        let mut command = Command::new(env!("CARGO_BIN_EXE_tmws"));
        command
            .args([
                "--api-port",
                "0",
                "--ws-port",
                "0",
                "--log-format",
                "json",
                "--data-dir",
            ])
            .arg(dir)
            .args(&self.flags)
            // No download for a test that is not about meaning; a flag outranks it.
            .env("TMWS_EMBEDDING_MODEL", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for work in self.before {
            // SAFETY: the tests pass closures that only make system calls.
            unsafe { command.pre_exec(work) };
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        let line = loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("the server did not start:\n{seen}")
            };
            if line.contains("\"listening\"") {
                break line;
            }
            seen += &line;
            seen.push('\n');
        };
        // The log goes on being read, or the server's writer would stop.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let fields: Value = serde_json::from_str(&line).unwrap();
        Server {
            child,
            api: fields["api"].as_str().unwrap().parse().unwrap(),
            ws: fields["ws"].as_str().unwrap().parse().unwrap(),
            io: fields["io"].as_str().unwrap().to_owned(),
            _data: own,
        }
    }
}

impl Server {
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: the process is our child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0);
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// One value of `/metrics`, summed over its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        self.metric_with(name, "").await
    }

    /// The same of those whose labels contain this text.
    pub async fn metric_with(&self, name: &str, label: &str) -> f64 {
        let (_, _, body) = http(
            self.api,
            &format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", self.api),
        )
        .await;
        body.lines()
            .filter(|line| line.starts_with(name) && !line.starts_with('#'))
            .filter(|line| line[name.len()..].starts_with(['{', ' ']))
            .filter(|line| line.contains(label))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A WebSocket client of another make than the server.
pub struct Client {
    socket: FragmentCollector<TokioIo<Upgraded>>,
    next: u64,
}

struct Spawner;

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Spawner {
    fn execute(&self, future: F) {
        tokio::spawn(future);
    }
}

/// Connects to a path with more header fields.
pub async fn connect(address: SocketAddr, path: &str, fields: &[(&str, &str)]) -> Client {
    let stream = within(TcpStream::connect(address)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    connect_over(stream, address, path, fields).await
}

/// Connects over a TCP connection that exists.
pub async fn connect_over(
    stream: TcpStream,
    address: SocketAddr,
    path: &str,
    fields: &[(&str, &str)],
) -> Client {
    let mut request = http::Request::get(path)
        .header("Host", address.to_string())
        .header("Upgrade", "websocket")
        .header("Connection", "upgrade")
        .header(
            "Sec-WebSocket-Key",
            fastwebsockets::handshake::generate_key(),
        )
        .header("Sec-WebSocket-Version", "13");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let (mut socket, _) = within(fastwebsockets::handshake::client(&Spawner, request, stream))
        .await
        .unwrap();
    socket.set_max_message_size(64 << 20);
    Client {
        socket: FragmentCollector::new(socket),
        next: 0,
    }
}

/// Connects as an agent and initializes the legacy era.
pub async fn agent(server: &Server, agent: &str) -> Client {
    let mut client = connect(server.ws, "/", &[("X-Agent-ID", agent)]).await;
    client.initialize("2025-11-25").await;
    client
}

impl Client {
    pub async fn send(&mut self, text: &str) {
        let frame = Frame::text(Payload::Borrowed(text.as_bytes()));
        within(self.socket.write_frame(frame)).await.unwrap();
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        let frame = Frame::binary(Payload::Borrowed(bytes));
        within(self.socket.write_frame(frame)).await.unwrap();
    }

    /// The next message, or the close code and reason.
    pub async fn next(&mut self) -> Result<Vec<u8>, (u16, String)> {
        let frame = match within(self.socket.read_frame()).await {
            Ok(frame) => frame,
            Err(error) => return Err((1006, error.to_string())),
        };
        match frame.opcode {
            OpCode::Close => {
                let code = frame
                    .payload
                    .get(..2)
                    .map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
                let reason = frame.payload.get(2..).unwrap_or_default();
                Err((code, String::from_utf8_lossy(reason).into_owned()))
            }
            _ => Ok(frame.payload.to_vec()),
        }
    }

    pub async fn receive(&mut self) -> Value {
        let message = self.next().await.unwrap();
        serde_json::from_slice(&message).unwrap()
    }

    /// Messages that come until nothing has come for this long.
    pub async fn rest(&mut self, silence: Duration) -> Vec<Value> {
        let mut messages = Vec::new();
        while let Ok(message) = tokio::time::timeout(silence, self.receive()).await {
            messages.push(message);
        }
        messages
    }

    /// Sends a request; the id that its answer will carry.
    pub async fn post(&mut self, method: &str, params: Value) -> u64 {
        self.next += 1;
        let request = serde_json::json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params});
        self.send(&request.to_string()).await;
        self.next
    }

    /// The same over a connection that may be gone.
    pub async fn try_post(&mut self, method: &str, params: Value) -> Option<u64> {
        self.next += 1;
        let request = serde_json::json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params});
        let text = request.to_string();
        let frame = Frame::text(Payload::Borrowed(text.as_bytes()));
        within(self.socket.write_frame(frame)).await.ok()?;
        Some(self.next)
    }

    /// Sends a request and waits for its answer.
    pub async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.post(method, params).await;
        let answer = self.receive().await;
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// The result of a request that succeeds.
    pub async fn result(&mut self, method: &str, params: Value) -> Value {
        let answer = self.request(method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// The error code of a request that fails.
    pub async fn error(&mut self, method: &str, params: Value) -> (i64, String) {
        let answer = self.request(method, params).await;
        let error = &answer["error"];
        (
            error["code"].as_i64().expect("an error"),
            error["data"]["code"].as_str().unwrap_or("").to_owned(),
        )
    }

    pub async fn initialize(&mut self, version: &str) -> Value {
        let params = serde_json::json!({"protocolVersion": version, "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"}});
        let result = self.result("initialize", params).await;
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
            .await;
        result
    }
}

/// Waits, but not for ever.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("it takes too long")
}

/// Asks again until it is so.
pub async fn until(mut check: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !check().await {
        assert!(started.elapsed() < PATIENCE, "it does not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends raw bytes on a connection of their own and reads one HTTP response: status, head, body.
pub async fn http(address: SocketAddr, request: &str) -> (u16, String, String) {
    let mut stream = within(TcpStream::connect(address)).await.unwrap();
    within(stream.write_all(request.as_bytes())).await.unwrap();
    read_response(&mut stream).await
}

/// Reads one response with a Content-Length.
pub async fn read_response(stream: &mut TcpStream) -> (u16, String, String) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length:")
                        .map(|n| n.trim().parse().unwrap())
                })
                .unwrap_or(0);
            if body.len() >= length {
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                return (status, head.to_owned(), body[..length].to_owned());
            }
        }
        let count = within(stream.read_buf(&mut bytes)).await.unwrap();
        assert!(count > 0, "the response ended early: {text}");
    }
}

/// Runs a test on both backends.
pub fn on_both<F: Future<Output = ()>>(test: impl Fn(&'static str) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for io in BACKENDS {
        runtime.block_on(test(io));
    }
}
