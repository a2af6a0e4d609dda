//! Sockets of one shard: accept, receive into a pool of equal buffers, send, close.
//!
//! A [`Backend`] is driven in turns by the one thread that owns it:
//!
//! ```text
//!   turn() -> events -> the shard handles them -> send()/close()/release() -> turn() ...
//!   nothing to do: ready().await
//! ```
//!
//! Invariants:
//! - One send per socket is in flight; what a turn produces meanwhile waits for the next one.
//! - A buffer that an event carries is lent until [`Backend::release`]; an empty pool delays
//!   reception (the kernel's socket buffers and TCP push back) and never fails.
//! - After [`Backend::close`] no event names that token again, and the descriptor is closed only
//!   when the kernel holds no operation on it.
//!
//! Architecture invariant: nothing here knows WebSocket, HTTP or a message.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;

pub mod affinity;
pub mod cpu_clock;
pub mod epoll;
pub mod handover;
pub mod limits;
pub mod listener;
mod pool;
mod slab;
pub mod uring;

pub use slab::{Table, Token};

/// Receptions that one turn takes, more or less: what they touch and what they are answered from is used again for
/// the next while it is in the cache, and the pool is not emptied at once when thousands of sockets have something.
const RECEIVES_PER_TURN: usize = 256;

/// Sizes that a backend is opened with.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Receive buffers; a power of two, at most 32,768 (the kernel's bound for a buffer ring).
    pub buffers: u16,
    /// Bytes of each receive buffer.
    pub buffer_bytes: u32,
}

/// A lent receive buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Lease {
    buffer: u16,
    bytes: u32,
}

/// How a socket receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receive {
    /// One completion, then silence until asked again: so a socket can be handed over at rest.
    Once,
    /// Whatever arrives until [`Backend::pause`].
    Stream,
}

/// What happened since the last turn.
#[derive(Debug)]
pub enum Event {
    /// A peer connected to the listener with this number. Nothing is received until asked for.
    Accepted {
        /// The new socket.
        token: Token,
        /// The number given to [`Backend::listen`].
        listener: u8,
    },
    /// Bytes arrived.
    Received {
        /// The socket.
        token: Token,
        /// The buffer that holds them, to be released.
        lease: Lease,
    },
    /// The peer will send nothing more, or the connection broke. Sends may still succeed after an
    /// orderly end.
    Ended {
        /// The socket.
        token: Token,
    },
    /// The send finished, whole.
    Sent {
        /// The socket.
        token: Token,
        /// The buffer that was sent, empty, for reuse.
        buffer: Vec<u8>,
    },
}

/// The sockets of one shard.
pub trait Backend: Sized {
    /// The name that `--io`, logs and metrics use.
    const NAME: &'static str;

    /// Opens the backend on the thread that will drive it, inside its tokio runtime.
    fn open(settings: Settings) -> io::Result<Self>;

    /// Starts to accept; `number` comes back in [`Event::Accepted`].
    fn listen(&mut self, listener: std::net::TcpListener, number: u8) -> io::Result<()>;

    /// Stops accepting and closes the listeners. What the kernel has accepted already still comes
    /// as [`Event::Accepted`], until [`Self::is_listening`] is false.
    fn stop_listening(&mut self);

    /// May a peer still be accepted?
    fn is_listening(&self) -> bool;

    /// Submits what is queued and collects what completed. Never blocks.
    fn turn(&mut self, events: &mut Vec<Event>) -> io::Result<()>;

    /// Resolves when the next turn would find something.
    fn ready(&self) -> impl Future<Output = io::Result<()>>;

    /// The bytes of a lease, to be worked on in place.
    fn bytes(&mut self, lease: &Lease) -> &mut [u8];

    /// Gives a buffer back to the pool.
    fn release(&mut self, lease: Lease);

    /// Starts reception.
    fn receive(&mut self, token: Token, mode: Receive);

    /// Stops reception. What the kernel had already received is still delivered.
    fn pause(&mut self, token: Token);

    /// Sends all of `buffer`. There must be no send in flight on this socket.
    fn send(&mut self, token: Token, buffer: Vec<u8>);

    /// Ends the sending direction; the peer reads an end of file after what was sent.
    fn shutdown(&mut self, token: Token);

    /// Gives the socket up. A send in flight is abandoned.
    fn close(&mut self, token: Token);

    /// Takes an accepted socket out of the backend, for another reader. Only at rest: before
    /// any reception, or after one with [`Receive::Once`] has delivered; `None` otherwise.
    fn detach(&mut self, token: Token) -> Option<OwnedFd>;

    /// The peer's address.
    fn peer(&self, token: Token) -> Option<std::net::SocketAddr>;

    /// Retries listeners that ran out of descriptors; called on the shard's slow tick.
    fn tick(&mut self);

    /// Gauges for metrics.
    fn gauges(&self) -> Gauges;
}

/// How busy a backend is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gauges {
    /// Sockets held.
    pub sockets: u64,
    /// Receive buffers in the pool.
    pub buffers: u64,
    /// Receive buffers lent at this moment.
    pub buffers_lent: u64,
    /// Times that reception stopped because the pool was empty.
    pub pool_exhausted: u64,
    /// Times that accepting stopped for want of descriptors.
    pub accept_paused: u64,
    /// Entries of the submission queue that were used at the latest submission.
    pub ring_depth: u64,
}

/// A send under way: the whole buffer and how much of it the kernel has taken.
#[derive(Debug)]
struct Sending {
    buffer: Vec<u8>,
    sent: usize,
}

impl Sending {
    fn rest(&self) -> &[u8] {
        &self.buffer[self.sent..]
    }

    /// Counts `bytes` as taken; true when nothing is left.
    fn advance(&mut self, bytes: usize) -> bool {
        self.sent += bytes;
        self.sent >= self.buffer.len()
    }

    fn into_empty(mut self) -> Vec<u8> {
        self.buffer.clear();
        self.buffer
    }
}

fn peer_of(socket: &OwnedFd) -> Option<std::net::SocketAddr> {
    socket2::SockRef::from(socket).peer_addr().ok()?.as_socket()
}

/// Puts an owned descriptor under tokio's watch for reading.
fn register(fd: OwnedFd) -> io::Result<tokio::io::unix::AsyncFd<OwnedFd>> {
    let interest = tokio::io::Interest::READABLE;
    // SAFETY: an `OwnedFd` yields the same open descriptor for as long as it lives, and the
    // `AsyncFd` owns it from here on.
    unsafe { tokio::io::unix::AsyncFd::register_with_interest(fd, interest) }.map_err(Into::into)
}
