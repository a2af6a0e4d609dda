//! Which requests become WebSockets, and as what.

use std::net::SocketAddr;

use crate::auth::Origins;
use crate::config::{Config, ToolProfile};
use crate::domain::AgentKey;
use crate::domain::agent::check_capabilities;
use crate::framing::websocket::deflate::{self, Params};
use crate::framing::websocket::handshake::{Refusal, RequestHead, Upgrade, examine};
use crate::rpc::{Condition, Fault};

/// The listener that a connection came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Listener {
    /// Everything.
    Api = 0,
    /// The same, and WebSocket MCP at `/`.
    WebSocket = 1,
}

impl Listener {
    pub(super) fn from_number(number: u8) -> Self {
        if number == Self::WebSocket as u8 {
            Self::WebSocket
        } else {
            Self::Api
        }
    }
}

/// The subprotocol of clients that take deliveries from the beginning.
pub(super) const DELIVERING: &str = "tmws.v1";

/// Subprotocols that are known; of those offered the most wanted is taken.
const SUBPROTOCOLS: [&str; 2] = [DELIVERING, "mcp"];

/// What a WebSocket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Mcp,
    Echo,
}

/// A request that may become a WebSocket.
#[derive(Debug)]
pub struct Admission {
    pub(super) route: Route,
    pub(super) key: String,
    pub(super) subprotocol: Option<&'static str>,
    pub(super) deflate: Option<Params>,
    /// Who connects.
    pub agent: AgentKey,
    pub(super) capabilities: Vec<String>,
    pub(super) profile: ToolProfile,
}

/// Why a request does not become a WebSocket.
#[derive(Debug)]
pub enum Rejection {
    /// The handshake breaks RFC 6455.
    Handshake(Refusal),
    /// The request is refused for what it asks or who asks.
    Fault(Fault),
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self::Handshake(refusal)
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Judges a request: `None` if it does not ask for a WebSocket.
pub fn judge<H: RequestHead>(
    head: &H,
    target: &str,
    listener: Listener,
    config: &Config,
    origins: &Origins,
) -> Result<Option<Admission>, Rejection> {
    let Some(upgrade) = examine(head)? else {
        return Ok(None);
    };
    check_origins(head, origins)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Some(route) = route(path, listener, config) else {
        let message = format!("there is no WebSocket at {path}");
        return Err(Fault::new(Condition::NotFound, message).into());
    };
    Ok(Some(Admission {
        route,
        key: upgrade.key().to_owned(),
        subprotocol: upgrade
            .subprotocols()
            .find_map(|offered| SUBPROTOCOLS.into_iter().find(|known| *known == offered)),
        deflate: negotiate(&upgrade, config),
        agent: agent(head)?,
        capabilities: capabilities(head)?,
        profile: profile_of(head, query)?.unwrap_or(config.tool_profile),
    }))
}

/// Checks Host and Origin of any request.
pub fn check_origins<H: RequestHead>(head: &H, origins: &Origins) -> Result<(), Fault> {
    let host = text(head, "host")?;
    // HTTP/1.0 knows no Host; whoever speaks it is no browser.
    if host.is_none() && !head.is_http_1_1() {
        return Ok(());
    }
    origins.check(host, text(head, "origin")?)
}

/// Who a request says it is; `default` in `default` unless it says otherwise.
pub fn agent<H: RequestHead>(head: &H) -> Result<AgentKey, Fault> {
    const DEFAULT: &str = "default";
    let namespace = text(head, "x-agent-namespace")?.unwrap_or(DEFAULT);
    let agent = text(head, "x-agent-id")?.unwrap_or(DEFAULT);
    AgentKey::new(namespace, agent)
        .map_err(|violation| Fault::new(Condition::InvalidArguments, violation.to_string()))
}

fn route(path: &str, listener: Listener, config: &Config) -> Option<Route> {
    if config.echo_path.as_deref() == Some(path) {
        return Some(Route::Echo);
    }
    match path {
        "/ws/mcp" | "/ws" | "/mcp" => Some(Route::Mcp),
        "/" if listener == Listener::WebSocket => Some(Route::Mcp),
        _ => None,
    }
}

fn negotiate<H: RequestHead>(upgrade: &Upgrade<'_, H>, config: &Config) -> Option<Params> {
    use crate::config::limits::{DEFLATE_BYTES_MIN, DEFLATE_LEVEL, DEFLATE_WINDOW_BITS};
    if !config.deflate {
        return None;
    }
    let offer = deflate::Config {
        level: DEFLATE_LEVEL,
        server_window_bits: DEFLATE_WINDOW_BITS,
        threshold_bytes: DEFLATE_BYTES_MIN,
    };
    deflate::negotiate(&offer, upgrade.extensions())
}

fn capabilities<H: RequestHead>(head: &H) -> Result<Vec<String>, Fault> {
    let Some(text) = text(head, "x-agent-capabilities")? else {
        return Ok(Vec::new());
    };
    let capabilities: Vec<String> = sonic_rs::from_str(text).map_err(|_| {
        Fault::new(
            Condition::InvalidArguments,
            "X-Agent-Capabilities must be a JSON array of strings",
        )
    })?;
    check_capabilities(&capabilities)
        .map_err(|violation| Fault::new(Condition::InvalidArguments, violation.to_string()))?;
    Ok(capabilities)
}

/// The tool profile that a request asks for, by `?tools=` or `X-Tool-Profile` (SPEC 16).
pub fn profile_of<H: RequestHead>(head: &H, query: &str) -> Result<Option<ToolProfile>, Fault> {
    let asked = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("tools="));
    let Some(name) = asked.map_or_else(|| text(head, "x-tool-profile"), |name| Ok(Some(name)))?
    else {
        return Ok(None);
    };
    match ToolProfile::from_name(name) {
        Some(profile) => Ok(Some(profile)),
        None => Err(Fault::new(
            Condition::InvalidArguments,
            "the tool profile is core or full",
        )),
    }
}

fn text<'h, H: RequestHead>(head: &'h H, name: &'static str) -> Result<Option<&'h str>, Fault> {
    let mut values = head
        .fields()
        .filter(|(field, _)| field.eq_ignore_ascii_case(name));
    let Some((_, value)) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Fault::new(
            Condition::InvalidRequest,
            format!("the field {name} is repeated"),
        ));
    }
    std::str::from_utf8(value)
        .map(|text| Some(text.trim()))
        .map_err(|_| {
            Fault::new(
                Condition::InvalidRequest,
                format!("the field {name} is not text"),
            )
        })
}

/// A connection that the shard gives away: a socket and what was read from it.
#[derive(Debug)]
pub struct HandOver {
    /// The socket.
    pub fd: std::os::fd::OwnedFd,
    /// Bytes that were read already, to be read first.
    pub read: Vec<u8>,
    /// Where it came in.
    pub listener: Listener,
    /// The other end.
    pub peer: Option<SocketAddr>,
    /// Its place among the connections that are no WebSockets.
    pub place: super::gate::Place,
}
