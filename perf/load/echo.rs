//! `load echo`: a server that sends every byte back, one thread, one epoll and nothing else. What a
//! message costs it is what the kernel takes for one read and one write. With `--to-others` what comes on
//! one connection goes to all others: what a broadcast costs before there is a server.

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
    /// Send what comes to all other connections instead
    #[arg(long)]
    to_others: bool,
}

/// A run of the longest scenario is over before.
const LIFE_MAX: Duration = Duration::from_secs(3_600);
/// More than the 10,000 receivers of `load fanout`, within the open files that a process is commonly allowed.
const CONNECTIONS_MAX: usize = 16_384;
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
                    let Some(count) = connections[key]
                        .as_mut()
                        .and_then(|stream| read(stream, &mut buffer).ok().flatten())
                    else {
                        connections[key] = None;
                        continue;
                    };
                    if arguments.to_others {
                        for other in (0..connections.len()).filter(|other| *other != key) {
                            write(&mut connections[other], &buffer[..count]);
                        }
                    } else {
                        write(&mut connections[key], &buffer[..count]);
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

/// Bytes that have come; none when the peer is gone.
fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match stream.read(buffer) {
        Ok(0) => Ok(None),
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Some(0)),
        Err(error) => Err(error),
    }
}

/// Sends it all, unless the peer is gone.
fn write(place: &mut Option<TcpStream>, mut rest: &[u8]) {
    let Some(stream) = place else {
        return;
    };
    while !rest.is_empty() {
        match stream.write(rest) {
            Ok(sent) if sent > 0 => rest = &rest[sent..],
            // The loads of this tool read as they write, so a full socket empties at once.
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Ok(_) | Err(_) => {
                *place = None;
                return;
            }
        }
    }
}
