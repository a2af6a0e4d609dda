//! Everything that is HTTP and no WebSocket, through hyper, on the shard that accepted it.
//!
//! Architecture invariant: a route parses its request, calls [`crate::dispatch`] and writes the
//! answer; it knows no store and no operation.

mod answer;
mod body;
mod broadcast;
mod connection;
mod cors;
mod idempotency;
mod mcp;
mod performance;
mod routes;

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;

#[cfg(fuzzing)]
pub use mcp::examine_headers;
pub use mcp::{Letters, Sessions, serve_sessions};

use crate::auth::Origins;
use crate::config::Config;
use crate::dispatch::Dispatcher;
use crate::shard::{Gate, HandOver};
use idempotency::header_key;

/// The HTTP side of one shard.
pub struct Http {
    dispatcher: Rc<Dispatcher>,
    config: Arc<Config>,
    origins: Origins,
    gate: Arc<Gate>,
    /// Legacy sessions of MCP.
    sessions: Sessions,
    /// True once the server is stopping.
    stopping: watch::Receiver<bool>,
}

impl Http {
    /// The HTTP side of a shard.
    pub fn new(
        dispatcher: Rc<Dispatcher>,
        config: Arc<Config>,
        gate: Arc<Gate>,
        sessions: Sessions,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self {
            dispatcher,
            origins: Origins::new(&config),
            config,
            gate,
            sessions,
            stopping,
        }
    }

    /// Serves a connection in a task of its own.
    pub fn serve(self: &Rc<Self>, handed: HandOver) {
        tokio::task::spawn_local(connection::serve(Rc::clone(self), handed));
    }
}
