//! What a viewer may see, in parts that an index serves each: `FROM ... WHERE ...` texts to be
//! joined by `UNION ALL`.
//!
//! Invariants: the parts of one list have no row in common; together they hold no less than
//! [`visible`](super::criteria::visible) lets through. Vectors say themselves whose they are: what
//! is chosen from them is still to be held against the memory.

use super::criteria::viewer_places;
use super::query::Query;
use super::scope_words;
use super::tsquery::TsQuery;
use crate::domain::AgentKey;

/// `columns` of all `sources`, which meet `condition`.
pub(super) fn joined(sources: &[String], columns: &str, condition: &str) -> String {
    let parts: Vec<_> = sources
        .iter()
        .map(|source| format!("SELECT {columns} {source} AND {condition}"))
        .collect();
    parts.join(" UNION ALL ")
}

/// What `viewer` may see, or owns, as rows `m`: the owned ones first, then the team's, the open ones
/// and the granted ones. All leave out what is deleted.
pub(super) fn visible_sources(
    query: &mut Query,
    viewer: &AgentKey,
    owned_only: bool,
) -> Vec<String> {
    let (namespace, agent) = viewer_places(query, viewer);
    let owned = format!(
        "FROM memory m
         WHERE m.namespace = {namespace} AND m.agent = {agent} AND m.deleted_at IS NULL"
    );
    if owned_only {
        return vec![owned];
    }
    let foreign = format!("NOT (m.namespace = {namespace} AND m.agent = {agent})");
    let open = |level| {
        format!("FROM memory m WHERE m.access = '{level}' AND {foreign} AND m.deleted_at IS NULL")
    };
    vec![
        owned,
        format!(
            "FROM memory m WHERE m.namespace = {namespace} AND m.access = 'team'
             AND (m.agent < {agent} OR m.agent > {agent}) AND m.deleted_at IS NULL"
        ),
        open("public"),
        open("system"),
        granted(&namespace, &agent),
    ]
}

/// The same rows `m` of what `wanted` finds: by the index of terms, and of what was granted. The
/// words of the scope keep the index to it; the conditions are what decides.
pub(super) fn worded_sources(
    query: &mut Query,
    viewer: &AgentKey,
    owned_only: bool,
    wanted: &TsQuery,
) -> Vec<String> {
    let within = scope_words::of_viewer(viewer, owned_only);
    let within = query.bind(wanted.clone().and(within));
    let (namespace, agent) = viewer_places(query, viewer);
    // No index serves this: a plan made before the table was analysed would take that of the owner,
    // read all that is there, and look for the words row by row.
    let owned = format!("(m.namespace || '' = {namespace} AND m.agent || '' = {agent})");
    let worded = format!("FROM memory m WHERE m.terms @@ {within} AND m.deleted_at IS NULL");
    if owned_only {
        return vec![format!("{worded} AND {owned}")];
    }
    let wanted = query.bind(wanted.clone());
    vec![
        format!(
            "{worded} AND ({owned} OR m.access IN ('public', 'system')
             OR (m.access = 'team' AND m.namespace = {namespace}))"
        ),
        format!(
            "{granted} AND m.terms @@ {wanted}",
            granted = granted(&namespace, &agent)
        ),
    ]
}

/// The vectors of `model` of what `viewer` may see, or owns, as rows `v`.
pub(super) fn vector_sources(
    query: &mut Query,
    viewer: &AgentKey,
    owned_only: bool,
    model: i32,
) -> Vec<String> {
    let (namespace, agent) = viewer_places(query, viewer);
    let own = format!("v.namespace = {namespace} AND v.agent = {agent}");
    let vectors = format!("FROM memory_vector v WHERE v.model = {model}");
    let owned = format!("{vectors} AND {own}");
    if owned_only {
        return vec![owned];
    }
    vec![
        owned,
        format!(
            "{vectors} AND v.namespace = {namespace} AND v.access = 'team'
                 AND (v.agent < {agent} OR v.agent > {agent})"
        ),
        format!("{vectors} AND v.access IN ('public', 'system') AND NOT ({own})"),
        granted_vectors(&namespace, &agent, model),
    ]
}

/// The same rows `v` in two sources: what the graph of `model` is walked through for, and what was
/// granted.
pub(super) fn graph_sources(
    query: &mut Query,
    viewer: &AgentKey,
    owned_only: bool,
    model: i32,
) -> Vec<String> {
    let (namespace, agent) = viewer_places(query, viewer);
    let vectors = format!("FROM memory_vector v WHERE v.model = {model}");
    if owned_only {
        return vec![format!(
            "{vectors} AND v.namespace = {namespace} AND v.agent = {agent}"
        )];
    }
    vec![
        format!(
            "{vectors} AND (v.access IN ('public', 'system') OR (v.namespace = {namespace}
                 AND (v.agent = {agent} OR v.access = 'team')))"
        ),
        granted_vectors(&namespace, &agent, model),
    ]
}

/// The memories granted to an agent, as a source of rows `m`.
fn granted(namespace: &str, agent: &str) -> String {
    format!(
        "FROM memory_grant g JOIN memory m ON m.seq = g.memory
         WHERE g.namespace = {namespace} AND g.agent = {agent} AND m.deleted_at IS NULL
           AND (m.access = 'shared' OR (m.access = 'team' AND m.namespace <> {namespace}))
           AND NOT (m.namespace = {namespace} AND m.agent = {agent})"
    )
}

/// The vectors of the memories granted to an agent, as a source of rows `v`.
fn granted_vectors(namespace: &str, agent: &str, model: i32) -> String {
    format!(
        "FROM memory_grant g JOIN memory_vector v ON v.memory = g.memory
         WHERE v.model = {model} AND g.namespace = {namespace} AND g.agent = {agent}
           AND (v.access = 'shared' OR (v.access = 'team' AND v.namespace <> {namespace}))
           AND NOT (v.namespace = {namespace} AND v.agent = {agent})"
    )
}
