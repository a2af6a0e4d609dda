//! Gathering candidates: by words and by meaning in one flight.
//!
//! How a scope is searched depends on its size (`counts.rs`). A size that is out of date costs time
//! and moves weights a little, but finds the same. Where too few of the nearest turn out to be
//! present or admitted, they are looked for once more in a way that misses none.

use std::collections::HashSet;

use tokio_postgres::Row;

use super::by_meaning::{self, Way};
use super::candidates::{self, Found, Question};
use super::failure::Failure;
use super::query::Query;
use super::rows::column;
use super::scope::Scope;
use super::{Shard, by_words, counts, graph};
use crate::domain::Model;
use crate::store::ranking::{CANDIDATES, Candidate, Weights};
use crate::store::{StoreError, Viewer};

/// Every candidate once, with what the terms weigh.
pub(super) struct Candidates {
    pub(super) rows: Vec<Found>,
    weights: Weights,
    /// There are more than were kept.
    pub(super) more: bool,
}

impl Candidates {
    /// As ranking takes it; `weighs` says whether words count.
    pub(super) fn candidate(&self, row: &Found, weighs: bool) -> Candidate {
        Candidate {
            id: row.id,
            created_at: row.created_at,
            similarity: row.similarity,
            lexical: weighs.then(|| self.weights.lexical(row.mask, row.words)),
            importance: row.importance,
        }
    }
}

/// The candidates for `question`, of the memories whose active model is `model`.
pub(super) async fn candidates(
    shard: &Shard,
    viewer: &Viewer,
    question: &Question<'_>,
    model: Option<&Model>,
) -> Result<Candidates, StoreError> {
    let large = counts::size(shard, viewer, question).await?;
    let mut weights = Weights::new(0, &[]);
    let mut kept = Kept::default();
    let by_words = match (question.terms.is_empty(), large) {
        (true, _) => None,
        (false, None) => Some(question.by_words()),
        (false, Some(memories)) => {
            let holders = counts::holders(shard, viewer, question).await?;
            weights = Weights::new(memories as u64, &holders);
            let plan = by_words::Plan::new(&holders);
            kept.more |= plan.leaves_out;
            Some(question.by_rare_words(&plan, &weights))
        }
    };
    let flight = Flight {
        shard,
        viewer,
        question,
        model,
    };
    let way = question.vector.map(|_| way(shard, question, large));
    let (words, near) = flight.fly(by_words, way).await?;
    if let Some(rows) = words {
        if let (None, Some(row)) = (large, rows.first()) {
            let (memories, holders) = by_words::holders(row, question.terms.len())?;
            weights = Weights::new(memories, &holders);
        }
        kept.add(&rows)?;
    }
    let (mut near, mut way) = (near, way);
    while let (Some(rows), Some(taken)) = (near.take(), way) {
        let (chosen, found) = by_meaning::chosen_and_found(&rows)?;
        way = taken.instead(chosen, found, question.wanted);
        if way.is_some() {
            near = flight.fly(None, way).await?.1;
        } else {
            // A graph is not walked to its end.
            kept.more |= taken.is_graph() && found <= CANDIDATES;
            kept.add(&rows)?;
        }
    }
    Ok(Candidates {
        rows: kept.rows,
        weights,
        more: kept.more,
    })
}

/// How the nearest of a scope of `large` memories are found.
fn way(shard: &Shard, question: &Question<'_>, large: Option<i64>) -> Way {
    let model = question.vector.map_or(0, |(model, _)| model);
    let graph = large.is_some_and(|memories| {
        memories > shard.bounds.compared_max && shard.graphs.serves(model, memories)
    });
    match (graph, question.admits_all()) {
        (false, true) => Way::Compared,
        (true, true) => Way::Graph,
        (false, false) => Way::Checked,
        (true, false) => Way::GraphChecked,
    }
}

type Rows = Option<Vec<Row>>;

/// For whom and what candidates are asked.
struct Flight<'f> {
    shard: &'f Shard,
    viewer: &'f Viewer,
    question: &'f Question<'f>,
    model: Option<&'f Model>,
}

impl Flight<'_> {
    /// Those by words and those by meaning, of one snapshot.
    async fn fly(
        &self,
        by_words: Option<Query>,
        by_meaning: Option<Way>,
    ) -> Result<(Rows, Rows), StoreError> {
        // Which model is active is read in the same snapshot, so a cut-over cannot come between.
        let active = "SELECT name, dimension FROM embedding_model WHERE state = 'active'";
        let mut queries = vec![Query::new(active).kept()];
        let has_words = by_words.is_some();
        queries.extend(by_words);
        if let Some(way) = by_meaning {
            if way.is_graph() {
                queries.push(graph::settings(way));
            }
            queries.extend(self.question.by_meaning(way));
        }
        let scope = Scope::of(self.viewer);
        let mut answers = self.shard.pool.search(&scope, queries).await?;
        if let (Some(wanted), Some(row)) = (self.model, answers[0].first()) {
            check_model(wanted, column(row, 0)?, column::<i32>(row, 1)? as usize)?;
        }
        let near = by_meaning.and_then(|_| answers.pop());
        let words = has_words.then(|| answers.swap_remove(1));
        Ok((words, near))
    }
}

fn check_model(wanted: &Model, name: &str, dimension: usize) -> Result<(), StoreError> {
    if *wanted.name == *name && wanted.dimension == dimension {
        return Ok(());
    }
    Err(StoreError::Conflict {
        message: format!(
            "vectors are of model {name}, the question is of {}",
            wanted.name
        ),
        current_version: None,
    })
}

/// Candidates of either way, each once.
#[derive(Default)]
struct Kept {
    rows: Vec<Found>,
    seen: HashSet<i64>,
    more: bool,
}

impl Kept {
    fn add(&mut self, rows: &[Row]) -> Result<(), Failure> {
        self.more |= rows.len() > CANDIDATES;
        for row in rows.iter().take(CANDIDATES) {
            if let Some(found) = candidates::found(row)?
                && self.seen.insert(found.seq)
            {
                self.rows.push(found);
            }
        }
        Ok(())
    }
}
