//! Messages on the wire: JSON-RPC 2.0, the Model Context Protocol on top of it, and the one table
//! of errors.
//!
//! Architecture invariant: parse and write, nothing else. Nothing here knows a socket, a session
//! or an operation.

pub mod error;
pub mod json;
pub mod jsonrpc;
pub mod mcp;

pub use error::{Condition, Fault};
