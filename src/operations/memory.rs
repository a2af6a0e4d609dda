//! Memories one at a time: get, delete, share, history.

use std::rc::Rc;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::arguments::arguments;
use super::operation::{Operation, Pending, Scope};
use super::services::Context;
use crate::domain::memory::CRITERION_MAX;
use crate::domain::{AgentKey, Memory, Permission, Revision, Share, Violation};
use crate::rpc::Fault;

pub(super) fn rows() -> Vec<Operation> {
    vec![
        Operation::later("memory/get", get)
            .tool("get_memory", "Get a memory")
            .describe("Read one memory by its id.")
            .scope(Scope::MemoryRead),
        Operation::later("memory/delete", delete)
            .tool("delete_memory", "Delete a memory")
            .describe(
                "Delete a memory. Its history stays unless purge is true, which removes everything \
                 of it for good.",
            )
            .scope(Scope::MemoryWrite)
            .cost(5)
            .destroys(),
        Operation::later("memory/share", share)
            .tool("share_memory", "Share a memory")
            .describe(
                "Let other agents read, write or delete one of your memories, or take that back.",
            )
            .scope(Scope::MemoryWrite)
            .cost(5)
            .writes(true),
        Operation::later("memory/history", history)
            .tool("memory_history", "Show a memory's history")
            .describe("List every version of a memory, oldest first, and what replaced what.")
            .scope(Scope::MemoryRead),
    ]
}

arguments! {
    /// Of operations on one memory.
    OneMemory {
        /// The memory's id
        #[serde(alias = "memory_id")]
        id: Uuid,
    }
}

fn get(context: &Context<'_>, arguments: OneMemory) -> Result<Pending<Memory>, Fault> {
    let memory = context
        .services
        .store
        .get_memory(&context.viewer(), arguments.id);
    Ok(Box::pin(async move { Ok(memory.await?) }))
}

arguments! {
    /// Of memory/delete.
    DeleteMemory {
        /// The memory's id
        #[serde(alias = "memory_id")]
        id: Uuid,
        /// Remove its history too
        purge: Option<bool>,
        /// Delete only if this is still its version
        expected_version: Option<u64>,
    }
}

/// Of memory/delete.
#[derive(Debug, Serialize, JsonSchema)]
struct Deleted {
    /// The memory that is gone.
    id: Uuid,
    /// True.
    deleted: bool,
    /// Whether its history is gone too.
    purged: bool,
    /// The version that was deleted.
    version: u64,
}

fn delete(context: &Context<'_>, arguments: DeleteMemory) -> Result<Pending<Deleted>, Fault> {
    let (id, purged) = (arguments.id, arguments.purge.unwrap_or(false));
    let deleted =
        context
            .store()
            .delete_memory(&context.viewer(), id, purged, arguments.expected_version);
    let services = Rc::clone(context.services);
    Ok(Box::pin(async move {
        let version = deleted.await?;
        services.memory_changed(None, id);
        Ok(Deleted {
            id,
            deleted: true,
            purged,
            version,
        })
    }))
}

arguments! {
    /// Of memory/share.
    ShareMemory {
        /// The memory's id
        #[serde(alias = "memory_id")]
        id: Uuid,
        /// Ids of the agents
        #[schemars(length(min = 1, max = CRITERION_MAX))]
        agents: Vec<String>,
        /// Their namespace (default: yours)
        namespace: Option<String>,
        /// What they may do: read (default), write or delete
        permission: Option<Permission>,
        /// Take earlier permissions back instead
        revoke: Option<bool>,
    }
}

fn share(context: &Context<'_>, arguments: ShareMemory) -> Result<Pending<Memory>, Fault> {
    let viewer = context.viewer();
    let count = arguments.agents.len();
    if !(1..=CRITERION_MAX).contains(&count) {
        let problem = format!("needs 1 to {CRITERION_MAX} agents, got {count}");
        return Err(Violation::new("agents", problem).into());
    }
    let namespace = arguments
        .namespace
        .as_deref()
        .unwrap_or(&viewer.key.namespace);
    let agents = arguments
        .agents
        .iter()
        .map(|agent| AgentKey::new(namespace, agent))
        .collect::<Result<_, _>>()?;
    let revoke = arguments.revoke.unwrap_or(false);
    let share = Share {
        id: arguments.id,
        agents,
        permission: (!revoke).then(|| arguments.permission.unwrap_or_default()),
    };
    let services = Rc::clone(context.services);
    let shared = context.store().share_memory(&viewer, share);
    Ok(Box::pin(async move {
        let memory = shared.await?;
        services.memory_changed(Some(&memory.namespace), memory.id);
        Ok(memory)
    }))
}

/// Of memory/history.
#[derive(Debug, Serialize, JsonSchema)]
struct History {
    /// The memory.
    id: Uuid,
    /// Its versions, oldest first.
    versions: Vec<Revision>,
}

fn history(context: &Context<'_>, arguments: OneMemory) -> Result<Pending<History>, Fault> {
    let id = arguments.id;
    let versions = context.services.store.memory_history(&context.viewer(), id);
    Ok(Box::pin(async move {
        Ok(History {
            id,
            versions: versions.await?,
        })
    }))
}
