//! Memories one at a time: create, get, update, delete, share, history.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::arguments::{arguments, present};
use super::operation::{Operation, Pending, Scope};
use super::services::Context;
use crate::domain::memory::{CRITERION_MAX, TAGS_MAX, TTL_SECONDS_MAX};
use crate::domain::{
    Access, AgentKey, JsonObject, Memory, MemoryPatch, NewMemory, Permission, Revision, Share,
    Timestamp, Violation,
};
use crate::rpc::{Condition, Fault};

/// Importance of a memory whose owner does not say.
const IMPORTANCE_DEFAULT: f64 = 0.5;
/// Trust in a source that the owner does not rate.
const TRUST_DEFAULT: f64 = 1.0;

pub(super) fn rows() -> Vec<Operation> {
    vec![
        Operation::later("memory/create", create)
            .aliases(&["create_memory", "memory/store"])
            .core_tool("store_memory", "Store a memory")
            .describe(
                "Store a fact, decision or observation so that it can be found later. Durable when \
                 this returns. Private unless access_level says otherwise.",
            )
            .scope(Scope::MemoryWrite)
            .cost(5)
            .writes(false),
        Operation::later("memory/get", get)
            .tool("get_memory", "Get a memory")
            .describe("Read one memory by its id.")
            .scope(Scope::MemoryRead),
        Operation::later("memory/update", update)
            .aliases(&[])
            .tool("update_memory", "Update a memory")
            .describe(
                "Change fields of a memory. With expected_version the change is refused if somebody \
                 else changed it meanwhile. Earlier versions stay in its history.",
            )
            .scope(Scope::MemoryWrite)
            .cost(5)
            .writes(false),
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
    /// Of memory/create.
    CreateMemory {
        /// The text to remember, up to 10,000 characters unless the server is set otherwise
        #[schemars(length(min = 1))]
        content: String,
        /// Labels to filter by
        #[schemars(length(max = TAGS_MAX))]
        tags: Option<Vec<String>>,
        /// Weight in ranking, 0 to 1 (default 0.5)
        #[schemars(range(min = 0, max = 1))]
        importance: Option<f64>,
        /// Who may read it: private (default), team, shared, public or system
        access_level: Option<Access>,
        /// Kind of memory, such as fact or decision
        #[serde(rename = "type")]
        kind: Option<String>,
        /// Any JSON object to keep beside the text
        metadata: Option<JsonObject>,
        /// Where you have it from
        source: Option<String>,
        /// Trust in the source, 0 to 1 (default 1)
        #[schemars(range(min = 0, max = 1))]
        trust: Option<f64>,
        /// Start of the time it speaks about, RFC 3339
        valid_from: Option<Timestamp>,
        /// End of the time it speaks about, RFC 3339
        valid_to: Option<Timestamp>,
        /// Seconds to live
        #[schemars(range(min = 1, max = TTL_SECONDS_MAX))]
        ttl: Option<u64>,
        /// Id of the memory that this one replaces
        supersedes: Option<Uuid>,
    }
}

fn create(context: &Context<'_>, arguments: CreateMemory) -> Result<Pending<Memory>, Fault> {
    let viewer = context.viewer();
    let mut new = NewMemory {
        owner: viewer.key,
        admin: viewer.admin,
        session_id: Some(context.session.id),
        content: arguments.content,
        kind: arguments.kind,
        tags: arguments.tags.unwrap_or_default(),
        importance: arguments.importance.unwrap_or(IMPORTANCE_DEFAULT),
        access_level: arguments.access_level.unwrap_or_default(),
        metadata: arguments.metadata.unwrap_or_default(),
        source: arguments.source,
        trust: arguments.trust.unwrap_or(TRUST_DEFAULT),
        valid_from: arguments.valid_from,
        valid_to: arguments.valid_to,
        ttl_seconds: arguments.ttl,
        supersedes: arguments.supersedes,
        vector: None,
    };
    new.normalize(context.services.content_chars_max.get())?;
    let created = context.services.store.create_memories(vec![new]);
    Ok(Box::pin(async move {
        match created.await?.pop() {
            Some(memory) => Ok(memory?),
            None => Err(Fault::new(Condition::Internal, "the store gave no result")),
        }
    }))
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
    /// Of memory/update.
    UpdateMemory {
        /// The memory's id
        #[serde(alias = "memory_id")]
        id: Uuid,
        /// Change only if this is still its version
        expected_version: Option<u64>,
        /// New text
        content: Option<String>,
        /// New labels, replacing all
        #[schemars(length(max = TAGS_MAX))]
        tags: Option<Vec<String>>,
        /// New weight in ranking, 0 to 1
        #[schemars(range(min = 0, max = 1))]
        importance: Option<f64>,
        /// Who may read it: private, team, shared, public or system
        access_level: Option<Access>,
        /// New kind; null clears it
        #[serde(default, rename = "type", deserialize_with = "present")]
        kind: Option<Option<String>>,
        /// New JSON object, replacing the old one
        metadata: Option<JsonObject>,
        /// New source; null clears it
        #[serde(default, deserialize_with = "present")]
        source: Option<Option<String>>,
        /// New trust in the source, 0 to 1
        #[schemars(range(min = 0, max = 1))]
        trust: Option<f64>,
        /// New start of validity, RFC 3339; null clears it
        #[serde(default, deserialize_with = "present")]
        valid_from: Option<Option<Timestamp>>,
        /// New end of validity, RFC 3339; null clears it
        #[serde(default, deserialize_with = "present")]
        valid_to: Option<Option<Timestamp>>,
        /// Seconds to live from now; null lets it live on
        #[serde(default, deserialize_with = "present")]
        ttl: Option<Option<u64>>,
    }
}

fn update(context: &Context<'_>, arguments: UpdateMemory) -> Result<Pending<Memory>, Fault> {
    let mut patch = MemoryPatch {
        content: arguments.content,
        kind: arguments.kind,
        tags: arguments.tags,
        importance: arguments.importance,
        access_level: arguments.access_level,
        metadata: arguments.metadata,
        source: arguments.source,
        trust: arguments.trust,
        valid_from: arguments.valid_from,
        valid_to: arguments.valid_to,
        ttl_seconds: arguments.ttl,
    };
    patch.normalize(context.services.content_chars_max.get())?;
    let updated = context.services.store.update_memory(
        &context.viewer(),
        arguments.id,
        patch,
        arguments.expected_version,
    );
    Ok(Box::pin(async move { Ok(updated.await?) }))
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
    let deleted = context.services.store.delete_memory(
        &context.viewer(),
        id,
        purged,
        arguments.expected_version,
    );
    Ok(Box::pin(async move {
        Ok(Deleted {
            id,
            deleted: true,
            purged,
            version: deleted.await?,
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
    let shared = context.services.store.share_memory(&viewer, share);
    Ok(Box::pin(async move { Ok(shared.await?) }))
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
