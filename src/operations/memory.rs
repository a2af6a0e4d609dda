//! Memories one at a time: get, delete, share, history.

use std::rc::Rc;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::arguments::arguments;
use super::operation::{Operation, Pending, Scope};
use super::services::{Context, Services};
use crate::delivery::events::{Done, Last};
use crate::domain::memory::CRITERION_MAX;
use crate::domain::{
    Access, AgentKey, Filter, Memory, Order, Permission, Recall, Revision, Share, Violation,
};
use crate::rpc::Fault;
use crate::store::Viewer;

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

/// A memory as it is now, if it can be read; it counts as no read.
async fn glimpse(services: &Services, viewer: &Viewer, id: Uuid) -> Option<Memory> {
    let recall = Recall {
        filter: Filter {
            ids: vec![id],
            include_shared: true,
            ..Filter::default()
        },
        order: Order::Newest,
        limit: 1,
        cursor: None,
        counts_access: false,
    };
    let page = services.store.recall_memories(viewer, recall).await;
    page.ok()?.items.pop()
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
    let (store, viewer) = (context.store(), context.viewer());
    let services = Rc::clone(context.services);
    Ok(Box::pin(async move {
        // Who may hear of it cannot be asked when it is gone.
        let before = glimpse(&services, &viewer, id).await;
        let deleted = store.delete_memory(&viewer, id, purged, arguments.expected_version);
        let version = deleted.await?;
        let last = before.map(|before| match before.version == version {
            true => Last::from(&before),
            // It was changed in between, perhaps so that fewer may read it.
            false => Last {
                access: Access::Private,
                ..Last::from(&before)
            },
        });
        services.memory_deleted(id, last);
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
    let (done, other) = match revoke {
        true => (Done::Unshared, None),
        false => (Done::Shared, Some(namespace.into())),
    };
    let shared = context.store().share_memory(&viewer, share);
    Ok(Box::pin(async move {
        let memory = shared.await?;
        services.memory_told(memory.id, &memory.namespace, other, done);
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
