//! The listening sockets of the process, dealt out to its shards.
//!
//! Invariant: every socket that was taken over is accepted from, for the kernel spreads connections
//! over all that share an address; and every shard has one of each address at least.

use std::io;
use std::net::{SocketAddr, TcpListener};

use super::ServerError;
use crate::config::Config;
use crate::net::listener;
use crate::shard::Listener;

/// What each shard listens to.
pub(super) struct Sockets {
    /// By shard.
    pub(super) shards: Vec<Vec<(TcpListener, Listener)>>,
    /// Where the API is.
    pub(super) api: SocketAddr,
    /// Where the WebSocket listener is, unless it is off.
    pub(super) ws: Option<SocketAddr>,
}

impl Sockets {
    /// Opens what the configuration asks for, with what was taken over as far as it is for the same
    /// addresses.
    pub(super) fn open(
        config: &Config,
        shards: usize,
        inherited: Vec<(TcpListener, u8)>,
    ) -> Result<Self, ServerError> {
        let (mut of_api, mut of_ws) = (Vec::new(), Vec::new());
        for (socket, number) in inherited {
            match number == Listener::Api as u8 {
                true => of_api.push(socket),
                false => of_ws.push(socket),
            }
        }
        let mut sockets: Vec<Vec<_>> = (0..shards).map(|_| Vec::new()).collect();
        let mut open = |address, listener, inherited| {
            let refused = |error| ServerError::Bind { address, error };
            let (dealt, bound) = deal(address, shards, inherited).map_err(refused)?;
            for (of_shard, more) in sockets.iter_mut().zip(dealt) {
                of_shard.extend(more.into_iter().map(|socket| (socket, listener)));
            }
            Ok::<_, ServerError>(bound)
        };
        let api = open(config.api, Listener::Api, of_api)?;
        let ws = config
            .ws
            .map(|address| open(address, Listener::WebSocket, of_ws));
        let ws = ws.transpose()?;
        Ok(Self {
            shards: sockets,
            api,
            ws,
        })
    }

    /// The same sockets once more, with the numbers of their listeners.
    pub(super) fn copies(&self) -> io::Result<Vec<(TcpListener, u8)>> {
        let sockets = self.shards.iter().flatten();
        let copy = |(socket, listener): &(TcpListener, Listener)| {
            Ok((socket.try_clone()?, *listener as u8))
        };
        sockets.map(copy).collect()
    }
}

/// The sockets of one address for each shard, and the address as it was bound.
fn deal(
    address: SocketAddr,
    shards: usize,
    inherited: Vec<TcpListener>,
) -> io::Result<(Vec<Vec<TcpListener>>, SocketAddr)> {
    let fits = |socket: &TcpListener| {
        socket.local_addr().is_ok_and(|bound| {
            bound.ip() == address.ip() && (bound.port() == address.port() || address.port() == 0)
        })
    };
    let mut ours: Vec<TcpListener> = inherited.into_iter().filter(fits).collect();
    let bound = match ours.first() {
        Some(first) => first.local_addr()?,
        None => {
            ours = listener::bind(address, shards)?;
            ours[0].local_addr()?
        }
    };
    while ours.len() < shards {
        ours.push(listener::join(bound)?);
    }
    let mut dealt: Vec<Vec<TcpListener>> = (0..shards).map(|_| Vec::new()).collect();
    for (index, socket) in ours.into_iter().enumerate() {
        dealt[index % shards].push(socket);
    }
    Ok((dealt, bound))
}

#[cfg(test)]
mod tests {
    use super::{deal, listener};

    #[test]
    fn every_socket_has_a_shard_and_every_shard_a_socket() {
        let any = "127.0.0.1:0".parse().unwrap();
        for (before, shards) in [(1, 3), (5, 2), (0, 2)] {
            let inherited = match before {
                0 => Vec::new(),
                _ => listener::bind(any, before).unwrap(),
            };
            let port = inherited
                .first()
                .map(|one| one.local_addr().unwrap().port());
            let (dealt, bound) = deal(any, shards, inherited).unwrap();
            assert!(port.is_none_or(|port| port == bound.port()));
            assert!(dealt.iter().all(|some| !some.is_empty()));
            let count: usize = dealt.iter().map(Vec::len).sum();
            assert_eq!(count, shards.max(before));
        }
    }

    #[test]
    fn sockets_of_another_address_are_not_taken() {
        let any = "127.0.0.1:0".parse().unwrap();
        let other = listener::bind("127.0.0.2:0".parse().unwrap(), 1).unwrap();
        let (dealt, bound) = deal(any, 1, other).unwrap();
        assert_eq!(
            (dealt[0].len(), bound.ip().to_string()),
            (1, "127.0.0.1".into())
        );
    }
}
