//! Answering a search from the index.

use std::collections::HashSet;

use super::Index;
use super::best::{Best, Kept};
use super::segment::{Admission, Segment};
use super::words::Words;
use crate::domain::{AgentKey, Filter, Mode, Timestamp};
use crate::store::ranking::{CANDIDATES, Candidate};
use crate::store::vectors::Query;

/// A search as the index understands it.
#[derive(Debug)]
pub struct Question<'q> {
    /// Who asks.
    pub viewer: &'q AgentKey,
    /// By what to find.
    pub mode: Mode,
    /// Hashes of the query's terms.
    pub terms: &'q [u64],
    /// The query's vector; without it nothing is found by meaning.
    pub vector: Option<&'q Query>,
    /// What may be found.
    pub filter: &'q Filter,
    /// The time.
    pub now: Timestamp,
}

/// What may answer a question.
#[derive(Debug, Default)]
pub struct Found {
    /// The candidates with their rows; similarities are those of the quantised vectors.
    pub candidates: Vec<(i64, Candidate)>,
    /// There are more than were kept.
    pub more: bool,
}

impl Index {
    /// The candidates of a search, as `ranking` defines them.
    pub fn find(&self, question: &Question<'_>) -> Found {
        let owned_only = !question.filter.include_shared;
        let viewer = question.viewer;
        let segments = self.visible(viewer, owned_only);
        let admission = Admission::new(
            question.filter,
            owned_only.then_some((&*viewer.namespace, &*viewer.agent)),
            question.now,
            &self.names.read(),
        );
        let segments: Vec<_> = segments.iter().map(|segment| segment.read()).collect();
        let segments: Vec<&Segment> = segments.iter().map(|segment| &**segment).collect();
        let words = match question.mode {
            Mode::Semantic => None,
            Mode::Hybrid | Mode::Lexical => Some(Words::new(&segments, question.terms, &admission)),
        };
        let vector = question.vector.filter(|_| question.mode != Mode::Lexical);
        // Those found by meaning first: their similarities are known.
        let by_meaning = vector.map(|query| nearest(&segments, query, &admission).finish());
        let by_words = words.as_ref().map(|words| words.best(&admission).finish());
        let known = by_meaning.iter().flat_map(|best| &best.kept);
        let known = known.map(|kept| (Some(kept.score), kept));
        let others = by_words.iter().flat_map(|best| &best.kept);
        let found = known.chain(others.map(|kept| (None, kept)));
        let most = 2 * CANDIDATES;
        let mut seen =
            HashSet::with_capacity_and_hasher(most, foldhash::fast::FixedState::default());
        let mut candidates = Vec::with_capacity(most);
        for (similarity, kept) in found {
            let (number, slot) = (kept.segment as usize, kept.slot);
            let segment = segments[number];
            let entry = segment.entry(slot);
            // A memory that is being moved stands in two segments for a moment.
            if !seen.insert(entry.seq) {
                continue;
            }
            let compare = || Some(f64::from(segment.similarity(vector?, slot)?));
            let candidate = Candidate {
                id: entry.id,
                created_at: segment.created_at(slot),
                similarity: similarity.or_else(compare),
                lexical: words.as_ref().map(|words| words.lexical(number, slot)),
                importance: entry.importance,
            };
            candidates.push((entry.seq, candidate));
        }
        Found {
            candidates,
            more: by_meaning.as_ref().is_some_and(Best::has_left_out)
                || by_words.as_ref().is_some_and(Best::has_left_out),
        }
    }
}

fn nearest<'s>(segments: &'s [&'s Segment], query: &Query, admission: &Admission<'_>) -> Best<'s> {
    let mut best = Best::new(segments);
    for (number, segment) in segments.iter().enumerate() {
        let admitted =
            |slot| segment.is_in_scope(slot, admission) && segment.is_admitted(slot, admission);
        segment.scan(query, CANDIDATES, admitted, |slot, similarity| {
            let score = f64::from(similarity);
            if !best.is_beyond(score) {
                best.offer(Kept::new(score, number, slot), || admitted(slot));
            }
        });
    }
    best
}
