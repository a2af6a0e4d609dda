//! Answering a search from the index.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::Index;
use super::segment::{Admission, Segment};
use crate::domain::{AgentKey, Filter, Mode, Timestamp};
use crate::store::ranking::{CANDIDATES, Candidate, Weights, length_factor};
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
        let by_words = words
            .as_ref()
            .map(|words| words.best(&segments, &admission).finish());
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
                lexical: words
                    .as_ref()
                    .map(|words| words.lexical(segment, number, slot)),
                importance: entry.importance,
            };
            candidates.push((entry.seq, candidate));
        }
        let overflown = |best: &Best<'_>| best.last.is_some();
        Found {
            candidates,
            more: by_meaning.as_ref().is_some_and(overflown)
                || by_words.as_ref().is_some_and(overflown),
        }
    }
}

/// The best places so far, by a score of one kind and then by the rules of `ranking`.
struct Best<'s> {
    segments: &'s [&'s Segment],
    /// Up to four times as many as are wanted: cutting back now and then is cheaper than an order
    /// that always holds.
    kept: Vec<Kept>,
    /// The last of the best when they were cut back: who comes after it cannot get in any more.
    last: Option<Kept>,
}

/// A memory's place with its score.
#[derive(Debug, Clone, Copy)]
struct Kept {
    score: f64,
    /// The place of its segment among those that are searched.
    segment: u32,
    slot: u32,
}

impl Kept {
    fn new(score: f64, segment: usize, slot: u32) -> Self {
        let segment = segment as u32;
        Self {
            score,
            segment,
            slot,
        }
    }
}

/// Places that are kept before they are cut back.
const KEPT_MAX: usize = 4 * CANDIDATES;

impl<'s> Best<'s> {
    fn new(segments: &'s [&'s Segment]) -> Self {
        Self {
            segments,
            kept: Vec::with_capacity(KEPT_MAX),
            last: None,
        }
    }

    /// Can nothing of this score get in, whatever else holds of it?
    fn is_beyond(&self, score: f64) -> bool {
        self.last.is_some_and(|last| score < last.score)
    }

    /// Takes a place, unless it comes after all that are kept or is not admitted.
    fn offer(&mut self, place: Kept, is_admitted: impl FnOnce() -> bool) {
        let is_after = |last| in_order(self.segments, &place, last).is_gt();
        if self.last.as_ref().is_some_and(is_after) || !is_admitted() {
            return;
        }
        self.kept.push(place);
        if self.kept.len() >= KEPT_MAX {
            self.cut_back();
        }
    }

    fn cut_back(&mut self) {
        if self.kept.len() <= CANDIDATES {
            return;
        }
        // By the scores alone, which often decide. Many are equal where a word is all that is asked for.
        let (_, last, behind) = self
            .kept
            .select_nth_unstable_by(CANDIDATES - 1, |a, b| b.score.total_cmp(&a.score));
        let last = last.score;
        let segments = self.segments;
        if behind.iter().any(|kept| kept.score == last) {
            self.kept.retain(|kept| kept.score >= last);
            self.kept
                .select_nth_unstable_by(CANDIDATES - 1, |a, b| in_order(segments, a, b));
        }
        self.kept.truncate(CANDIDATES);
        let equals = self.kept.iter().filter(|kept| kept.score == last);
        self.last = equals.max_by(|a, b| in_order(segments, a, b)).copied();
    }

    fn finish(mut self) -> Self {
        self.cut_back();
        self
    }
}

/// The better first, as `ranking` has it.
fn in_order(segments: &[&Segment], a: &Kept, b: &Kept) -> Ordering {
    let by_score = b.score.total_cmp(&a.score);
    by_score.then_with(|| of_equal_score(segments, a, b))
}

/// The later first, and then the greater id.
fn of_equal_score(segments: &[&Segment], a: &Kept, b: &Kept) -> Ordering {
    let created_at = |kept: &Kept| segments[kept.segment as usize].created_at(kept.slot);
    let id = |kept: &Kept| segments[kept.segment as usize].entry(kept.slot).id;
    let by_time = created_at(b).cmp(&created_at(a));
    by_time.then_with(|| id(b).cmp(&id(a)))
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

/// Which terms each memory of the scope holds, and what they weigh there.
struct Words {
    /// One set of terms for each slot of each segment.
    masks: Vec<Vec<u32>>,
    /// Slots with at least one term.
    holders: Vec<Vec<u32>>,
    weights: Weights,
    /// [`Weights::shares`] of up to [`SHARES_TERMS_MAX`] terms, instead of sums over and over.
    shares: Vec<f64>,
}

/// Terms for which the weights of all their sets are computed beforehand: 1,024 sums.
const SHARES_TERMS_MAX: usize = 10;

impl Words {
    fn new(segments: &[&Segment], terms: &[u64], admission: &Admission<'_>) -> Self {
        let mut with_term = vec![0; terms.len()];
        let mut masks = Vec::with_capacity(segments.len());
        let mut holders = Vec::with_capacity(segments.len());
        let mut memories = 0;
        for segment in segments {
            memories += segment.count_scope(admission);
            let mut mask = Vec::new();
            let mut holding = Vec::new();
            for (place, term) in terms.iter().enumerate() {
                let slots = segment.postings(*term);
                if !slots.is_empty() && mask.is_empty() {
                    mask = vec![0_u32; segment.len()];
                }
                // The latest first: of equals they come first, and what is equal and earlier is let go at once.
                for slot in slots.iter().rev() {
                    if !segment.is_in_scope(*slot, admission) {
                        continue;
                    }
                    with_term[place] += 1;
                    let set = &mut mask[*slot as usize];
                    if *set == 0 {
                        holding.push(*slot);
                    }
                    *set |= 1 << place;
                }
            }
            masks.push(mask);
            holders.push(holding);
        }
        let weights = Weights::new(memories, &with_term);
        let shares = if terms.len() <= SHARES_TERMS_MAX {
            weights.shares()
        } else {
            Vec::new()
        };
        Self {
            masks,
            holders,
            weights,
            shares,
        }
    }

    /// The lexical score of a memory; 0 if it holds none of the terms.
    fn lexical(&self, segment: &Segment, number: usize, slot: u32) -> f64 {
        let mask = self.masks[number].get(slot as usize).copied().unwrap_or(0);
        self.score(mask, segment.words(slot))
    }

    /// [`Weights::lexical`], by the shares where they are known.
    fn score(&self, mask: u32, words: u32) -> f64 {
        match self.shares.get(mask as usize) {
            Some(share) => share * length_factor(words),
            None => self.weights.lexical(mask, words),
        }
    }

    fn best<'s>(&self, segments: &'s [&'s Segment], admission: &Admission<'_>) -> Best<'s> {
        let mut best = Best::new(segments);
        for (number, segment) in segments.iter().enumerate() {
            for &slot in &self.holders[number] {
                // What a text without any length would score.
                let mask = self.masks[number][slot as usize];
                let most = self.shares.get(mask as usize).copied().unwrap_or(1.0);
                if best.is_beyond(most) {
                    continue;
                }
                let score = self.score(mask, segment.words(slot));
                let is_admitted = || segment.is_admitted(slot, admission);
                best.offer(Kept::new(score, number, slot), is_admitted);
            }
        }
        best
    }
}
