//! Listening sockets: one per shard and address, joined by `SO_REUSEPORT`.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel completes before the shard accepts them. A storm of reconnects
/// after a restart brings thousands at once; the kernel cuts this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Binds one listener for each of `count` shards to the same address. Port 0 is resolved by the
/// first and shared by the rest.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    if address.port() != 0 {
        // With SO_REUSEPORT another server on this port would share its connections with us.
        bind_one(address, false)?;
    }
    let mut address = address;
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count {
        let listener = bind_one(address, true)?;
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Binds one more listener to an address whose listeners share it already.
pub fn join(address: SocketAddr) -> io::Result<TcpListener> {
    bind_one(address, true)
}

fn bind_one(address: SocketAddr, share: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit this on Linux, which saves a call on each: an answer is one send
    // and must not wait for the acknowledgement of the one before.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::bind;

    #[test]
    fn shards_share_the_port_that_the_first_was_given() {
        let listeners = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let ports: Vec<u16> = listeners
            .iter()
            .map(|listener| listener.local_addr().unwrap().port())
            .collect();
        assert_eq!(ports[0], ports[1]);
        assert_ne!(ports[0], 0);
    }

    #[test]
    fn a_port_in_use_is_refused_and_free_again_afterwards() {
        let listeners = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let address = listeners[0].local_addr().unwrap();
        assert_eq!(
            bind(address, 1).unwrap_err().kind(),
            std::io::ErrorKind::AddrInUse
        );
        drop(listeners);
        assert!(bind(address, 2).is_ok());
    }
}
