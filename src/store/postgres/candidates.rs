//! What may answer a search, as SQL: the best by words and the best by meaning.
//!
//! Two shapes of each, by the size of what the viewer may see:
//!
//! | scope | by words | by meaning |
//! |---|---|---|
//! | small | the scope's rows are read and compared | exact, over the scope's vectors |
//! | large | the index of terms, then the scope | the model's graph, then the scope; those not in the graph yet exactly |
//!
//! Invariants: a term's number of holders is counted over the scope alone, before the filter and
//! whatever is cut off; both statements give every candidate both of its scores.

use tokio_postgres::Row;
use uuid::Uuid;

use super::criteria;
use super::failure::Failure;
use super::query::Query;
use super::rows::{column, time};
use crate::domain::{AgentKey, Filter, Timestamp};
use crate::store::ranking::{CANDIDATES, length_factor};

/// Rows of a scope that is read as a whole: some 20 ms, and less than an index needs that most of
/// its rows are not in the scope of.
pub(super) const SMALL_MAX: i64 = 10_000;

/// A search as the statements need it.
pub(super) struct Question<'q> {
    pub(super) viewer: &'q AgentKey,
    pub(super) filter: &'q Filter,
    pub(super) now: Timestamp,
    pub(super) terms: &'q [String],
    /// The model's number with the query's vector.
    pub(super) vector: Option<(i32, &'q [f32])>,
    /// Memories in the scope, if they are too many to be counted every time.
    pub(super) large: Option<i64>,
}

/// One candidate as it was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) seq: i64,
    pub(super) id: Uuid,
    pub(super) created_at: Timestamp,
    pub(super) importance: f64,
    pub(super) words: u32,
    /// Which of the terms it holds.
    pub(super) mask: u32,
    pub(super) similarity: Option<f64>,
}

