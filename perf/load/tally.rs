//! What became of the requests of one message.

use serde::Serialize;

use crate::latency::Latencies;

/// Counts of the window, but for errors, which count from the first request on.
pub(crate) struct Tally {
    /// Right answers.
    pub(crate) answers: u64,
    /// Answered with the refusal.
    pub(crate) refused: u64,
    pub(crate) errors: u64,
    pub(crate) answer_bytes: u64,
    /// Of right answers and of refusals.
    pub(crate) latencies: Latencies,
}

/// What is reported of a message of several.
#[derive(Serialize)]
pub(crate) struct Figures {
    count: u64,
    errors: u64,
    p50_us: f64,
    p99_us: f64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            answers: 0,
            refused: 0,
            errors: 0,
            answer_bytes: 0,
            latencies: Latencies::new(),
        }
    }

    /// Forgets what was counted so far, but not the errors.
    pub(crate) fn begin_window(&mut self) {
        *self = Self {
            errors: self.errors,
            ..Self::new()
        };
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.answers += other.answers;
        self.refused += other.refused;
        self.errors += other.errors;
        self.answer_bytes += other.answer_bytes;
        self.latencies.add(&other.latencies);
    }

    pub(crate) fn figures(&self) -> Figures {
        let times = self.latencies.summary();
        Figures {
            count: self.answers,
            errors: self.errors,
            p50_us: times.p50_us,
            p99_us: times.p99_us,
        }
    }
}
