//! The Model Context Protocol: what each method of either era answers.
//!
//! [`McpConnection`] finds the era of a message and whether it may come now; `methods` knows every
//! method; what takes more than a few lines has a file of its own.

mod caller;
mod completion;
mod connection;
mod constants;
#[cfg(feature = "conformance-fixture")]
mod fixture;
mod icons;
mod input;
mod listen;
mod methods;
mod phase;
mod prompts;
mod resources;
mod tasks;
mod tools;
mod watch;

pub(in crate::dispatch) use caller::Request;
pub(in crate::dispatch) use methods::notified;
pub(in crate::dispatch) use watch::Watches;

pub use caller::Caller;
pub use connection::{McpConnection, Way};
pub use constants::Constants;
#[cfg(feature = "conformance-fixture")]
pub(in crate::dispatch) use fixture::mirrored_schema;
#[cfg(fuzzing)]
pub use resources::examine as examine_uri;
