//! Where the load goes: `ws://127.0.0.1:PORT/PATH`, never beyond this machine.

use std::net::SocketAddr;
use std::str::FromStr;

/// A WebSocket endpoint on a loopback address.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let rest = url
            .strip_prefix("ws://")
            .ok_or("the address does not begin with ws://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let address: SocketAddr = authority
            .parse()
            .map_err(|_| format!("{authority:?} is not an IP address and a port"))?;
        if !address.ip().is_loopback() {
            return Err(format!("{address} is not a loopback address"));
        }
        let path = if path.is_empty() { "/" } else { path }.to_owned();
        Ok(Self { address, path })
    }
}
