//! How a search ranks what it finds: one definition for every backend.
//!
//! A backend finds candidates its own way and fills in a [`Candidate`] for each; weights, scores,
//! order and cursor are decided here. The rules that keep the order the same everywhere:
//!
//! - the *scope* of a search is what the viewer may read and what is present at the time asked
//!   about, and of that only what it owns if others' memories are not asked for. A term's weight
//!   comes from the scope alone, never from the filter and never from what the viewer may not see;
//! - candidates are the [`CANDIDATES`] best by meaning and the [`CANDIDATES`] best by words among
//!   what the filter admits, and each of them is scored exactly by both;
//! - the best score comes first, then the later creation, then the greater id.

mod cursor;
mod stop_words;
mod terms;

use std::cmp::Ordering;

use uuid::Uuid;

pub use cursor::SearchCursor;
pub use terms::{DocumentTerms, TERM_BYTES_MAX, TERMS_MAX, of_memory, of_query};

use crate::domain::{Mode, Parts, Timestamp};

/// Candidates by each way of finding. A page has at most 100 hits; the rest is for what ranks
/// higher by both ways together than by either alone, and for later pages.
pub const CANDIDATES: usize = 200;

/// BM25: how soon length stops to matter.
const K1: f64 = 1.2;
/// BM25: how much long texts are held back. Less than the usual 0.75, as memories are short.
const B: f64 = 0.4;
/// Words of a typical memory, in place of a mean that would tell about others' memories.
const TYPICAL_WORDS: f64 = 40.0;
/// Time in which recency halves.
const RECENCY_HALF_LIFE_US: f64 = 30.0 * 86_400e6;
/// Part of a question's weight that any two texts may share by chance. Only what a memory has above
/// it counts in a hybrid search: otherwise a stray word outweighs the meaning.
const CHANCE: f64 = 1.0 / 3.0;
/// What words above chance weigh beside meaning. Both were chosen on the sets under `tests/data`,
/// from the middle of the range in which hybrid search is at least as good as the better of the
/// other two on each of them (`tests/meaning`).
const WORDS_WEIGHT: f64 = 2.5;
/// Part of a score that importance decides.
const IMPORTANCE_SHARE: f64 = 0.1;
/// Part of a score that recency decides.
const RECENCY_SHARE: f64 = 0.02;
/// Steps in which scores and their parts are compared and shown, so that the last bits of a sum do
/// not decide the order.
const SCORE_STEPS: f64 = 1e6;
/// How far [`Ranked::estimate`] is at most from the score: half a step for each of the parts that are put into
/// steps (words count less than once in a hybrid score, recency a fiftieth) and for the score itself.
pub const ESTIMATE_ERROR: f64 = 2.0 / SCORE_STEPS;

/// What the terms of a question weigh: BM25's inverse document frequency over the scope. How
/// often a term occurs within one memory does not count.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    terms: Vec<f64>,
    sum: f64,
}

impl Weights {
    /// From the number of memories in the scope, and of those that have each term.
    pub fn new(memories: u64, with_term: &[u64]) -> Self {
        let terms: Vec<f64> = with_term
            .iter()
            .map(|&with| {
                let with = with as f64;
                let without = (memories as f64 - with).max(0.0);
                (1.0 + (without + 0.5) / (with + 0.5)).ln()
            })
            .collect();
        Self {
            sum: terms.iter().sum(),
            terms,
        }
    }

    /// The weight of each term.
    pub fn terms(&self) -> &[f64] {
        &self.terms
    }

    /// Sum of the weights of the terms whose bits are set in `mask`.
    pub fn of(&self, mask: u32) -> f64 {
        self.terms
            .iter()
            .enumerate()
            .filter(|(place, _)| mask >> place & 1 == 1)
            .map(|(_, weight)| weight)
            .sum()
    }

    /// The part of the question's weight that each set of its terms has, by the set's mask: what
    /// [`lexical`](Self::lexical) is for a text without a length, to the last bit.
    pub fn shares(&self) -> Vec<f64> {
        let mut sums = vec![0.0];
        for weight in &self.terms {
            // The sets with this term as their last one follow those without it.
            sums.extend_from_within(..);
            let with = sums.len() / 2;
            sums[with..].iter_mut().for_each(|sum| *sum += weight);
        }
        if self.sum > 0.0 {
            sums.iter_mut().for_each(|sum| *sum /= self.sum);
        }
        sums
    }

    /// From 0 to 1: the part of the question's weight that a memory has which holds the terms of
    /// `mask` in a text of `words` words.
    pub fn lexical(&self, mask: u32, words: u32) -> f64 {
        if self.sum <= 0.0 {
            return 0.0;
        }
        self.of(mask) / self.sum * length_factor(words)
    }
}

