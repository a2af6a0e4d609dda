//! RFC 6455, the server's side, with the permessage-deflate of RFC 7692.
//!
//! Bytes in, events out. Invariants:
//! - No file here knows a socket, a clock, JSON or another module of the crate; limits arrive as parameters.
//! - However the bytes are cut into chunks, the events and the first violation are the same.
//! - A peer pays first: memory grows with the bytes that arrived, never with a length that was announced.
//! - An idle connection holds a [`message::Decoder`] of at most 64 bytes and nothing on the heap.
//! - What a peer sends never panics; it ends in a [`Violation`] or, before the upgrade, in a [`handshake::Refusal`].

mod body;
pub mod close;
pub mod deflate;
pub mod frame;
pub mod handshake;
pub mod message;
mod pool;
#[cfg(any(test, fuzzing))]
pub mod transcript;
mod utf8;
mod violation;

pub use message::{Decoder, Event};
pub use pool::{Pool, PoolLimits};
pub use violation::Violation;

pub use fastwebsockets::{CloseCode, OpCode};
