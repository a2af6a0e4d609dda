//! Searching: candidates from the index in memory, exact scores and texts from the database.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rusqlite::Connection;

use super::rows::BySeq;
use super::vectors::Exact;
use super::{documents, grants};
use crate::domain::{Hit, Mode, Search, SearchPage, Timestamp};
use crate::store::index::{ActiveModel, Index, Question};
use crate::store::ranking::{self, Candidate, ESTIMATE_ERROR, Ranked, SearchCursor};
use crate::store::rights::{self, Right};
use crate::store::vectors::Query;
use crate::store::{StoreError, Viewer};

/// Candidates beyond a page that are compared in full before the page is looked at again: rounding to bytes
/// moves a memory by a place or two. Twice as many each time after that: where estimates lie so close that more
/// are needed, it may be all of them.
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
    let mut exact = match (&query, &*model) {
        (Some(query), Some(model)) => Some((query, Exact::of(connection, model.id)?)),
        _ => None,
    };
    // A scan's similarities are rounded, and estimates are not.
    let error = ESTIMATE_ERROR + query.as_ref().map_or(0.0, |query| f64::from(query.error()));
    let mut rest = estimated(
        search.mode,
        &found.candidates,
        cursor.as_ref(),
        error,
        ranked_at,
    );
    let limit = search.limit as usize;
    let mut compared: Vec<(i64, Candidate)> = Vec::new();
    let (mut part, mut margin) = (limit, MARGIN);
    // The score of a full page's last hit: what cannot reach it is not compared.
    let mut least = f64::NEG_INFINITY;
    let (page, more) = loop {
        for _ in 0..part {
            let Some(next) = rest.pop_if_at_least(least - error) else {
                break;
            };
            let (seq, mut candidate) = found.candidates[next].clone();
            if let (Some((query, vectors)), Some(_)) = (&mut exact, candidate.similarity)
                && let Some(vector) = vectors.read(seq)?
            {
                candidate.similarity = Some(f64::from(query.similarity(vector)));
            }
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
        let Some(next) = rest.best() else {
            break (page, more);
        };
        if let Some(last) = page.last().filter(|_| page.len() == limit) {
            least = last.score;
            // Complete if nothing that is left can be better than the last of the page.
            if next + error < least {
                break (page, true);
            }
        }
        part = margin;
        margin *= 2;
    };
    let next_cursor = page
        .last()
        .filter(|_| more)
        .map(|last| SearchCursor::behind(last, ranked_at).write());
    let mut rows = BySeq::at(connection, now)?;
    let mut hits = Vec::with_capacity(page.len());
    for ranked in page {
        let row = compared
            .iter()
            .find(|(_, candidate)| candidate.id == ranked.id);
        if let Some((seq, _)) = row
            && let Some(hit) = hit(connection, &mut rows, viewer, *seq, ranked)?
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

/// Candidates by their estimated scores, the best first; equals are put in order once they are compared in full.
struct Estimates(BinaryHeap<Estimate>);

/// A candidate's score as far as it is known, and its place.
struct Estimate {
    score: f64,
    place: usize,
}

impl Estimates {
    /// The estimate of the best that is left.
    fn best(&self) -> Option<f64> {
        self.0.peek().map(|best| best.score)
    }

    /// Takes the place of the best that is left if it is estimated at `least` or more.
    fn pop_if_at_least(&mut self, least: f64) -> Option<usize> {
        self.best().filter(|best| *best >= least)?;
        self.0.pop().map(|best| best.place)
    }
}

impl Ord for Estimate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score)
    }
}

impl PartialOrd for Estimate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Estimate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Estimate {}

/// Estimates of scores, off by at most `error`, without those of candidates that an earlier page has shown for sure.
fn estimated(
    mode: Mode,
    candidates: &[(i64, Candidate)],
    after: Option<&SearchCursor>,
    error: f64,
    now: Timestamp,
) -> Estimates {
    let estimates: Vec<_> = candidates
        .iter()
        .enumerate()
        .map(|(place, (_, candidate))| Estimate {
            score: Ranked::estimate(mode, candidate, now),
            place,
        })
        .filter(|one| after.is_none_or(|cursor| one.score <= cursor.score() + error))
        .collect();
    Estimates(estimates.into())
}

/// Reads a memory that the index has found. It may have changed since then, so rights are asked
/// once more of the row itself.
fn hit(
    connection: &Connection,
    rows: &mut BySeq<'_>,
    viewer: &Viewer,
    seq: i64,
    ranked: Ranked,
) -> Result<Option<Hit>, StoreError> {
    let Some(stored) = rows.read(seq)?.filter(|stored| !stored.deleted) else {
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
