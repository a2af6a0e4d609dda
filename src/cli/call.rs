//! `tmws call`: one operation of a running server, over its WebSocket.

use std::time::{Duration, Instant};

use clap::ArgMatches;
use fastwebsockets::{Frame, OpCode, Payload, WebSocket};
use http::header::{
    AUTHORIZATION, CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http_body_util::Empty;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};
use tokio::net::TcpStream;

use super::command::URL_DEFAULT;
use super::{Exit, complain, say, text};
use crate::rpc::mcp;

/// Time for the whole call: the server answers within its own limits or not at all.
const CALL_SECONDS_MAX: Duration = Duration::from_secs(60);

/// Why a call has no result.
enum Failure {
    Usage(String),
    Unreachable(String),
    /// The server's error, as JSON.
    Refused(Value),
}

pub(super) fn run(matches: &ArgMatches) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&error);
            return Exit::Failure;
        }
    };
    let work = async {
        match tokio::time::timeout(CALL_SECONDS_MAX, call(matches)).await {
            Ok(done) => done,
            Err(_) => {
                let message = format!("no answer within {} s", CALL_SECONDS_MAX.as_secs());
                Err(Failure::Unreachable(message))
            }
        }
    };
    match runtime.block_on(work) {
        Ok(()) => Exit::Success,
        Err(Failure::Usage(problem)) => {
            complain(&problem);
            Exit::Usage
        }
        Err(Failure::Unreachable(problem)) => {
            complain(&problem);
            Exit::Unreachable
        }
        Err(Failure::Refused(error)) => {
            complain(&pretty(&error));
            Exit::Refused
        }
    }
}

async fn call(matches: &ArgMatches) -> Result<(), Failure> {
    if matches.get_flag("test") {
        return test(matches).await;
    }
    let operation = text(matches, "operation").unwrap_or_default();
    let arguments = text(matches, "arguments").unwrap_or("{}");
    let parsed: Value = sonic_rs::from_str(arguments)
        .map_err(|_| Failure::Usage("the arguments are not JSON".to_owned()))?;
    if !parsed.is_object() {
        return Err(Failure::Usage(
            "the arguments must be a JSON object".to_owned(),
        ));
    }
    let mut client = Client::connect(matches).await?;
    let result = client.request(operation, arguments).await?;
    client.close().await;
    say(&pretty(&result));
    Ok(())
}

async fn test(matches: &ArgMatches) -> Result<(), Failure> {
    let mut started = Instant::now();
    let mut step = |what: String| {
        let elapsed_ms = started.elapsed().as_secs_f64() * 1e3;
        say(&format!("ok {elapsed_ms:8.2} ms  {what}"));
        started = Instant::now();
    };
    let mut client = Client::connect(matches).await?;
    step("connect".to_owned());
    let initialize = format!(
        "{{\"protocolVersion\":\"{}\",\"capabilities\":{{}},\"clientInfo\":{{\"name\":\"tmws-call\",\"version\":\"{}\"}}}}",
        mcp::LEGACY[0],
        env!("CARGO_PKG_VERSION")
    );
    let initialized = client.request("initialize", &initialize).await?;
    step(format!(
        "initialize: MCP {}",
        initialized["protocolVersion"].as_str().unwrap_or("?")
    ));
    let tools = client.request("tools/list", "{}").await?;
    step(format!(
        "tools/list: {} tools",
        tools["tools"].as_array().map_or(0, |tools| tools.len())
    ));
    let health = client
        .request("tools/call", "{\"name\":\"health_check\",\"arguments\":{}}")
        .await?;
    step(format!(
        "health_check: {}",
        health["structuredContent"]["status"]
            .as_str()
            .unwrap_or("?")
    ));
    client.close().await;
    Ok(())
}

struct Client {
    socket: WebSocket<TokioIo<Upgraded>>,
}

struct Spawner;

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        tokio::spawn(future);
    }
}

