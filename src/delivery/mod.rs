//! Sessions: one agent's presence on the server.

mod registry;
mod session;

pub use registry::{Presence, Registry};
pub use session::{Session, Transport};
