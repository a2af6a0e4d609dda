//! Filters and visibility as SQL.
//!
//! Invariant: every statement over many memories takes its condition from here; row security
//! stands behind it and sees namespaces only.

use super::query::Query;
use crate::domain::{AgentKey, Filter, Timestamp};

/// A text that a column of PostgreSQL can be compared with: no stored one holds U+0000.
fn comparable(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

/// Neither deleted nor expired, and valid and not superseded at the time asked about. What names no
/// start was valid from when it was stored.
pub(super) fn present(query: &mut Query, filter: &Filter, now: Timestamp) -> String {
    let now = query.bind(now.as_micros());
    let lives = format!("m.deleted_at IS NULL AND (m.expires_at IS NULL OR m.expires_at > {now})");
    let (begun, at) = match filter.as_of {
        None => (
            format!("m.superseded_by IS NULL AND (m.valid_from IS NULL OR m.valid_from <= {now})"),
            now,
        ),
        Some(time) => {
            let at = query.bind(time.as_micros());
            let begun = format!(
                "(m.superseded_at IS NULL OR m.superseded_at > {at})
                 AND coalesce(m.valid_from, m.created_at) <= {at}"
            );
            (begun, at)
        }
    };
    format!("{lives} AND {begun} AND (m.valid_to IS NULL OR m.valid_to > {at})")
}

/// What `filter` admits of what is present, without regard to who asks.
pub(super) fn admitted(query: &mut Query, filter: &Filter) -> String {
    let mut conditions = Vec::new();
    if !filter.ids.is_empty() {
        conditions.push(format!("m.id = ANY ({})", query.bind(filter.ids.clone())));
    }
    if !filter.tags.is_empty() {
        let tags: Vec<_> = filter.tags.iter().map(|tag| comparable(tag)).collect();
        conditions.push(format!("m.tags @> {}", query.bind(tags)));
    }
    let names = [
        ("m.kind", &filter.kind),
        ("m.agent", &filter.agent),
        ("m.source", &filter.source),
    ];
    for (column, name) in names {
        if let Some(name) = name {
            conditions.push(format!("{column} = {}", query.bind(comparable(name))));
        }
    }
    let least = [
        ("m.trust", filter.trust_min),
        ("m.importance", filter.importance_min),
    ];
    for (column, bound) in least {
        if let Some(bound) = bound {
            conditions.push(format!("{column} >= {}", query.bind(bound)));
        }
    }
    if let Some(from) = filter.created_from {
        conditions.push(format!("m.created_at >= {}", query.bind(from.as_micros())));
    }
    if let Some(to) = filter.created_to {
        conditions.push(format!("m.created_at < {}", query.bind(to.as_micros())));
    }
    if conditions.is_empty() {
        return "true".into();
    }
    // A column without a value is not what was asked for.
    format!("coalesce({}, false)", conditions.join(" AND "))
}

/// The places of the viewer's namespace and agent.
pub(super) fn viewer_places(query: &mut Query, viewer: &AgentKey) -> (String, String) {
    (
        query.bind(viewer.namespace.to_string()),
        query.bind(viewer.agent.to_string()),
    )
}

/// The condition that `viewer` may read row `m`, or owns it.
pub(super) fn visible(query: &mut Query, viewer: &AgentKey, owned_only: bool) -> String {
    let (namespace, agent) = viewer_places(query, viewer);
    let owned = format!("(m.namespace = {namespace} AND m.agent = {agent})");
    if owned_only {
        return owned;
    }
    format!(
        "({owned} OR m.access IN ('public', 'system')
         OR (m.access = 'team' AND m.namespace = {namespace})
         OR (m.access <> 'private' AND EXISTS (SELECT 1 FROM memory_grant g
             WHERE g.memory = m.seq AND g.namespace = {namespace} AND g.agent = {agent})))"
    )
}
