//! What may answer a search, as SQL: the best by words and the best by meaning.
//!
//! Each in two shapes, by the size of what the viewer may see:
//!
//! | scope | by words (`by_words.rs`) | by meaning (`by_meaning.rs`) |
//! |---|---|---|
//! | small | the scope's rows are read and compared | exact, over the scope's vectors |
//! | large | those with the rarest words, by the index of terms | the model's graph; what is not in it yet, exactly |
//!
//! Invariants: a term's number of holders is counted over the scope alone, before the filter and
//! whatever is cut off; every statement gives a candidate both of its scores; whether a row may be
//! seen is decided by the row itself.

use tokio_postgres::Row;
use uuid::Uuid;

use super::criteria;
use super::failure::Failure;
use super::query::Query;
use super::rows::{column, time};
use super::sources::{self, joined};
use super::tsquery::TsQuery;
use crate::domain::{AgentKey, Filter, Timestamp};

/// From which sizes on a scope is searched otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Memories of a scope that is read as a whole to find words in it: a few milliseconds.
    pub words_max: i64,
    /// Memories of a scope whose vectors are all compared, even if there is a graph.
    pub compared_max: i64,
    /// Vectors of a model from which on it has a graph.
    pub graph_min: i64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            words_max: 2_000,
            compared_max: 10_000,
            graph_min: 50_000,
        }
    }
}

/// A search as the statements need it.
pub(super) struct Question<'q> {
    pub(super) viewer: &'q AgentKey,
    pub(super) filter: &'q Filter,
    pub(super) now: Timestamp,
    pub(super) terms: &'q [String],
    /// The model's number with the query's vector.
    pub(super) vector: Option<(i32, &'q [f32])>,
    /// With fewer by meaning than this, all that might be missing are looked for.
    pub(super) wanted: usize,
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
    /// Only what the viewer owns?
    pub(super) fn owned_only(&self) -> bool {
        !self.filter.include_shared
    }

    /// Does the filter let all of the scope pass, as it is now?
    pub(super) fn admits_all(&self) -> bool {
        let everything = Filter {
            include_shared: self.filter.include_shared,
            ..Filter::default()
        };
        *self.filter == everything
    }

    /// Counts the scope, at most one more than `most`.
    pub(super) fn count(&self, most: i64) -> Query {
        let mut query = Query::default();
        let source = self.scope(&mut query, "1");
        let most = query.bind(most + 1);
        query
            .say(format!(
                "SELECT count(*) FROM (SELECT 1 FROM ({source}) m LIMIT {most}) s"
            ))
            .kept()
    }

    /// `columns` of what the viewer may see and what is present, from sources that an index serves
    /// each.
    pub(super) fn scope(&self, query: &mut Query, columns: &str) -> String {
        let present = criteria::present(query, self.filter, self.now);
        let sources = sources::visible_sources(query, self.viewer, self.owned_only());
        joined(&sources, columns, &present)
    }

    /// One bit for each term that `m` holds.
    pub(super) fn mask(&self, query: &mut Query) -> String {
        let bits = self.places().map(|place| {
            let term = self.terms.get(place).map(|term| TsQuery::word(term));
            let term = query.bind(term.unwrap_or_else(TsQuery::nothing));
            let bit = 1_i64 << place;
            format!("CASE WHEN m.terms @@ {term} THEN {bit} ELSE 0 END")
        });
        let bits: Vec<_> = bits.collect();
        if bits.is_empty() {
            "0::bigint".into()
        } else {
            format!("({})::bigint", bits.join(" + "))
        }
    }

    /// The places of the terms, filled up so that there are few different statements.
    pub(super) fn places(&self) -> std::ops::Range<usize> {
        match self.terms.len() {
            0 => 0..0,
            count => 0..count.next_power_of_two(),
        }
    }

    /// The cosine of `m` to the query.
    pub(super) fn similarity(&self, query: &mut Query) -> String {
        let Some((model, vector)) = self.vector else {
            return "NULL::float8".into();
        };
        let (model, vector) = (query.bind(model), query.bind(vector.to_vec()));
        format!(
            "(SELECT 1 - (v.embedding <=> (SELECT {vector}::public.vector)) FROM memory_vector v
              WHERE v.memory = m.seq AND v.model = {model})"
        )
    }
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
