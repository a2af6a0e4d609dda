//! Calls that may come twice: the key by which a caller says that two of them are one.

use super::AgentKey;

/// A call under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Keyed {
    /// Who calls; keys of different agents have nothing to do with each other.
    pub owner: AgentKey,
    /// The caller's key.
    pub key: Box<str>,
    /// Of the operation and its arguments: the same for the same call, and for no other.
    pub digest: Box<str>,
}
