//! Finding memories by what they say.

use std::rc::Rc;

use schemars::JsonSchema;
use serde::Serialize;

use super::arguments::arguments;
use super::operation::{Operation, Pending, Scope};
use super::services::{Context, Services};
use super::snippet;
use crate::domain::memory::{CRITERION_MAX, PAGE_DEFAULT, PAGE_MAX, QUERY_CHARS_MAX};
use crate::domain::{Filter, Hit, Mode, Parts, Search, SearchPage, Timestamp, Violation};
use crate::rpc::Fault;
use crate::store::{StoreError, Viewer};

/// Bytes that count as a token: the usual estimate for English text.
const BYTES_PER_TOKEN: usize = 4;
/// A text is not cut to fewer tokens than this: less says nothing.
const SNIPPET_TOKENS_MIN: usize = 16;

pub(super) fn rows() -> Vec<Operation> {
    vec![
        Operation::later("memory/search", search)
            .aliases(&["search_memories"])
            .core_tool("semantic_search", "Search memories")
            .describe(
                "Find memories that answer a question or match words, best first, among your own \
                 and those shared with you. The answer's mode says how it searched.",
            )
            .scope(Scope::MemoryRead)
            .cost(3),
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
        /// Only from this source
        source: Option<String>,
        /// At least this importance, 0 to 1
        #[schemars(range(min = 0, max = 1))]
        min_importance: Option<f64>,
        /// At least this trust, 0 to 1
        #[schemars(range(min = 0, max = 1))]
        min_trust: Option<f64>,
        /// At least this similarity of meaning (of words in lexical mode), 0 to 1
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
        /// About how many tokens the texts may have together; long ones are cut to the part that answers
        #[schemars(range(min = 1))]
        max_tokens: Option<u32>,
        /// Show the parts of each score
        explain: Option<bool>,
        /// next_cursor of an earlier page
        cursor: Option<String>,
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
    note: Option<String>,
    /// True if there may be more matches than were looked at or fit into max_tokens.
    truncated: bool,
    /// Start of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// A result of a search.
#[derive(Debug, Serialize, JsonSchema)]
struct FoundHit {
    #[serde(flatten)]
    hit: Hit,
    /// True if content is only the part of the text that answers best.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    snippet: bool,
    /// The parts of the score.
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<Parts>,
}

fn search(context: &Context<'_>, arguments: SearchMemories) -> Result<Pending<Found>, Fault> {
    let requested = arguments.mode.unwrap_or_default();
    let search = Search {
        query: arguments.query,
        mode: requested,
        vector: None,
        filter: Filter {
            ids: Vec::new(),
            tags: arguments.tags.unwrap_or_default(),
            kind: arguments.kind,
            agent: arguments.agent,
            source: arguments.source,
            importance_min: arguments.min_importance,
            trust_min: arguments.min_trust,
            created_from: arguments.created_after,
            created_to: arguments.created_before,
            as_of: arguments.as_of,
            include_shared: arguments.include_shared.unwrap_or(true),
        },
        similarity_min: arguments.min_similarity,
        limit: arguments.limit.unwrap_or(PAGE_DEFAULT),
        cursor: arguments.cursor,
        counts_access: true,
    };
    search.check()?;
    let explain = arguments.explain.unwrap_or(false);
    let budget = arguments.max_tokens;
    if budget == Some(0) {
        return Err(Violation::new("max_tokens", "must be at least 1").into());
    }
    let services = Rc::clone(context.services);
    let viewer = context.viewer();
    Ok(Box::pin(async move {
        let query = search.query.clone();
        let (page, mode, note) = find(&services, &viewer, search).await?;
        let (hits, left_out) = within(page.hits, &query, budget);
        Ok(Found {
            hits: hits
                .into_iter()
                .map(|(hit, snippet)| FoundHit {
                    explain: explain.then_some(hit.parts),
                    hit,
                    snippet,
                })
                .collect(),
            mode,
            requested_mode: (mode != requested).then_some(requested),
            note,
            truncated: page.truncated || left_out,
            // What the budget left out stands before the next page.
            next_cursor: page.next_cursor.filter(|_| !left_out),
        })
    }))
}

/// Searches as asked if the question's vector can be had, and otherwise by words; says why.
async fn find(
    services: &Services,
    viewer: &Viewer,
    mut search: Search,
) -> Result<(SearchPage, Mode, Option<String>), Fault> {
    let mut note = None;
    if search.mode != Mode::Lexical {
        match services.meaning.question(&viewer.key, &search.query).await {
            Ok(embedded) => {
                search.vector = Some(embedded);
                let mode = search.mode;
                match services.store.search_memories(viewer, search.clone()).await {
                    // The vectors in the store are of another model, as long as a switch lasts.
                    Err(StoreError::Conflict { message, .. }) => note = Some(message),
                    answer => return Ok((answer?, mode, None)),
                }
            }
            Err(error) => note = Some(error.to_string()),
        }
    }
    search.mode = Mode::Lexical;
    search.vector = None;
    let page = services.store.search_memories(viewer, search).await?;
    let note = note.map(|why| format!("{why}; searched by words"));
    Ok((page, Mode::Lexical, note))
}

/// Gives each text an equal share of the budget, and what short ones leave over to those behind
/// them. A text longer than its share is cut to the part that answers best; what finds no room at
/// all is left out, which is told.
fn within(hits: Vec<Hit>, query: &str, budget: Option<u32>) -> (Vec<(Hit, bool)>, bool) {
    let Some(budget) = budget else {
        return (hits.into_iter().map(|hit| (hit, false)).collect(), false);
    };
    let mut left = budget as usize;
    let count = hits.len();
    let mut kept = Vec::with_capacity(count);
    for (place, mut hit) in hits.into_iter().enumerate() {
        let share = (left / (count - place)).max(SNIPPET_TOKENS_MIN);
        let tokens = hit.memory.content.len().div_ceil(BYTES_PER_TOKEN);
        let cut = tokens > share;
        if left < share.min(tokens) {
            return (kept, true);
        }
        if cut {
            hit.memory.content =
                snippet::around(&hit.memory.content, query, share * BYTES_PER_TOKEN);
        }
        left -= tokens.min(share);
        kept.push((hit, cut));
    }
    (kept, false)
}
