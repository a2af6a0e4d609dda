//! A memory with everything that hangs on it, for export, import and backup.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Memory, Permission, Revision};

/// One line of an export: nothing of the memory is left out but its vectors, which are computed
/// anew from the text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The memory as it stands.
    pub memory: Memory,
    /// It was deleted and only its history remains.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// What made the present version, as [`Revision::change`].
    pub change: String,
    /// Who made it.
    pub changed_by: Arc<str>,
    /// Who else may do what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// Versions before the present one, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<Revision>,
}

/// What one agent may do with a memory of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Namespace of the agent.
    pub namespace: Arc<str>,
    /// The agent.
    pub agent_id: Arc<str>,
    /// What it may do.
    pub permission: Permission,
}

/// What became of imported records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Imported {
    /// Stored.
    pub created: u64,
    /// Left alone, as a memory with this id is stored already.
    pub skipped: u64,
}
