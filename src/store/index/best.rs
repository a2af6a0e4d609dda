//! The best of what a search comes by.

use std::cmp::Ordering;

use super::segment::Segment;
use crate::store::ranking::CANDIDATES;

/// The best places so far, by a score of one kind and then by the rules of `ranking`.
pub(super) struct Best<'s> {
    segments: &'s [&'s Segment],
    /// Up to four times as many as are wanted: cutting back now and then is cheaper than an order
    /// that always holds.
    pub(super) kept: Vec<Kept>,
    /// The last of the best when they were cut back: who comes after it cannot get in any more.
    last: Option<Kept>,
}

/// A memory's place with its score.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) score: f64,
    /// The place of its segment among those that are searched.
    pub(super) segment: u32,
    pub(super) slot: u32,
}

impl Kept {
    pub(super) fn new(score: f64, segment: usize, slot: u32) -> Self {
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
    pub(super) fn new(segments: &'s [&'s Segment]) -> Self {
        Self {
            segments,
            kept: Vec::with_capacity(KEPT_MAX),
            last: None,
        }
    }

    /// Can nothing of this score get in, whatever else holds of it?
    pub(super) fn is_beyond(&self, score: f64) -> bool {
        self.last.is_some_and(|last| score < last.score)
    }

    /// Were there more than are kept?
    pub(super) fn has_left_out(&self) -> bool {
        self.last.is_some()
    }

    /// Takes a place, unless it comes after all that are kept or is not admitted.
    pub(super) fn offer(&mut self, place: Kept, is_admitted: impl FnOnce() -> bool) {
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

    pub(super) fn finish(mut self) -> Self {
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
