//! Finding memories: search, recall, stats.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::arguments::{Nothing, arguments};
use super::operation::{Operation, Pending, Scope};
use super::services::Context;
use crate::domain::memory::{CRITERION_MAX, PAGE_DEFAULT, PAGE_MAX, QUERY_CHARS_MAX};
use crate::domain::{
    Filter, Hit, Memory, MemoryStats, Mode, Order, Recall, Search, SearchPage, Timestamp, Violation,
};
use crate::rpc::Fault;

pub(super) fn rows() -> Vec<Operation> {
    vec![
        Operation::later("memory/search", search)
            .aliases(&["search_memories"])
            .core_tool("semantic_search", "Search memories")
            .describe(
                "Find memories that match a question or words, best first, among your own and those \
                 shared with you. The answer's mode says how it searched.",
            )
            .scope(Scope::MemoryRead)
            .cost(3),
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
    /// Of memory/search.
    SearchMemories {
        /// What to look for
        #[schemars(length(min = 1, max = QUERY_CHARS_MAX))]
        query: String,
        /// Most results, 1 to 100 (default 10)
        #[schemars(range(min = 1, max = PAGE_MAX))]
        limit: Option<u32>,
        /// How to search: hybrid (default), semantic or lexical
        mode: Option<Mode>,
        /// All of these labels
        #[schemars(length(max = CRITERION_MAX))]
        tags: Option<Vec<String>>,
        /// Only this kind of memory
        #[serde(rename = "type")]
        kind: Option<String>,
        /// Only memories of this agent
        agent: Option<String>,
        /// At least this importance, 0 to 1
        #[schemars(range(min = 0, max = 1))]
        min_importance: Option<f64>,
        /// At least this score, 0 to 1
        #[schemars(range(min = 0, max = 1))]
        min_similarity: Option<f64>,
        /// Created at or after, RFC 3339
        created_after: Option<Timestamp>,
        /// Created before, RFC 3339
        created_before: Option<Timestamp>,
        /// What was valid at this time, RFC 3339 (default: now)
        as_of: Option<Timestamp>,
        /// False searches your own memories only (default true)
        include_shared: Option<bool>,
        /// Stop before the results exceed about this many tokens
        max_tokens: Option<u32>,
        /// Show the parts of each score
        explain: Option<bool>,
    }
}

/// Of memory/search.
#[derive(Debug, Serialize, JsonSchema)]
struct Found {
    /// Best first.
    hits: Vec<FoundHit>,
    /// How it was searched.
    mode: Mode,
    /// How it should have been searched, if that was not possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_mode: Option<Mode>,
    /// Why it was searched otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
    /// True if there may be more matches than were looked at or fit into max_tokens.
    truncated: bool,
}

/// A result of a search.
#[derive(Debug, Serialize, JsonSchema)]
struct FoundHit {
    #[serde(flatten)]
    hit: Hit,
    /// The parts of the score.
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<Explanation>,
}

/// The parts of a score.
#[derive(Debug, Serialize, JsonSchema)]
struct Explanation {
    /// Full-text rank (BM25), normalised to 0..1.
    lexical: f64,
}

/// What an answer says while there is no embedding model.
const LEXICAL_NOTE: &str = "no embedding model is loaded: searched by words";

fn search(context: &Context<'_>, arguments: SearchMemories) -> Result<Pending<Found>, Fault> {
    let score_min = arguments.min_similarity.unwrap_or(0.0);
    if !(0.0..=1.0).contains(&score_min) {
        let problem = format!("must lie between 0 and 1, is {score_min}");
        return Err(Violation::new("min_similarity", problem).into());
    }
    let search = Search {
        query: arguments.query,
        filter: Filter {
            ids: Vec::new(),
            tags: arguments.tags.unwrap_or_default(),
            kind: arguments.kind,
            agent: arguments.agent,
            source: None,
            trust_min: None,
            importance_min: arguments.min_importance,
            created_from: arguments.created_after,
            created_to: arguments.created_before,
            as_of: arguments.as_of,
            include_shared: arguments.include_shared.unwrap_or(true),
        },
        limit: arguments.limit.unwrap_or(PAGE_DEFAULT),
        mode: Mode::Lexical,
        vector: None,
        similarity_min: None,
        cursor: None,
        counts_access: true,
    };
    search.check()?;
    let requested = arguments.mode.unwrap_or_default();
    let explain = arguments.explain.unwrap_or(false);
    let tokens_max = arguments.max_tokens;
    let page = context
        .services
        .store
        .search_memories(&context.viewer(), search);
    Ok(Box::pin(async move {
        let SearchPage {
            mut hits,
            mut truncated,
            ..
        } = page.await?;
        hits.retain(|hit| hit.score >= score_min);
        if let Some(tokens_max) = tokens_max {
            truncated |= keep_within(&mut hits, tokens_max);
        }
        let lexical = requested == Mode::Lexical;
        Ok(Found {
            hits: hits
                .into_iter()
                .map(|hit| explained(hit, explain))
                .collect(),
            mode: Mode::Lexical,
            requested_mode: (!lexical).then_some(requested),
            note: (!lexical).then_some(LEXICAL_NOTE),
            truncated,
        })
    }))
}

fn explained(hit: Hit, explain: bool) -> FoundHit {
    let explain = explain.then_some(Explanation { lexical: hit.score });
    FoundHit { hit, explain }
}

/// Keeps the best hits whose contents fit the budget; true if any was left out. Four bytes count
/// as a token, the usual estimate for English text.
fn keep_within(hits: &mut Vec<Hit>, tokens_max: u32) -> bool {
    const BYTES_PER_TOKEN: usize = 4;
    let mut tokens = 0;
    let fitting = hits
        .iter()
        .take_while(|hit| {
            tokens += hit.memory.content.len().div_ceil(BYTES_PER_TOKEN);
            tokens <= tokens_max as usize
        })
        .count();
    let left_out = fitting < hits.len();
    hits.truncate(fitting);
    left_out
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
        /// At least this importance, 0 to 1
        #[schemars(range(min = 0, max = 1))]
        min_importance: Option<f64>,
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
            source: None,
            trust_min: None,
            importance_min: arguments.min_importance,
            created_from: arguments.created_after,
            created_to: arguments.created_before,
            as_of: arguments.as_of,
            include_shared: arguments.include_shared.unwrap_or(true),
        },
        order: arguments.order.unwrap_or_default(),
        limit: arguments.limit.unwrap_or(PAGE_DEFAULT),
        cursor: arguments.cursor,
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
