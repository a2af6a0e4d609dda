//! Searching: candidates by words and by meaning in one flight, ranked here, then read in full.
//!
//! How a scope is searched depends on its size, which is looked at first and remembered for a
//! moment (`scopes.rs`). A guess that is out of date costs time and moves weights a little, but
//! finds the same.

use std::collections::HashSet;

use super::candidates::{self, Found, Question, SMALL_MAX};
use super::failure::Failure;
use super::query::Query;
use super::rows::column;
use super::scope::Scope;
use super::scopes::Size;
use super::{Shard, recall, vectors};
use crate::domain::{Embedded, Hit, Mode, Model, Search, SearchPage};
use crate::store::ranking::{self, CANDIDATES, Candidate, SearchCursor, Weights};
use crate::store::{StoreError, Viewer};

pub(super) async fn search(
    shard: &Shard,
    viewer: &Viewer,
    search: Search,
) -> Result<SearchPage, StoreError> {
    let cursor = search
        .cursor
        .as_deref()
        .map(SearchCursor::parse)
        .transpose()?;
    let now = shard.now();
    // Later pages rank by the time of the first.
    let ranked_at = cursor.as_ref().map_or(now, |cursor| cursor.now);
    let terms = match search.mode {
        Mode::Semantic => Vec::new(),
        Mode::Hybrid | Mode::Lexical => ranking::of_query(&search.query),
    };
    let asked = search
        .vector
        .as_ref()
        .filter(|_| search.mode != Mode::Lexical);
    let vector = match asked {
        Some(Embedded { model, vector }) => {
            vectors::check_dimension(model, vector)?;
            Some((
                vectors::known(shard, model).await?.unwrap_or(0),
                &vector[..],
            ))
        }
        None => None,
    };
    let mut question = Question {
        viewer: &viewer.key,
        filter: &search.filter,
        now,
        terms: &terms,
        vector,
        large: None,
    };
    question.large = size(shard, viewer, &question).await?;
    let found = candidates(shard, viewer, &question, asked.map(|asked| &asked.model)).await?;
    let weighs = search.mode != Mode::Semantic;
    let all: Vec<_> = found
        .rows
        .iter()
        .map(|row| found.candidate(row, weighs))
        .collect();
    let (page, more) = ranking::page(
        search.mode,
        &all,
        search.similarity_min,
        cursor.as_ref(),
        search.limit as usize,
        ranked_at,
    );
    let next_cursor = page
        .last()
        .filter(|_| more)
        .map(|last| SearchCursor::behind(last, ranked_at).write());
    let seq_of = |id| {
        found
            .rows
            .iter()
            .find(|row| row.id == id)
            .map(|row| row.seq)
    };
    let seqs: Vec<i64> = page.iter().filter_map(|ranked| seq_of(ranked.id)).collect();
    let memories = recall::load(shard, viewer, &seqs, now).await?;
    let mut hits = Vec::with_capacity(memories.len());
    for (seq, mut memory) in memories {
        if let Some(ranked) = page.iter().find(|ranked| ranked.id == memory.id) {
            if search.counts_access {
                memory.access_count += shard.access.add(seq);
            }
            hits.push(Hit {
                memory,
                score: ranked.score,
                parts: ranked.parts,
            });
        }
    }
    Ok(SearchPage {
        hits,
        truncated: found.more && !more,
        next_cursor,
    })
}

/// How many memories are in the scope, if they are many.
async fn size(
    shard: &Shard,
    viewer: &Viewer,
    question: &Question<'_>,
) -> Result<Option<i64>, StoreError> {
    let owned_only = !question.filter.include_shared;
    if let Some(size) = shard.scopes.size(&viewer.key, owned_only) {
        return Ok(size.large());
    }
    let scope = Scope::of(viewer);
    let count = async |most| {
        let answers = shard
            .pool
            .search(&scope, vec![question.count(most)])
            .await?;
        answers[0]
            .first()
            .map_or(Ok(0), |row| column::<i64>(row, 0))
    };
    let mut size = Size::Small;
    if count(SMALL_MAX).await? > SMALL_MAX {
        size = Size::Large(count(i64::MAX - 1).await?);
    }
    shard.scopes.remember(&viewer.key, owned_only, size);
    Ok(size.large())
}

/// Every candidate once, with what the terms weigh.
struct Candidates {
    rows: Vec<Found>,
    weights: Weights,
    /// There are more than were kept.
    more: bool,
}

impl Candidates {
    fn candidate(&self, row: &Found, weighs: bool) -> Candidate {
        Candidate {
            id: row.id,
            created_at: row.created_at,
            similarity: row.similarity,
            lexical: weighs.then(|| self.weights.lexical(row.mask, row.words)),
            importance: row.importance,
        }
    }
}

async fn candidates(
    shard: &Shard,
    viewer: &Viewer,
    question: &Question<'_>,
    model: Option<&Model>,
) -> Result<Candidates, StoreError> {
    // Which model is active is read in the same snapshot, so a cut-over cannot come between.
    let active = Query::new("SELECT name, dimension FROM embedding_model WHERE state = 'active'");
    let mut queries = vec![active];
    let by_words = !question.terms.is_empty();
    if by_words {
        queries.push(question.by_words());
    }
    if let Some((id, _)) = question.vector {
        let in_graph = question.large.is_some() && shard.graphs.has(id);
        if in_graph {
            queries.extend(super::graph::settings());
        }
        queries.extend(question.by_meaning(in_graph));
    }
    let answers = shard.pool.search(&Scope::of(viewer), queries).await?;
    if let (Some(wanted), Some(row)) = (model, answers[0].first()) {
        check_model(wanted, column(row, 0)?, column::<i32>(row, 1)? as usize)?;
    }
    let mut weights = Weights::new(0, &[]);
    let mut rest = &answers[1..];
    let mut kept = Kept::default();
    if by_words {
        if let Some(row) = rest[0].first() {
            let (memories, holders) = candidates::holders(row)?;
            weights = Weights::new(memories, &holders);
        }
        kept.add(&rest[0])?;
        rest = &rest[1..];
    }
    if let (Some(_), Some(near)) = (question.vector, rest.last()) {
        kept.add(near)?;
    }
    Ok(Candidates {
        rows: kept.rows,
        weights,
        more: kept.more,
    })
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
    fn add(&mut self, rows: &[tokio_postgres::Row]) -> Result<(), Failure> {
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
