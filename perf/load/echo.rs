//! `load echo`: a server that sends every byte back, one thread, one epoll and nothing else. What a
//! message costs it is what the kernel takes for one read and one write.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;

use crate::limits;
use crate::poller::Poller;

#[derive(Args)]
pub(crate) struct Arguments {
    /// 127.0.0.1:PORT
    #[arg(long)]
    address: SocketAddr,
}

/// A run of the longest scenario is over before.
const LIFE_MAX: Duration = Duration::from_secs(3_600);
const CONNECTIONS_MAX: usize = 4_096;
/// All that a closed loop of 64 requests of 1 KiB has in flight.
const BUFFER_BYTES: usize = 64 << 10;
const TURN: Duration = Duration::from_millis(500);
/// No connection has this key.
const LISTENER: usize = usize::MAX;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    if !arguments.address.ip().is_loopback() {
        bail!("{} is not a loopback address", arguments.address);
    }
    limits::open_files_at_least(CONNECTIONS_MAX)?;
    let listener = TcpListener::bind(arguments.address)?;
    listener.set_nonblocking(true)?;
    let mut poller = Poller::new()?;
    poller.add(&listener, LISTENER)?;
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let end = Instant::now() + LIFE_MAX;
    while Instant::now() < end {
        for place in 0..poller.wait(TURN)? {
            match poller.event(place).0 {
                LISTENER => accept(&listener, &poller, &mut connections)?,
                key => {
                    let alive = connections[key]
                        .as_mut()
                        .is_some_and(|stream| echo(stream, &mut buffer).unwrap_or(false));
                    if !alive {
                        connections[key] = None;
                    }
                }
            }
        }
    }
    Ok(true)
}

fn accept(
    listener: &TcpListener,
    poller: &Poller,
    connections: &mut Vec<Option<TcpStream>>,
) -> io::Result<()> {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let free = connections.iter().position(Option::is_none);
        let key = free.unwrap_or(connections.len());
        if key >= CONNECTIONS_MAX {
            continue;
        }
        poller.add(&stream, key)?;
        if key == connections.len() {
            connections.push(None);
        }
        connections[key] = Some(stream);
    }
    Ok(())
}

/// Sends back what has come; false when the peer is gone.
fn echo(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<bool> {
    let count = match stream.read(buffer) {
        Ok(0) => return Ok(false),
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
        Err(error) => return Err(error),
    };
    let mut rest = &buffer[..count];
    while !rest.is_empty() {
        match stream.write(rest) {
            Ok(0) => return Ok(false),
            Ok(sent) => rest = &rest[sent..],
            // The loads of this tool read as they write, so a full socket empties at once.
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
