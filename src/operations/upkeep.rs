//! What the store's upkeep has done, for the statistics.

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::{Timestamp, UpkeepReport};

/// The report of all runs since the start.
#[derive(Debug, Default)]
pub struct Upkeep(Mutex<UpkeepStats>);

/// Of system/stats.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct UpkeepStats {
    /// Runs since the start.
    pub runs: u64,
    /// When the latest run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_at: Option<Timestamp>,
    /// Memories removed because their time to live had ended.
    pub expired: u64,
    /// Memories deleted because nobody used them.
    pub pruned: u64,
    /// MCP tasks removed because their time to live had ended, or set failed because their server
    /// was gone.
    pub mcp_tasks: u64,
    /// Deliveries of messages that ended because their time to live had, in no session's care.
    pub deliveries: u64,
    /// Queues of messages closed because nobody came back for their sessions.
    pub queues: u64,
    /// Dead letters removed because of their age.
    pub dead_letters: u64,
    /// Records of idempotency keys removed because of their age.
    pub idempotency_keys: u64,
    /// Runs that the store did not finish.
    pub failed: u64,
}

impl Upkeep {
    /// Adds a run that ended now.
    pub fn add(&self, run: Option<UpkeepReport>) {
        let mut stats = self.0.lock();
        stats.runs += 1;
        stats.last_run_at = Some(Timestamp::now());
        match run {
            Some(report) => {
                stats.expired += report.expired;
                stats.pruned += report.pruned;
                stats.mcp_tasks += report.mcp_tasks;
                stats.deliveries += report.deliveries;
                stats.queues += report.queues;
                stats.dead_letters += report.dead_letters;
                stats.idempotency_keys += report.idempotency_keys;
            }
            None => stats.failed += 1,
        }
    }

    /// The sum so far.
    pub fn stats(&self) -> UpkeepStats {
        self.0.lock().clone()
    }
}
