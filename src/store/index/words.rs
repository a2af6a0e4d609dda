//! Finding by words.

use super::best::{Best, Kept};
use super::segment::{Admission, Segment};
use crate::store::ranking::{Weights, length_factor};

/// Which terms each memory of the scope holds, and what they weigh there.
pub(super) struct Words<'s> {
    segments: &'s [&'s Segment],
    /// Of each term its slots in each segment, those of the term that the fewest hold first. They weigh
    /// most: when all terms that are left are not enough to get in, neither is any memory that holds no other.
    postings: Vec<Vec<&'s [u32]>>,
    /// One set of terms for each slot of each segment: bit `n` is the term at place `n` of `postings`.
    masks: Vec<Vec<u32>>,
    weights: Weights,
    /// [`Weights::shares`] of up to [`SHARES_TERMS_MAX`] terms, instead of sums over and over.
    shares: Vec<f64>,
}

/// Terms for which the weights of all their sets are computed beforehand: 1,024 sums.
const SHARES_TERMS_MAX: usize = 10;

impl<'s> Words<'s> {
    pub(super) fn new(
        segments: &'s [&'s Segment],
        terms: &[u64],
        admission: &Admission<'_>,
    ) -> Self {
        let of_term = |term: &u64| segments.iter().map(|s| s.postings(*term)).collect();
        let mut postings: Vec<Vec<&[u32]>> = terms.iter().map(of_term).collect();
        postings.sort_by_key(|of_term| of_term.iter().map(|slots| slots.len()).sum::<usize>());
        let mut with_term = vec![0; terms.len()];
        let mut masks = Vec::with_capacity(segments.len());
        let mut memories = 0;
        for (number, segment) in segments.iter().enumerate() {
            let mut mask = Vec::new();
            for (place, of_term) in postings.iter().enumerate() {
                let slots = of_term[number];
                if !slots.is_empty() && mask.is_empty() {
                    mask = vec![0_u32; segment.len()];
                }
                for slot in slots {
                    mask[*slot as usize] |= 1 << place;
                }
                with_term[place] += slots.len() as u64;
            }
            // As a rule few are not in scope: taking them out again is cheaper than asking of every posting.
            memories += segment.len() as u64;
            segment.for_each_out_of_scope(admission, |slot| {
                memories -= 1;
                let mut held = mask.get_mut(slot as usize).map_or(0, std::mem::take);
                while held != 0 {
                    with_term[held.trailing_zeros() as usize] -= 1;
                    held &= held - 1;
                }
            });
            masks.push(mask);
        }
        let weights = Weights::new(memories, &with_term);
        let shares = if terms.len() <= SHARES_TERMS_MAX {
            weights.shares()
        } else {
            Vec::new()
        };
        Self {
            segments,
            postings,
            masks,
            weights,
            shares,
        }
    }

    /// The lexical score of a memory; 0 if it holds none of the terms.
    pub(super) fn lexical(&self, number: usize, slot: u32) -> f64 {
        let mask = self.masks[number].get(slot as usize).copied().unwrap_or(0);
        self.score(mask, self.segments[number].words(slot))
    }

    /// [`Weights::lexical`], by the shares where they are known.
    fn score(&self, mask: u32, words: u32) -> f64 {
        match self.shares.get(mask as usize) {
            Some(share) => share * length_factor(words),
            None => self.weights.lexical(mask, words),
        }
    }

    pub(super) fn best(&self, admission: &Admission<'_>) -> Best<'s> {
        let mut best = Best::new(self.segments);
        let all = u32::MAX.unbounded_shr(u32::BITS - self.postings.len() as u32);
        for (place, of_term) in self.postings.iter().enumerate() {
            // A text without any length that holds this term and all after it.
            if best.is_beyond(self.score(all >> place << place, 0)) {
                break;
            }
            for (number, slots) in of_term.iter().enumerate() {
                let segment = self.segments[number];
                // The latest first: of equals they come first, and what is equal and earlier is let go at once.
                for &slot in slots.iter().rev() {
                    let mask = self.masks[number][slot as usize];
                    // Each is looked at once, by the first of its terms. Who is not in the scope has none.
                    if mask.trailing_zeros() != place as u32 {
                        continue;
                    }
                    let most = self.shares.get(mask as usize).copied().unwrap_or(1.0);
                    if best.is_beyond(most) {
                        continue;
                    }
                    let score = self.score(mask, segment.words(slot));
                    let is_admitted = || segment.is_admitted(slot, admission);
                    best.offer(Kept::new(score, number, slot), is_admitted);
                }
            }
        }
        best
    }
}
