//! What the server is about: memories, agents, messages and MCP tasks, as plain types with their rules.
//!
//! Architecture invariant: nothing here knows a wire format, a socket or a database. A rule that
//! can be checked without I/O is checked here, once, for every wire and every store.

pub mod agent;
pub mod embedding;
pub mod idempotency;
pub mod json;
pub mod mcp_task;
pub mod memory;
pub mod message;
pub mod presence;
pub mod rule;
pub mod time;

pub use agent::{Agent, AgentKey, NewAgent};
pub use embedding::{
    Embedded, EmbeddingState, Model, ModelProgress, NewVector, Unembedded, Vector,
};
pub use idempotency::Keyed;
pub use json::{JsonObject, JsonText};
pub use mcp_task::{McpTask, McpTaskChange, McpTaskStatus, NewMcpTask};
pub use memory::{
    Access, Filter, Grant, Hit, Imported, Memory, MemoryPatch, MemoryStats, Mode, NewMemory, Order,
    Page, Parts, Permission, Recall, Record, Retention, Revision, Search, SearchPage, Share,
    UpkeepReport,
};
pub use message::{
    DeadLetter, DeathCause, Destination, Letters, Message, NewMessage, Outline, Priority,
    Unsettled, Waiting,
};
pub use presence::{Availability, Status};
pub use rule::Violation;
pub use time::Timestamp;
