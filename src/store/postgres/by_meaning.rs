//! The best of a scope by meaning.
//!
//! The nearest vectors are chosen before the memories they belong to are looked at: nearly all of
//! these are present. If too few are, the memories are looked at first.

use tokio_postgres::Row;

use super::candidates::{Question, found};
use super::criteria;
use super::failure::Failure;
use super::graph;
use super::query::Query;
use super::rows::column;
use super::sources::{self, joined};
use crate::store::ranking::CANDIDATES;

/// Vectors that are chosen before the memories are looked at.
pub(super) const NEAREST: usize = 2 * (CANDIDATES + 1);

/// As many by a graph, where each costs more.
pub(super) const NEAREST_IN_GRAPH: usize = CANDIDATES + CANDIDATES / 2;

const LIMIT: usize = CANDIDATES + 1;

/// How the nearest are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// All vectors of the scope are compared, then the memories of the nearest are looked at.
    Compared,
    /// The model's graph names the nearest; what is not in it yet is compared.
    Graph,
    /// As by the graph, which is walked for memories that are present and admitted.
    GraphChecked,
    /// The memories are looked at first, and the vectors of the right ones compared: misses none.
    Checked,
}

impl Way {
    /// Does it walk through a graph?
    pub(super) fn is_graph(self) -> bool {
        matches!(self, Self::Graph | Self::GraphChecked)
    }

    /// The way to take after this one if it has `found` too few memories among `chosen` vectors:
    /// too few to rank, or, where finding more takes a look at all of a large scope, fewer than are
    /// `wanted`.
    pub(super) fn instead(self, chosen: usize, found: usize, wanted: usize) -> Option<Self> {
        let few = found <= CANDIDATES;
        match self {
            Self::Compared if few && chosen >= NEAREST => Some(Self::Checked),
            Self::Graph if few => Some(Self::GraphChecked),
            Self::GraphChecked if found < wanted => Some(Self::Checked),
            _ => None,
        }
    }
}

/// How many vectors were chosen, if they were chosen first, and how many memories found.
pub(super) fn chosen_and_found(rows: &[Row]) -> Result<(usize, usize), Failure> {
    let Some(first) = rows.first() else {
        return Ok((0, 0));
    };
    let chosen: Option<i64> = column(first, 0)?;
    let found = match found(first)? {
        Some(_) => rows.len(),
        None => 0,
    };
    Ok((chosen.unwrap_or(0) as usize, found))
}

