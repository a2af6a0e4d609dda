//! What a viewer may do with one memory, and the other rules that every backend's writes share.
//!
//! Invariant: every write decides here; reads of many rows decide by the same rules in each
//! backend's own terms, and `tests/store` holds the two against each other.

use super::{StoreError, Viewer};
pub use crate::domain::memory::GRANTS_MAX;
use crate::domain::{Access, AgentKey, Memory, Permission, Violation};

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

/// The right of `viewer` on `memory`, on which it holds the grant `granted`.
pub(super) fn of(viewer: &Viewer, memory: &Memory, granted: Option<Permission>) -> Right {
    let same_namespace = memory.namespace == viewer.key.namespace;
    let owner = same_namespace && memory.agent_id == viewer.key.agent;
    if memory.access_level == Access::System {
        // Written by admins only, even if the owner is none any more.
        return match (viewer.admin, owner) {
            (true, true) => Right::Own,
            (true, false) => Right::Delete,
            (false, _) => Right::Read,
        };
    }
    if owner {
        return Right::Own;
    }
    if memory.access_level == Access::Private {
        return Right::None;
    }
    let owned_by = AgentKey {
        namespace: memory.namespace.clone(),
        agent: memory.agent_id.clone(),
    };
    let by_level = match reads_by_level(&viewer.key, &owned_by, memory.access_level) {
        true => Right::Read,
        false => Right::None,
    };
    let by_grant = match granted {
        Some(Permission::Delete) => Right::Delete,
        Some(Permission::Write) => Right::Write,
        Some(Permission::Read) => Right::Read,
        None => Right::None,
    };
    by_level.max(by_grant)
}

/// May `viewer` read a memory of `owner` by its access level alone, whatever grants there are?
pub fn reads_by_level(viewer: &AgentKey, owner: &AgentKey, access: Access) -> bool {
    match access {
        Access::System | Access::Public => true,
        Access::Team => viewer.namespace == owner.namespace,
        Access::Private | Access::Shared => viewer == owner,
    }
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

/// Refuses a change that was meant for another version.
pub(super) fn expect_version(memory: &Memory, expected: Option<u64>) -> Result<(), StoreError> {
    let current = memory.version;
    match expected {
        Some(version) if version != current => Err(StoreError::Conflict {
            message: format!("the memory has version {current}, not {version}"),
            current_version: Some(current),
        }),
        _ => Ok(()),
    }
}

/// What was replaced stays as it was.
pub(super) fn refuse_superseded(memory: &Memory) -> Result<(), StoreError> {
    match memory.superseded_by {
        Some(by) => Err(StoreError::Conflict {
            message: format!("the memory was superseded by {by}"),
            current_version: Some(memory.version),
        }),
        None => Ok(()),
    }
}

/// Refuses more grants than one memory may have.
pub(super) fn check_grants(grants: usize) -> Result<(), StoreError> {
    if grants > GRANTS_MAX {
        let problem = format!("one memory has at most {GRANTS_MAX} grants");
        return Err(Violation::new("agents", problem).into());
    }
    Ok(())
}
