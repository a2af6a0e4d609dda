//! What may become of an MCP task: the rules that every backend's writes share.

use uuid::Uuid;

use super::StoreError;
use crate::domain::mcp_task::OPEN_MAX;
use crate::domain::{McpTask, McpTaskChange, Timestamp};

/// The task does not exist for this agent, or not any more.
pub(super) fn not_found() -> StoreError {
    StoreError::NotFound { what: "MCP task" }
}

/// Another task has the id.
pub(super) fn taken(id: Uuid) -> StoreError {
    StoreError::Conflict {
        message: format!("there is an MCP task {id} already"),
        current_version: None,
    }
}

/// Refuses one more task of an agent with `open` ones.
pub(super) fn check_open(open: i64) -> Result<(), StoreError> {
    if open < OPEN_MAX as i64 {
        return Ok(());
    }
    Err(StoreError::Conflict {
        message: format!(
            "an agent has at most {OPEN_MAX} MCP tasks that have not ended; wait for some or cancel them"
        ),
        current_version: None,
    })
}

/// What `change` makes of the record `stored`.
pub(super) fn changed(
    stored: McpTask,
    expected_version: Option<u64>,
    change: McpTaskChange,
    now: Timestamp,
) -> Result<McpTask, StoreError> {
    let task = stored.as_of(now).ok_or_else(not_found)?;
    let current = task.version;
    let conflict = |message| StoreError::Conflict {
        message,
        current_version: Some(current),
    };
    if task.status.is_terminal() {
        let status = task.status.as_str();
        return Err(conflict(format!("the MCP task is {status} and stays so")));
    }
    if let Some(version) = expected_version.filter(|version| *version != current) {
        return Err(conflict(format!(
            "the MCP task has version {current}, not {version}"
        )));
    }
    Ok(task.apply(change, now)?)
}
