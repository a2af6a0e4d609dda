//! Searching: candidates from the index in memory, exact scores and texts from the database.

use std::collections::VecDeque;

use rusqlite::Connection;

use super::rows::by_seq;
use super::{documents, grants, vectors};
use crate::domain::{Hit, Mode, Search, SearchPage, Timestamp};
use crate::store::index::{ActiveModel, Index, Question};
use crate::store::ranking::{self, Candidate, Ranked, SearchCursor};
use crate::store::rights::{self, Right};
use crate::store::vectors::Query;
use crate::store::{StoreError, Viewer};

/// Candidates beyond a page whose vectors are compared in full at first: rounding to bytes moves a
/// memory by a place or two.
const MARGIN: usize = 8;

/// A page of hits with their rows.
pub(super) struct Answered {
    pub(super) hits: Vec<(i64, Hit)>,
    pub(super) truncated: bool,
    pub(super) next_cursor: Option<String>,
}

impl Answered {
    /// The page, with each row's hit passed through `count`.
    pub(super) fn into_page(self, mut count: impl FnMut(i64, &mut Hit)) -> SearchPage {
        let hits = self.hits.into_iter().map(|(seq, mut hit)| {
            count(seq, &mut hit);
            hit
        });
        SearchPage {
            hits: hits.collect(),
            truncated: self.truncated,
            next_cursor: self.next_cursor,
        }
    }
}

pub(super) fn search(
    connection: &Connection,
    index: &Index,
    viewer: &Viewer,
    search: &Search,
    now: Timestamp,
) -> Result<Answered, StoreError> {
    let cursor = search
        .cursor
        .as_deref()
        .map(SearchCursor::parse)
        .transpose()?;
    // Later pages rank by the time of the first.
    let ranked_at = cursor.as_ref().map_or(now, |cursor| cursor.now);
    let model = index.model();
    let query = query_of(search, model.as_ref())?;
    let terms: Vec<u64> = match search.mode {
        Mode::Semantic => Vec::new(),
        Mode::Hybrid | Mode::Lexical => ranking::of_query(&search.query)
            .iter()
            .map(|term| documents::term_hash(term))
            .collect(),
    };
    let found = index.find(&Question {
        viewer: &viewer.key,
        mode: search.mode,
        terms: &terms,
        vector: query.as_ref(),
        filter: &search.filter,
        now,
    });
    let exact = |seq: i64, similarity: Option<f64>, buffer: &mut Vec<f32>| {
        let (Some(query), Some(model), Some(_)) = (&query, &*model, similarity) else {
            return Ok(similarity);
        };
        let there = vectors::exact(connection, model.id, seq, buffer)?;
        let exact = there.then(|| f64::from(query.similarity(buffer)));
        Ok::<_, StoreError>(exact.or(similarity))
    };
    let error = query.as_ref().map_or(0.0, |query| f64::from(query.error()));
    let mut rest = in_order(
        search.mode,
        &found.candidates,
        cursor.as_ref(),
        error,
        ranked_at,
    );
    let limit = search.limit as usize;
    let mut buffer = Vec::new();
    let mut compared: Vec<(i64, Candidate)> = Vec::new();
    let (page, more) = loop {
        let part = rest
            .len()
            .min(limit.saturating_sub(compared.len()) + MARGIN);
        for (_, place) in rest.drain(..part) {
            let (seq, mut candidate) = found.candidates[place].clone();
            candidate.similarity = exact(seq, candidate.similarity, &mut buffer)?;
            compared.push((seq, candidate));
        }
        let (page, more) = ranking::page(
            search.mode,
            compared.iter().map(|(_, candidate)| candidate),
            search.similarity_min,
            cursor.as_ref(),
            limit,
            ranked_at,
        );
        // Complete if nothing that is left can be better than the last of the page.
        let next = rest.front().map(|(score, ..)| score + error);
        let last = page
            .last()
            .filter(|_| page.len() == limit)
            .map(|last| last.score);
        match (next, last) {
            (None, _) => break (page, more),
            (Some(next), Some(last)) if next < last => break (page, true),
            _ => {}
        }
    };
    let next_cursor = page
        .last()
        .filter(|_| more)
        .map(|last| SearchCursor::behind(last, ranked_at).write());
    let mut hits = Vec::with_capacity(page.len());
    for ranked in page {
        let row = compared
            .iter()
            .find(|(_, candidate)| candidate.id == ranked.id);
        if let Some((seq, _)) = row
            && let Some(hit) = hit(connection, viewer, *seq, ranked, now)?
        {
            hits.push((*seq, hit));
        }
    }
    Ok(Answered {
        hits,
        truncated: found.more && !more,
        next_cursor,
    })
}

fn query_of(search: &Search, active: Option<&ActiveModel>) -> Result<Option<Query>, StoreError> {
    let Some(embedded) = search
        .vector
        .as_ref()
        .filter(|_| search.mode != Mode::Lexical)
    else {
        return Ok(None);
    };
    if let Some(active) = active
        && active.model != embedded.model
    {
        let message = format!(
            "vectors are of model {}, the question is of {}",
            active.model.name, embedded.model.name
        );
        return Err(StoreError::Conflict {
            message,
            current_version: None,
        });
    }
    Ok(Some(Query::new(&embedded.vector)))
}

/// The candidates' approximate scores, which are off by at most `error`, and places, from the best
/// on; without those that an earlier page has shown for sure.
fn in_order(
    mode: Mode,
    candidates: &[(i64, Candidate)],
    after: Option<&SearchCursor>,
    error: f64,
    now: Timestamp,
) -> VecDeque<(f64, usize)> {
    let mut scores: Vec<_> = candidates
        .iter()
        .enumerate()
        .map(|(place, (_, candidate))| (Ranked::new(mode, candidate, now).score, place))
        .filter(|(score, _)| after.is_none_or(|cursor| *score <= cursor.score() + error))
        .collect();
    // Equals are put in order once they are compared in full.
    scores.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    scores.into()
}

/// Reads a memory that the index has found. It may have changed since then, so rights are asked
/// once more of the row itself.
fn hit(
    connection: &Connection,
    viewer: &Viewer,
    seq: i64,
    ranked: Ranked,
    now: Timestamp,
) -> Result<Option<Hit>, StoreError> {
    let Some(stored) = by_seq(connection, seq, now)?.filter(|stored| !stored.deleted) else {
        return Ok(None);
    };
    // Most need no look at the grants.
    if rights::of(viewer, &stored.memory, None) < Right::Read
        && grants::right(connection, viewer, &stored)? < Right::Read
    {
        return Ok(None);
    }
    Ok(Some(Hit {
        memory: stored.memory,
        score: ranked.score,
        parts: ranked.parts,
    }))
}
