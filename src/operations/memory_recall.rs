//! Memories by criteria, and counts of them.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::arguments::{Nothing, arguments};
use super::operation::{Operation, Pending, Scope};
use super::services::Context;
use crate::domain::memory::{CRITERION_MAX, PAGE_DEFAULT, PAGE_MAX};
use crate::domain::{Filter, Memory, MemoryStats, Order, Recall, Timestamp};
use crate::rpc::Fault;

pub(super) fn rows() -> Vec<Operation> {
    vec![
        Operation::later("memory/recall", recall)
            .core_tool("recall_memory", "Recall memories")
            .describe(
                "List memories by id, tags, type, owner, importance or time, in pages; use search \
                 to find them by what they say.",
            )
            .scope(Scope::MemoryRead)
            .cost(2),
        Operation::later("memory/stats", stats)
            .aliases(&["get_memory_stats"])
            .tool("memory_stats", "Count memories")
            .describe("Count your memories by access level and tag, with their size and age.")
            .scope(Scope::MemoryRead)
            .cost(2),
    ]
}

arguments! {
    /// Of memory/recall.
    RecallMemories {
        /// This memory
        #[serde(alias = "memory_id")]
        id: Option<Uuid>,
        /// Any of these memories
        #[schemars(length(max = CRITERION_MAX))]
        ids: Option<Vec<Uuid>>,
        /// All of these labels
        #[schemars(length(max = CRITERION_MAX))]
        tags: Option<Vec<String>>,
        /// Only this kind of memory
        #[serde(rename = "type")]
        kind: Option<String>,
        /// Only memories of this agent
        agent: Option<String>,
        /// Only from this source
        source: Option<String>,
        /// At least this importance, 0 to 1
        #[schemars(range(min = 0, max = 1))]
        min_importance: Option<f64>,
        /// At least this trust, 0 to 1
        #[schemars(range(min = 0, max = 1))]
        min_trust: Option<f64>,
        /// Created at or after, RFC 3339
        created_after: Option<Timestamp>,
        /// Created before, RFC 3339
        created_before: Option<Timestamp>,
        /// What was valid at this time, RFC 3339 (default: now)
        as_of: Option<Timestamp>,
        /// False lists your own memories only (default true)
        include_shared: Option<bool>,
        /// newest (default), oldest, importance or updated
        order: Option<Order>,
        /// Most results, 1 to 100 (default 10)
        #[schemars(range(min = 1, max = PAGE_MAX))]
        limit: Option<u32>,
        /// next_cursor of an earlier page
        cursor: Option<String>,
    }
}

/// Of memory/recall.
#[derive(Debug, Serialize, JsonSchema)]
struct Recalled {
    /// A page of memories.
    memories: Vec<Memory>,
    /// Start of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

fn recall(context: &Context<'_>, arguments: RecallMemories) -> Result<Pending<Recalled>, Fault> {
    let mut ids = arguments.ids.unwrap_or_default();
    ids.extend(arguments.id);
    let recall = Recall {
        filter: Filter {
            ids,
            tags: arguments.tags.unwrap_or_default(),
            kind: arguments.kind,
            agent: arguments.agent,
            source: arguments.source,
            trust_min: arguments.min_trust,
            importance_min: arguments.min_importance,
            created_from: arguments.created_after,
            created_to: arguments.created_before,
            as_of: arguments.as_of,
            include_shared: arguments.include_shared.unwrap_or(true),
        },
        order: arguments.order.unwrap_or_default(),
        limit: arguments.limit.unwrap_or(PAGE_DEFAULT),
        cursor: arguments.cursor,
        counts_access: true,
    };
    recall.check()?;
    let page = context
        .services
        .store
        .recall_memories(&context.viewer(), recall);
    Ok(Box::pin(async move {
        let page = page.await?;
        Ok(Recalled {
            memories: page.items,
            next_cursor: page.next_cursor,
        })
    }))
}

fn stats(context: &Context<'_>, _: Nothing) -> Result<Pending<MemoryStats>, Fault> {
    let stats = context.services.store.memory_stats(&context.viewer());
    Ok(Box::pin(async move { Ok(stats.await?) }))
}
