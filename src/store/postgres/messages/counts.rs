//! How many deliveries wait for agents, as far as a shard knows: counting reads a row for each.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::domain::AgentKey;
use crate::domain::message::WAITING_MAX;

/// A count is good for so long; what other shards post meanwhile is not in it.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// From here on every post counts anew.
const CLOSE: i64 = (WAITING_MAX as i64) / 10 * 9;
/// Agents remembered.
const AGENTS_MAX: usize = 20_000;

struct Count {
    waiting: i64,
    counted: Instant,
}

/// Recent counts, with what this shard has posted since. What was settled is not taken off.
#[derive(Default)]
pub(super) struct WaitingCounts(HashMap<AgentKey, Count>);

impl WaitingCounts {
    /// How many wait at most for `agent`; none if that must be counted before `coming` more may be
    /// stored. So nobody is refused by what was true a moment ago.
    pub(super) fn of(&self, agent: &AgentKey, coming: i64) -> Option<i64> {
        let count = self.0.get(agent)?;
        let good = count.waiting + coming < CLOSE && count.counted.elapsed() < GOOD_FOR;
        good.then_some(count.waiting)
    }

    /// Takes over what was counted.
    pub(super) fn learn(&mut self, agent: &AgentKey, waiting: i64) {
        if self.0.len() >= AGENTS_MAX {
            self.0.clear();
        }
        let counted = Instant::now();
        self.0.insert(agent.clone(), Count { waiting, counted });
    }

    /// Counts one more.
    pub(super) fn add(&mut self, agent: &AgentKey) {
        if let Some(count) = self.0.get_mut(agent) {
            count.waiting += 1;
        }
    }
}