/// From 1 for no words at all down towards 0 for endless ones.
pub fn length_factor(words: u32) -> f64 {
    (1.0 + K1 * (1.0 - B)) / (1.0 + K1 * (1.0 - B + B * f64::from(words) / TYPICAL_WORDS))
}

/// 1 at `now`, half of it for each half-life before.
pub fn recency(created_at: Timestamp, now: Timestamp) -> f64 {
    let age = (now.as_micros() - created_at.as_micros()).max(0) as f64;
    (-age / RECENCY_HALF_LIFE_US).exp2()
}

/// A memory that may be an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The memory.
    pub id: Uuid,
    /// When it was stored.
    pub created_at: Timestamp,
    /// Cosine to the question, as it is; `None` without a vector or in lexical search.
    pub similarity: Option<f64>,
    /// [`Weights::lexical`]; `None` in semantic search.
    pub lexical: Option<f64>,
    /// 0 to 1.
    pub importance: f64,
}

/// A candidate with its score.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// The memory.
    pub id: Uuid,
    /// When it was stored.
    pub created_at: Timestamp,
    /// 0 to 1, in steps of a millionth.
    pub score: f64,
    /// What the score is made of.
    pub parts: Parts,
}

impl Ranked {
    /// Scores a candidate.
    pub fn new(mode: Mode, candidate: &Candidate, now: Timestamp) -> Self {
        let parts = Parts {
            similarity: candidate
                .similarity
                .map(|cosine| in_steps(cosine.clamp(0.0, 1.0))),
            lexical: candidate.lexical.map(in_steps),
            importance: candidate.importance,
            recency: in_steps(recency(candidate.created_at, now)),
        };
        Self {
            id: candidate.id,
            created_at: candidate.created_at,
            score: in_steps(weigh(mode, &parts)),
            parts,
        }
    }

    /// The score before it and its parts are put into steps, off by at most [`ESTIMATE_ERROR`]: enough to
    /// tell which of many candidates are worth being scored, and cheaper.
    pub fn estimate(mode: Mode, candidate: &Candidate, now: Timestamp) -> f64 {
        weigh(
            mode,
            &Parts {
                similarity: candidate.similarity.map(|cosine| cosine.clamp(0.0, 1.0)),
                lexical: candidate.lexical,
                importance: candidate.importance,
                recency: recency(candidate.created_at, now),
            },
        )
    }

    /// The best first; see the module's rules.
    pub fn compare(&self, other: &Self) -> Ordering {
        other
            .score
            .total_cmp(&self.score)
            .then(other.created_at.cmp(&self.created_at))
            .then(other.id.cmp(&self.id))
    }
}

fn weigh(mode: Mode, parts: &Parts) -> f64 {
    let similarity = parts.similarity.unwrap_or(0.0);
    let lexical = parts.lexical.unwrap_or(0.0);
    let answers = match mode {
        Mode::Semantic => similarity,
        Mode::Lexical => lexical,
        Mode::Hybrid => {
            let words = WORDS_WEIGHT * (lexical - CHANCE).max(0.0);
            (similarity + words) / (1.0 + WORDS_WEIGHT * (1.0 - CHANCE))
        }
    };
    let matters = 1.0 - IMPORTANCE_SHARE * (1.0 - parts.importance);
    let lasts = 1.0 - RECENCY_SHARE * (1.0 - parts.recency);
    answers * matters * lasts
}

fn in_steps(value: f64) -> f64 {
    (value * SCORE_STEPS).round() / SCORE_STEPS
}

/// Scores the candidates of a search and keeps a page: those behind `after`, at most `limit`, and
/// whether there are more. In a hybrid or semantic search `similarity_min` bounds the meaning, in
/// a lexical one the words.
pub fn page<'c>(
    mode: Mode,
    candidates: impl IntoIterator<Item = &'c Candidate>,
    similarity_min: Option<f64>,
    after: Option<&SearchCursor>,
    limit: usize,
    now: Timestamp,
) -> (Vec<Ranked>, bool) {
    let mut ranked: Vec<_> = candidates
        .into_iter()
        .map(|candidate| Ranked::new(mode, candidate, now))
        .filter(|ranked| {
            let reached = match mode {
                Mode::Lexical => ranked.parts.lexical,
                Mode::Hybrid | Mode::Semantic => ranked.parts.similarity,
            };
            similarity_min.is_none_or(|least| reached.unwrap_or(0.0) >= least)
        })
        .filter(|ranked| after.is_none_or(|cursor| cursor.is_before(ranked)))
        .collect();
    let more = ranked.len() > limit;
    if more {
        // Most candidates are on no page that anybody asks for.
        ranked.select_nth_unstable_by(limit, Ranked::compare);
        ranked.truncate(limit);
    }
    ranked.sort_unstable_by(Ranked::compare);
    (ranked, more)
}

#[cfg(test)]
mod tests;
