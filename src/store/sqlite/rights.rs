//! What a viewer may do with one memory.
//!
//! Invariant: every write decides here; reads of many rows decide by the same rules in SQL
//! (`criteria.rs`), and `tests/store/privacy.rs` holds the two against each other.

use rusqlite::{Connection, OptionalExtension};

use super::rows::Stored;
use crate::domain::Access;
use crate::store::{StoreError, Viewer};

/// Each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Right {
    None,
    Read,
    Write,
    Delete,
    /// Grants and the access level are the owner's alone.
    Own,
}

/// The right of `viewer` on `stored`.
pub(super) fn of(
    connection: &Connection,
    viewer: &Viewer,
    stored: &Stored,
) -> Result<Right, StoreError> {
    let memory = &stored.memory;
    let same_namespace = memory.namespace == viewer.key.namespace;
    let owner = same_namespace && memory.agent_id == viewer.key.agent;
    if memory.access_level == Access::System {
        // Written by admins only, even if the owner is none any more.
        return Ok(match (viewer.admin, owner) {
            (true, true) => Right::Own,
            (true, false) => Right::Delete,
            (false, _) => Right::Read,
        });
    }
    if owner {
        return Ok(Right::Own);
    }
    let by_level = match memory.access_level {
        Access::Private => return Ok(Right::None),
        Access::Team if same_namespace => Right::Read,
        Access::Public => Right::Read,
        _ => Right::None,
    };
    Ok(by_level.max(granted(connection, viewer, stored.seq)?))
}

fn granted(connection: &Connection, viewer: &Viewer, seq: i64) -> Result<Right, StoreError> {
    let permission = connection
        .prepare_cached(
            "SELECT permission FROM memory_grant WHERE memory = ?1 AND namespace = ?2 AND agent = ?3",
        )?
        .query_row((seq, &*viewer.key.namespace, &*viewer.key.agent), |row| {
            row.get::<_, String>(0)
        })
        .optional()?;
    Ok(match permission.as_deref() {
        Some("delete") => Right::Delete,
        Some("write") => Right::Write,
        Some(_) => Right::Read,
        None => Right::None,
    })
}

/// The memory does not exist for this viewer.
pub(super) fn not_found() -> StoreError {
    StoreError::NotFound { what: "memory" }
}

/// Refuses `held` where `needed` is asked for: unseen is not found, seen is forbidden.
pub(super) fn require(held: Right, needed: Right) -> Result<(), StoreError> {
    if held >= needed {
        return Ok(());
    }
    Err(match needed {
        _ if held == Right::None => not_found(),
        Right::None | Right::Read => not_found(),
        Right::Write => {
            StoreError::Forbidden("changing this memory takes ownership or a write grant")
        }
        Right::Delete => {
            StoreError::Forbidden("deleting this memory takes ownership or a delete grant")
        }
        Right::Own => {
            StoreError::Forbidden("only the owner may share this memory or change its access level")
        }
    })
}

/// Refuses to put a memory under level `system` without being an admin.
pub(super) fn require_admin(admin: bool) -> Result<(), StoreError> {
    if admin {
        Ok(())
    } else {
        Err(StoreError::Forbidden(
            "memories of level system are written by admins",
        ))
    }
}
