//! The nodes of a fleet: server processes over one store that are one to their agents.
//!
//! ```text
//! directory, registry, changes --+                       +--> directory, registry, changes
//!                                +--> link ==bus== link --+
//! couriers --letters abroad------+                       +--> couriers
//! ```
//!
//! Every node knows the sessions of all others, so a message is stored in the queues of sessions
//! wherever they are, in one transaction, and their nodes are told over the bus, text included. The
//! store is the truth and the bus only makes it quick:
//!
//! - What is said is numbered. Who notices a gap has its sessions look into the store, and has the other
//!   tell everything of its sessions again.
//! - Without the bus each node serves its own sessions, says that it is degraded, and looks into the
//!   store when the bus is back.
//! - The store names one node for each queue. Two that both believe to have a session ask it.
//! - A session that comes back on another node is asked for where it was; if that node cannot answer,
//!   its queue is taken from the store, and the other learns of it when it is back.
//! - While no living node has a session nobody sends to it: what comes for its agent waits in the inbox, or
//!   in another session's queue, and is found there at the latest when the node of that is missed. It may
//!   come after later messages then; and so may what a node took while the bus was away if it is killed
//!   before it could tell.
//! - The bus has one order for all: a sender is answered when it has taken the word of a message, and the
//!   first message that a sender sends on a node waits until what was said before is heard.

mod abroad;
mod hear;
mod link;
mod peers;
mod wire;

pub(super) use abroad::{Abroad, HandedOver, IsSaid};
pub use link::Link;
pub(super) use wire::{Handed, InMemory, Offered, Saying};
