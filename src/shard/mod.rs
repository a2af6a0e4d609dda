//! One shard: one thread, its connections, and nothing that others share.
//!
//! A turn takes what the backend completed, what local tasks have answered and what other threads
//! left in the mailbox; handles all of it; and sends once to every connection that has something
//! to send. Between turns local tasks run: calls that wait for the store, and HTTP.
//!
//! Invariants:
//! - Everything a turn produced for a connection leaves in one send.
//! - A connection that its peer does not read, or that has many calls under way, is not read
//!   further: the limits are [`crate::config::limits::QUEUED_BYTES_MAX`] and
//!   [`crate::config::limits::REQUESTS_IN_FLIGHT_MAX`], and the others never notice.
//! - What is no WebSocket is handed over, with the bytes read so far, to whoever drives the shard.

pub mod admission;
mod connection;
mod deadlines;
pub mod gate;
mod handshake;
mod mailbox;
mod outbox;
mod timers;
mod turn;
mod websocket;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub use admission::{HandOver, Listener};
pub use gate::Gate;
pub use mailbox::{Mail, Mailbox};

use crate::allocator::GivingBack;
use crate::auth::Origins;
use crate::config::Config;
use crate::config::limits::SPARE_BUFFER_BYTES_MAX;
use crate::delivery::Outgoing;
use crate::dispatch::Dispatcher;
use crate::framing::websocket::{Pool, PoolLimits};
use crate::net::{Backend, Event, Table, Token};
use connection::Connection;
use outbox::{Delivered, Outbox};
use timers::{Tick, Wheel};

/// Buffers kept for the next sends; more than are in flight in a usual turn.
const SPARE_BUFFERS_MAX: usize = 256;

/// One shard, driven by [`Shard::next`].
pub struct Shard<B> {
    backend: B,
    connections: Table<Connection>,
    dispatcher: Rc<Dispatcher>,
    config: Arc<Config>,
    origins: Rc<Origins>,
    gate: Arc<Gate>,
    mailbox: Arc<Mailbox>,
    outbox: Rc<Outbox>,
    /// Messages that answer no request.
    outgoing: Rc<Outgoing>,
    pool: Pool,
    wheel: Wheel,
    /// Connections that may have something to send.
    dirty: Vec<Token>,
    spare: Vec<Vec<u8>>,
    handed: Vec<HandOver>,
    // Kept between turns for their memory.
    events: Vec<Event>,
    finished: Vec<Delivered>,
    pushed: Vec<(u64, Vec<u8>)>,
    due: Vec<(Token, Tick)>,
    giving_back: GivingBack,
    /// The drain, once it has begun.
    draining: Option<Drain>,
}

/// A drain under way.
#[derive(Debug, Clone, Copy)]
struct Drain {
    /// The time over which the whole stop is spread.
    over: Duration,
    /// When the last connection is closed.
    end: Tick,
}

/// Why [`Shard::next`] returned.
#[derive(Debug)]
pub enum Next {
    /// A connection that is no WebSocket.
    HandOver(HandOver),
    /// Limits have changed.
    Reloaded(Arc<Config>),
    /// A stop was asked for and every connection is gone.
    Stopped,
}

impl<B: Backend> Shard<B> {
    /// A shard over a backend that listens already.
    pub fn new(
        backend: B,
        dispatcher: Rc<Dispatcher>,
        config: Arc<Config>,
        gate: Arc<Gate>,
        mailbox: Arc<Mailbox>,
        outgoing: Rc<Outgoing>,
    ) -> Self {
        let outbox = Rc::new(Outbox::new(Arc::clone(mailbox.wake())));
        Self {
            backend,
            connections: Table::default(),
            dispatcher,
            origins: Rc::new(Origins::new(&config)),
            config,
            gate,
            mailbox,
            outbox,
            outgoing,
            pool: Pool::new(PoolLimits {
                // 64 compressed messages arriving in pieces at once take 2.5 MiB.
                inflaters_max: 64,
                deflaters_max: crate::config::limits::DEFLATES_MAX,
                buffers_max: 64,
                buffer_bytes_max: SPARE_BUFFER_BYTES_MAX,
            }),
            wheel: Wheel::new(),
            dirty: Vec::new(),
            spare: Vec::new(),
            handed: Vec::new(),
            events: Vec::new(),
            finished: Vec::new(),
            pushed: Vec::new(),
            due: Vec::new(),
            giving_back: GivingBack::default(),
            draining: None,
        }
    }

    /// Runs turns until there is something for the caller.
    pub async fn next(&mut self) -> io::Result<Next> {
        loop {
            if let Some(handed) = self.handed.pop() {
                return Ok(Next::HandOver(handed));
            }
            let started = Instant::now();
            let worked = self.turn()?;
            if let Some(config) = self.read_mail() {
                return Ok(Next::Reloaded(config));
            }
            let is_over = self.draining.is_some() && !self.backend.is_listening();
            if is_over && self.connections.is_empty() && self.handed.is_empty() {
                return Ok(Next::Stopped);
            }
            if worked {
                let metrics = self.dispatcher.metrics();
                metrics.turns.add(1);
                metrics
                    .turn_duration
                    .record_ns(started.elapsed().as_nanos() as u64);
                tokio::task::yield_now().await;
            } else {
                self.wait().await?;
            }
        }
    }

    async fn wait(&self) -> io::Result<()> {
        let tick = tokio::time::Instant::from_std(self.wheel.next());
        tokio::select! {
            biased;
            ready = self.backend.ready() => ready,
            () = self.mailbox.wake().notified() => Ok(()),
            () = tokio::time::sleep_until(tick) => Ok(()),
        }
    }

    /// Reads the mail; a changed configuration is for the caller too.
    fn read_mail(&mut self) -> Option<Arc<Config>> {
        while let Some(mail) = self.mailbox.take() {
            match mail {
                Mail::Reload(config) => {
                    self.origins = Rc::new(Origins::new(&config));
                    let services = self.dispatcher.services();
                    services.content_chars_max.set(config.content_chars_max);
                    services.batch_max.set(config.batch_max);
                    self.config = Arc::clone(&config);
                    return Some(config);
                }
                Mail::Drain(over, begun) => {
                    self.drain(over);
                    begun.fetch_add(1, Ordering::Release);
                }
                Mail::Stop => self.stop(),
            }
        }
        None
    }

    /// A buffer for frames.
    fn spare_buffer(spare: &mut Vec<Vec<u8>>) -> Vec<u8> {
        spare.pop().unwrap_or_default()
    }

    /// Keeps a sent buffer for the next send, unless it is large or there are plenty.
    fn keep_buffer(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() <= SPARE_BUFFER_BYTES_MAX && self.spare.len() < SPARE_BUFFERS_MAX {
            self.spare.push(buffer);
        }
    }
}