impl Client {
    async fn connect(matches: &ArgMatches) -> Result<Self, Failure> {
        let setting = |name, variable| {
            text(matches, name)
                .map(str::to_owned)
                .or_else(|| std::env::var(variable).ok())
        };
        let url = setting("url", "TMWS_URL").unwrap_or_else(|| URL_DEFAULT.to_owned());
        let uri: http::Uri = url
            .parse()
            .map_err(|_| Failure::Usage(format!("{url:?} is not an address")))?;
        if uri.scheme_str() != Some("ws") {
            return Err(Failure::Usage(format!("{url:?} does not begin with ws://")));
        }
        let unreachable =
            |error: &dyn std::fmt::Display| Failure::Unreachable(format!("{url}: {error}"));
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80)))
            .await
            .map_err(|error| unreachable(&error))?;
        // A request is one write, so waiting for more would only delay it.
        stream
            .set_nodelay(true)
            .map_err(|error| unreachable(&error))?;
        let mut request =
            http::Request::get(uri.path_and_query().map_or("/", |target| target.as_str()))
                .header(
                    HOST,
                    uri.authority().map_or("", |authority| authority.as_str()),
                )
                .header(UPGRADE, "websocket")
                .header(CONNECTION, "upgrade")
                .header(SEC_WEBSOCKET_KEY, fastwebsockets::handshake::generate_key())
                .header(SEC_WEBSOCKET_VERSION, "13")
                .header(SEC_WEBSOCKET_PROTOCOL, "mcp");
        if let Some(token) = setting("token", "TMWS_TOKEN") {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, variable, header) in [
            ("agent-id", "TMWS_AGENT_ID", "X-Agent-ID"),
            ("namespace", "TMWS_AGENT_NAMESPACE", "X-Agent-Namespace"),
        ] {
            if let Some(value) = setting(name, variable) {
                request = request.header(header, value);
            }
        }
        let request = request
            .body(Empty::<bytes::Bytes>::new())
            .map_err(|error| Failure::Usage(error.to_string()))?;
        let (socket, _) = fastwebsockets::handshake::client(&Spawner, request, stream)
            .await
            .map_err(|error| unreachable(&error))?;
        Ok(Self { socket })
    }

    /// Sends a request and waits for its answer.
    async fn request(&mut self, method: &str, params: &str) -> Result<Value, Failure> {
        let lost = |error: fastwebsockets::WebSocketError| {
            Failure::Unreachable(format!("the connection was lost: {error}"))
        };
        let method =
            sonic_rs::to_string(method).map_err(|error| Failure::Usage(error.to_string()))?;
        let message =
            format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":{method},\"params\":{params}}}");
        let frame = Frame::text(Payload::Owned(message.into_bytes()));
        self.socket.write_frame(frame).await.map_err(lost)?;
        let mut text = Vec::new();
        loop {
            let frame = self.socket.read_frame().await.map_err(lost)?;
            match frame.opcode {
                OpCode::Text | OpCode::Continuation => {
                    text.extend_from_slice(&frame.payload);
                    if frame.fin {
                        break;
                    }
                }
                OpCode::Close => {
                    let reason = frame.payload.get(2..).unwrap_or_default();
                    let reason = String::from_utf8_lossy(reason);
                    return Err(Failure::Unreachable(format!(
                        "the server closed the connection: {reason}"
                    )));
                }
                OpCode::Binary | OpCode::Ping | OpCode::Pong => {}
            }
        }
        let answer: Value = sonic_rs::from_slice(&text)
            .map_err(|_| Failure::Unreachable("the answer is not JSON".to_owned()))?;
        match answer.get("error") {
            Some(error) => Err(Failure::Refused(error.clone())),
            None => Ok(answer["result"].clone()),
        }
    }

    async fn close(mut self) {
        // The result is there already; a lost connection changes nothing about it.
        let _ = self.socket.write_frame(Frame::close(1000, b"")).await;
    }
}

fn pretty(value: &Value) -> String {
    sonic_rs::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}
