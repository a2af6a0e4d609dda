//! How much a memory is in use, and what becomes of those that are not.
//!
//! Relevance is kept as a value and the time it was true at, and computed forward when it is read:
//! nothing has to be rewritten for time to pass.

use std::time::Duration;

use serde::Serialize;

use crate::domain::Timestamp;

/// Relevance of a new memory.
pub const RELEVANCE_NEW: f64 = 0.5;
/// Time in which relevance without reads halves.
pub const RELEVANCE_HALF_LIFE: Duration = Duration::from_secs(30 * 86_400);
/// Part of the way to 1 that a read goes: ten reads in a row lift a new memory to 0.83.
const REINFORCEMENT: f64 = 0.1;

/// What `relevance` at `since` has become at `now`: it halves every `half_life`.
pub fn decayed(relevance: f64, since: Timestamp, now: Timestamp, half_life: Duration) -> f64 {
    let elapsed = (now.as_micros() - since.as_micros()).max(0) as f64;
    relevance * 0.5_f64.powf(elapsed / half_life.as_micros().max(1) as f64)
}

/// What `relevance` at `since` has become at `now`, as a memory shows it: in ten-thousandths.
pub fn relevance_at(relevance: f64, since: Timestamp, now: Timestamp) -> f64 {
    (decayed(relevance, since, now, RELEVANCE_HALF_LIFE) * 1e4).round() / 1e4
}

/// What `relevance` becomes by `reads` reads at once.
pub fn reinforced(relevance: f64, reads: u64) -> f64 {
    1.0 - (1.0 - relevance) * (1.0 - REINFORCEMENT).powf(reads as f64)
}

/// How long memories are kept that nobody uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retention {
    /// Time in which relevance without reads halves; [`RELEVANCE_HALF_LIFE`] but in tests.
    pub half_life: Duration,
    /// A memory is pruned when relevance times importance falls below this; 0 prunes nothing.
    pub prune_below: f64,
    /// No memory younger than this is pruned.
    pub prune_age: Duration,
    /// Queues of a node that has been silent for so long are closed: nobody can come back for them. No
    /// shorter than the time after which a node counts as gone.
    pub session_window: Duration,
}

/// What one run of the upkeep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct UpkeepReport {
    /// Removed because their time to live had ended.
    pub expired: u64,
    /// Deleted because nobody used them; their history stays.
    pub pruned: u64,
    /// MCP tasks that were removed because their time to live had ended, or written down as failed
    /// because their server was gone.
    pub mcp_tasks: u64,
    /// Deliveries of messages that ended because their time to live had, in no session's care.
    pub deliveries: u64,
    /// Queues closed because nobody came back for their sessions.
    pub queues: u64,
    /// Dead letters removed because of their age.
    pub dead_letters: u64,
    /// Records of idempotency keys removed because of their age.
    pub idempotency_keys: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relevance_halves_and_rises() {
        let start = Timestamp::from_micros(0).unwrap();
        let day = Duration::from_secs(86_400);
        let later = Timestamp::from_micros(day.as_micros() as i64).unwrap();
        assert_eq!(decayed(0.5, start, later, day), 0.25);
        assert_eq!(
            decayed(0.5, later, start, day),
            0.5,
            "a clock that went back"
        );
        assert!((reinforced(0.5, 1) - 0.55).abs() < 1e-12);
        assert!((reinforced(0.5, 2) - reinforced(reinforced(0.5, 1), 1)).abs() < 1e-12);
    }
}
