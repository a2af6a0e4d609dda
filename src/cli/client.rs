//! A WebSocket client of a running server, for the commands that need one.

use std::time::Duration;

use clap::ArgMatches;
use fastwebsockets::{Frame, OpCode, Payload, WebSocket};
use http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http_body_util::Empty;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sonic_rs::Value;
use tokio::net::TcpStream;

use super::command::URL_DEFAULT;
use super::{Exit, complain, text};
use crate::rpc::json::Member;

/// Bytes of an answer: a memory with a long history travels whole.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Time for a whole call: the server answers within its own limits or not at all.
const CALL_SECONDS_MAX: Duration = Duration::from_secs(60);

/// Why a command has no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// The arguments are wrong.
    Usage(String),
    /// Nothing listens there.
    Absent(String),
    /// Something listens there, but no server answered as it should.
    Unreachable(String),
    /// The server's error, as JSON.
    Refused(Value),
    /// The server does not know what it was asked.
    Older(String),
    /// Something else failed while it ran.
    Failed(String),
}

impl Failure {
    /// Reports the failure and tells how the process ends.
    pub(super) fn report(&self) -> Exit {
        match self {
            Self::Usage(problem) => {
                complain(problem);
                Exit::Usage
            }
            Self::Absent(problem) | Self::Unreachable(problem) => {
                complain(problem);
                Exit::Unreachable
            }
            Self::Refused(error) => {
                complain(&pretty(error));
                Exit::Refused
            }
            Self::Older(problem) => {
                complain(problem);
                Exit::Refused
            }
            Self::Failed(problem) => {
                complain(problem);
                Exit::Failure
            }
        }
    }
}

/// One connection to the server.
pub(super) struct Client {
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

/// Runs a command that speaks to a server, and reports why it has no result.
pub(super) fn run(work: impl Future<Output = Result<(), Failure>>) -> Exit {
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
    match runtime.block_on(work) {
        Ok(()) => Exit::Success,
        Err(failure) => failure.report(),
    }
}

/// Waits for something of a server no longer than one call may take.
pub(super) async fn within<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(CALL_SECONDS_MAX, work).await {
        Ok(done) => done,
        Err(_) => {
            let message = format!("no answer within {} s", CALL_SECONDS_MAX.as_secs());
            Err(Failure::Unreachable(message))
        }
    }
}

/// A setting of the client: from its flag, or else from its variable.
pub(super) fn setting(matches: &ArgMatches, name: &str, variable: &str) -> Option<String> {
    text(matches, name)
        .map(str::to_owned)
        .or_else(|| std::env::var(variable).ok())
}

/// The address of the server, if one was named.
pub(super) fn url(matches: &ArgMatches) -> Option<String> {
    setting(matches, "url", "TMWS_URL")
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow, default)]
    result: Member<'a>,
    error: Option<Value>,
}

impl Client {
    /// Connects to the server that was named, or to the usual one of this machine.
    pub(super) async fn connect(matches: &ArgMatches) -> Result<Self, Failure> {
        let url = url(matches).unwrap_or_else(|| URL_DEFAULT.to_owned());
        let token = setting(matches, "token", "TMWS_TOKEN").map(|token| format!("Bearer {token}"));
        let fields = [
            ("Authorization", token),
            ("X-Agent-ID", setting(matches, "agent-id", "TMWS_AGENT_ID")),
            (
                "X-Agent-Namespace",
                setting(matches, "namespace", "TMWS_AGENT_NAMESPACE"),
            ),
        ];
        let socket = open(&url, fields).await?;
        Ok(Self { socket })
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn request<T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: &str,
    ) -> Result<T, Failure> {
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
        let foreign = || Failure::Unreachable("the answer is not of this protocol".to_owned());
        let reply: Reply<'_> = sonic_rs::from_slice(&text).map_err(|_| foreign())?;
        if let Some(error) = reply.error {
            return Err(Failure::Refused(error));
        }
        sonic_rs::from_str(reply.result.raw().unwrap_or("null")).map_err(|_| foreign())
    }

    /// Says goodbye.
    pub(super) async fn close(mut self) {
        // The result is there already; a lost connection changes nothing about it.
        let _ = self.socket.write_frame(Frame::close(1000, b"")).await;
    }
}

/// Opens a WebSocket with these header fields, where they have a value.
pub(super) async fn open<const N: usize>(
    url: &str,
    fields: [(&'static str, Option<String>); N],
) -> Result<WebSocket<TokioIo<Upgraded>>, Failure> {
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
        .map_err(|error| Failure::Absent(format!("{url}: {error}")))?;
    // A request is one write, so waiting for more would only delay it.
    stream
        .set_nodelay(true)
        .map_err(|error| unreachable(&error))?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let mut request = http::Request::get(target)
        .header(HOST, authority)
        .header(UPGRADE, "websocket")
        .header(CONNECTION, "upgrade")
        .header(SEC_WEBSOCKET_KEY, fastwebsockets::handshake::generate_key())
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_PROTOCOL, "mcp");
    for (name, value) in fields {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    let request = request
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let (mut socket, _) = fastwebsockets::handshake::client(&Spawner, request, stream)
        .await
        .map_err(|error| unreachable(&error))?;
    socket.set_max_message_size(ANSWER_BYTES_MAX);
    Ok(socket)
}

/// JSON for people.
pub(super) fn pretty(value: &Value) -> String {
    sonic_rs::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}
