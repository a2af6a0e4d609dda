//! Sessions: one agent's presence on the server; and what reaches a client besides answers.

mod changes;
pub mod courier;
pub mod events;
mod exchange;
pub mod hub;
mod outlet;
pub mod queue;
mod registry;
mod running;
mod session;

pub use changes::{Change, Changes, Happened, Inbox, News};
pub use exchange::{AskError, Asks, Exchange};
pub use outlet::{Delivery, INTERRUPT, Order, Outgoing, Outlet};
pub use registry::{Presence, Registry, Seen};
pub use running::Running;
pub use session::{Kept, Session, Transport};