impl Question<'_> {
    /// Counts the scope, at most one more than `most`.
    pub(super) fn count(&self, most: i64) -> Query {
        let mut query = Query::default();
        let (source, condition) = self.scope(&mut query);
        let most = query.bind(most + 1);
        query.say(format!(
            "SELECT count(*) FROM (SELECT 1 FROM {source} WHERE {condition} LIMIT {most}) s"
        ))
    }

    /// What the viewer may see and what is present: a source of rows `m` with a condition on them.
    /// A small scope is joined from sources that an index serves each.
    fn scope(&self, query: &mut Query) -> (String, String) {
        let present = criteria::present(query, self.filter, self.now);
        let owned_only = !self.filter.include_shared;
        if self.large.is_some() {
            let visible = criteria::visible(query, self.viewer, owned_only);
            return ("memory m".into(), format!("{present} AND {visible}"));
        }
        let sources = criteria::visible_sources(query, self.viewer, owned_only);
        let parts: Vec<_> = sources
            .iter()
            .map(|source| format!("SELECT m.* {source} AND {present}"))
            .collect();
        (format!("({}) m", parts.join(" UNION ALL ")), "true".into())
    }

    /// One bit for each term that `m` holds.
    fn mask(&self, query: &mut Query) -> String {
        let bits: Vec<_> = (0..self.terms.len())
            .map(|place| {
                let term = query.bind(quoted(&self.terms[place]));
                format!(
                    "CASE WHEN m.terms @@ {term}::tsquery THEN {} ELSE 0 END",
                    1_i64 << place
                )
            })
            .collect();
        if bits.is_empty() {
            "0::bigint".into()
        } else {
            format!("({})::bigint", bits.join(" + "))
        }
    }

    /// The best by words. The first columns of every row are the size of the scope and how many
    /// hold each term; the others are NULL if no memory holds any.
    pub(super) fn by_words(&self) -> Query {
        let mut query = Query::default();
        let (source, condition) = self.scope(&mut query);
        let memories = match self.large {
            None => format!("(SELECT count(*) FROM {source} WHERE {condition})"),
            Some(count) => format!("{}::bigint", query.bind(count)),
        };
        let any: Vec<_> = self.terms.iter().map(|term| quoted(term)).collect();
        let any = query.bind(any.join(" | "));
        let mask = self.mask(&mut query);
        let admitted = criteria::admitted(&mut query, self.filter);
        let holders: Vec<_> = (0..self.terms.len())
            .map(|place| format!("count(*) FILTER (WHERE mask & {} <> 0)", 1_i64 << place))
            .collect();
        // The weights of `ranking`, but for a factor that is the same for all.
        let weights: Vec<_> = (0..self.terms.len())
            .map(|place| {
                let (bit, with) = (1_i64 << place, format!("holders[{}]", place + 1));
                format!(
                    "CASE WHEN mask & {bit} <> 0 THEN
                     ln(1 + (greatest(memories - {with}, 0) + 0.5::float8) / ({with} + 0.5::float8))
                     ELSE 0 END"
                )
            })
            .collect();
        let slope = query.bind(1.0 / length_factor(1) - 1.0);
        let similarity = self.similarity(&mut query);
        let limit = query.bind(CANDIDATES as i64 + 1);
        query.say(format!(
            "WITH hit AS MATERIALIZED (
                 SELECT m.seq, m.id, m.created_at, m.importance, m.words, {mask} AS mask,
                     {admitted} AS admitted
                 FROM {source} WHERE {condition} AND m.terms @@ {any}::tsquery
             ), known AS MATERIALIZED (
                 SELECT {memories} AS memories, ARRAY[{holders}]::bigint[] AS holders FROM hit
             )
             SELECT known.memories, known.holders, m.seq, m.id, m.created_at, m.importance, m.words,
                 m.mask, {similarity}
             FROM known LEFT JOIN LATERAL (
                 SELECT * FROM hit WHERE admitted
                 ORDER BY ({weights}) / (1 + {slope} * words) DESC, created_at DESC, id DESC
                 LIMIT {limit}
             ) m ON true",
            holders = holders.join(", "),
            weights = weights.join(" + "),
        ))
    }

    /// The cosine of `m` to the query.
    fn similarity(&self, query: &mut Query) -> String {
        let Some((model, vector)) = self.vector else {
            return "NULL::float8".into();
        };
        let (model, vector) = (query.bind(model), query.bind(vector.to_vec()));
        format!(
            "(SELECT 1 - (v.embedding <=> {vector}::public.vector) FROM memory_vector v
              WHERE v.memory = m.seq AND v.model = {model})"
        )
    }

    /// The best by meaning, with a graph if the scope is large and the model has one.
    pub(super) fn by_meaning(&self, in_graph: bool) -> Option<Query> {
        let (model, vector) = self.vector?;
        let mut query = Query::default();
        let (source, condition) = self.scope(&mut query);
        let admitted = criteria::admitted(&mut query, self.filter);
        let mask = self.mask(&mut query);
        let dimension = vector.len();
        let place = query.bind(vector.to_vec());
        let limit = query.bind(CANDIDATES as i64 + 1);
        // A literal, so that the planner can tell which partial index it is about.
        let nearest = |distance: &str, which: &str| {
            format!(
                "SELECT m.seq, m.id, m.created_at, m.importance, m.words, m.terms,
                     {distance} AS distance
                 FROM {source} JOIN memory_vector v ON v.memory = m.seq AND v.model = {model} {which}
                 WHERE {condition} AND {admitted}
                 ORDER BY {distance} LIMIT {limit}"
            )
        };
        let exact = format!("(v.embedding <=> {place}::public.vector)");
        let near = match (self.large, in_graph) {
            (Some(_), true) => {
                let graph = format!(
                    "(v.embedding::public.vector({dimension}) <=> {place}::public.vector({dimension}))"
                );
                format!(
                    "({}) UNION ALL ({})",
                    nearest(&graph, "AND v.in_graph"),
                    nearest(&exact, "AND NOT v.in_graph")
                )
            }
            _ => nearest(&exact, ""),
        };
        let sql = format!(
            "SELECT NULL::bigint, NULL::bigint[], m.seq, m.id, m.created_at, m.importance, m.words,
                 {mask}, 1 - m.distance
             FROM ({near}) m ORDER BY m.distance, m.created_at DESC, m.id DESC LIMIT {limit}"
        );
        Some(query.say(sql))
    }
}

/// A term as a query for it; terms hold nothing that needs more than the quotes.
fn quoted(term: &str) -> String {
    format!("'{term}'")
}

/// Reads a candidate from a row of either statement; `None` stands for no candidate at all.
pub(super) fn found(row: &Row) -> Result<Option<Found>, Failure> {
    let Some(seq) = column::<Option<i64>>(row, 2)? else {
        return Ok(None);
    };
    let similarity: Option<f64> = column(row, 8)?;
    Ok(Some(Found {
        seq,
        id: column(row, 3)?,
        created_at: time(row, 4)?,
        importance: column(row, 5)?,
        words: column::<i32>(row, 6)? as u32,
        mask: column::<i64>(row, 7)? as u32,
        // The cosine of a vector without direction is no number.
        similarity: similarity.filter(|cosine| cosine.is_finite()),
    }))
}

/// Reads the size of the scope and how many of it hold each term.
pub(super) fn holders(row: &Row) -> Result<(u64, Vec<u64>), Failure> {
    let memories: i64 = column(row, 0)?;
    let holders: Vec<i64> = column(row, 1)?;
    Ok((
        memories as u64,
        holders.into_iter().map(|count| count as u64).collect(),
    ))
}