impl Question<'_> {
    /// The best by meaning. The first column of every row is how many vectors were chosen, if they
    /// were chosen first; the others are NULL if none of the memories is present.
    pub(super) fn by_meaning(&self, way: Way) -> Option<Query> {
        match way {
            Way::Compared | Way::Graph => self.nearest(way),
            Way::Checked => self.checked(),
            Way::GraphChecked => self.walked(),
        }
    }

    fn nearest(&self, way: Way) -> Option<Query> {
        let (model, vector) = self.vector?;
        let mut query = Query::default();
        let owned_only = self.owned_only();
        let place = query.bind(vector.to_vec());
        let exact = format!("v.embedding <=> (SELECT {place}::public.vector)");
        // The model is a literal, so that the planner can tell which partial index it is about.
        let near = if way == Way::Graph {
            let sources = sources::graph_sources(&mut query, self.viewer, owned_only, model);
            let graph = graph_distance(&place, vector.len());
            let best = |order: &str, condition: &str, source: &str| {
                format!(
                    "(SELECT v.memory, {exact} AS distance {source} AND {condition}
                     ORDER BY {order} LIMIT {NEAREST_IN_GRAPH})"
                )
            };
            let mut parts = vec![
                best(&graph, "v.in_graph", &sources[0]),
                best(&exact, "NOT v.in_graph", &sources[0]),
            ];
            parts.extend(
                sources[1..]
                    .iter()
                    .map(|source| best(&exact, "true", source)),
            );
            parts.join(" UNION ALL ")
        } else {
            let sources = sources::vector_sources(&mut query, self.viewer, owned_only, model);
            joined(&sources, &format!("v.memory, {exact} AS distance"), "true")
        };
        let present = criteria::present(&mut query, self.filter, self.now);
        let visible = criteria::visible(&mut query, self.viewer, owned_only);
        let mask = self.mask(&mut query);
        let query = query.say(format!(
            "WITH near AS MATERIALIZED (
                 SELECT * FROM ({near}) v ORDER BY distance LIMIT {NEAREST}
             )
             SELECT known.chosen, NULL::bigint[], m.seq, m.id, m.created_at, m.importance, m.words,
                 {mask}, 1 - m.distance
             FROM (SELECT count(*) AS chosen FROM near) known LEFT JOIN LATERAL (
                 SELECT m.seq, m.id, m.created_at, m.importance, m.words, m.terms, near.distance
                 FROM near JOIN memory m ON m.seq = near.memory WHERE {present} AND {visible}
                 ORDER BY near.distance, m.created_at DESC, m.id DESC LIMIT {LIMIT}
             ) m ON true",
        ));
        Some(query.kept())
    }

    fn checked(&self) -> Option<Query> {
        let (model, vector) = self.vector?;
        let mut query = Query::default();
        let source = self.scope(&mut query, "m.*");
        let admitted = criteria::admitted(&mut query, self.filter);
        let mask = self.mask(&mut query);
        let place = query.bind(vector.to_vec());
        // Asked for memory by memory, so that no plan can turn it around and go through all vectors.
        let query = query.say(format!(
            "SELECT NULL::bigint, NULL::bigint[], m.seq, m.id, m.created_at, m.importance, m.words,
                 {mask}, 1 - m.distance
             FROM (
                 SELECT m.*, (SELECT v.embedding <=> (SELECT {place}::public.vector)
                     FROM memory_vector v WHERE v.memory = m.seq AND v.model = {model}) AS distance
                 FROM ({source}) m WHERE {admitted}
             ) m WHERE m.distance IS NOT NULL
             ORDER BY m.distance, m.created_at DESC, m.id DESC LIMIT {LIMIT}"
        ));
        Some(query.kept())
    }

    fn walked(&self) -> Option<Query> {
        let (model, vector) = self.vector?;
        let mut query = Query::default();
        let place = query.bind(vector.to_vec());
        let condition = [
            criteria::present(&mut query, self.filter, self.now),
            criteria::visible(&mut query, self.viewer, self.owned_only()),
            criteria::admitted(&mut query, self.filter),
        ]
        .join(" AND ");
        let mask = self.mask(&mut query);
        let exact = format!("(v.embedding <=> (SELECT {place}::public.vector))");
        let graph = graph_distance(&place, vector.len());
        let best = |order: &str, which: &str| {
            format!(
                "(SELECT m.seq, m.id, m.created_at, m.importance, m.words, m.terms,
                     {exact} AS distance
                 FROM memory m JOIN memory_vector v ON v.memory = m.seq
                 WHERE v.model = {model} AND {which} AND {condition}
                 ORDER BY {order} LIMIT {LIMIT})"
            )
        };
        // Planned for its values: one plan for all filters would not use the graph for any.
        Some(query.say(format!(
            "SELECT NULL::bigint, NULL::bigint[], m.seq, m.id, m.created_at, m.importance, m.words,
                 {mask}, 1 - m.distance
             FROM ({} UNION ALL {}) m
             ORDER BY m.distance, m.created_at DESC, m.id DESC LIMIT {LIMIT}",
            best(&graph, "v.in_graph"),
            best(&exact, "NOT v.in_graph"),
        )))
    }
}

/// The distance that the graph knows of, to the vector at `place`.
fn graph_distance(place: &str, dimension: usize) -> String {
    let (there, here) = (
        graph::rounded("v.embedding", dimension),
        graph::rounded(&format!("{place}::public.vector"), dimension),
    );
    format!("({there} <=> (SELECT {here}))")
}
