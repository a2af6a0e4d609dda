//! Words that say in which scopes a memory is, beside the terms that it is found by.
//!
//! The index of terms then finds what holds a term and is in a scope at once, and walks past no
//! other namespace's memories. Such a word only narrows a search: conditions on the row decide.
//! Grants have none. Invariant: a word of a scope begins with U+0001, which no term holds; old rows
//! have got the same words from `migrations/postgres/0005_search.sql`.

use super::tsquery::TsQuery;
use crate::domain::{Access, AgentKey, Memory};
use crate::store::ranking::{self, DocumentTerms};

/// Begins a word and parts the names in it.
const MARK: char = '\u{1}';

/// What `memory` is found by, with the scopes that it is in without a grant.
pub(super) fn of_memory(memory: &Memory) -> DocumentTerms {
    let kind = memory.kind.as_deref();
    let mut terms = ranking::of_memory(&memory.content, kind, &memory.tags);
    let owner = AgentKey {
        namespace: memory.namespace.clone(),
        agent: memory.agent_id.clone(),
    };
    terms.terms.push(own(&owner));
    match memory.access_level {
        Access::Private | Access::Shared => {}
        Access::Team => terms.terms.push(team(&owner)),
        Access::Public => terms.terms.push(open("p")),
        Access::System => terms.terms.push(open("s")),
    }
    terms
}

/// What `viewer` may see without a grant, or what it owns.
pub(super) fn of_viewer(viewer: &AgentKey, owned_only: bool) -> TsQuery {
    if owned_only {
        return TsQuery::word(&own(viewer));
    }
    let words = [own(viewer), team(viewer), open("p"), open("s")];
    TsQuery::any(words.iter().map(|word| TsQuery::word(word)))
}

fn own(key: &AgentKey) -> String {
    format!("{MARK}o{}{MARK}{}", key.namespace, key.agent)
}

fn team(key: &AgentKey) -> String {
    format!("{MARK}t{}", key.namespace)
}

fn open(level: &str) -> String {
    format!("{MARK}{level}")
}
