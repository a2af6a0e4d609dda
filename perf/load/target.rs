//! Where the load goes: `ws://`, `http://` or `tcp://127.0.0.1:PORT/PATH`, never beyond this machine.

use std::net::SocketAddr;
use std::str::FromStr;

/// How requests travel; the address says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Text messages of a WebSocket.
    WebSocket,
    /// MCP's streamable HTTP: a POST for each message, the connection kept.
    Http,
    /// Whole requests of HTTP, which `load rate --rest` makes; no address says so.
    Rest,
    /// Bare bytes, which an echo sends back: what the kernel alone costs.
    Tcp,
}

impl Transport {
    const SCHEMES: [(&'static str, Self); 3] = [
        ("ws://", Self::WebSocket),
        ("http://", Self::Http),
        ("tcp://", Self::Tcp),
    ];
}

/// An endpoint on a loopback address.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) transport: Transport,
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let (rest, transport) = Transport::SCHEMES
            .iter()
            .find_map(|(scheme, transport)| Some((url.strip_prefix(scheme)?, *transport)))
            .ok_or("the address does not begin with ws://, http:// or tcp://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let address: SocketAddr = authority
            .parse()
            .map_err(|_| format!("{authority:?} is not an IP address and a port"))?;
        if !address.ip().is_loopback() {
            return Err(format!("{address} is not a loopback address"));
        }
        let path = if path.is_empty() { "/" } else { path }.to_owned();
        Ok(Self {
            transport,
            address,
            path,
        })
    }
}
