//! What the server is about: memories and agents, as plain types with their rules.
//!
//! Architecture invariant: nothing here knows a wire format, a socket or a database. A rule that
//! can be checked without I/O is checked here, once, for every wire and every store.

pub mod agent;
pub mod embedding;
pub mod json;
pub mod memory;
pub mod rule;
pub mod time;

pub use agent::{Agent, AgentKey, NewAgent};
pub use embedding::{Model, Vector};
pub use json::JsonObject;
pub use memory::{
    Access, Filter, Hit, Memory, MemoryPatch, MemoryStats, NewMemory, Order, Page, Permission,
    Recall, Revision, Search, SearchPage, Share,
};
pub use rule::Violation;
pub use time::Timestamp;
