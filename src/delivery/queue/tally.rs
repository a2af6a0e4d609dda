//! Counts of what a queue has done.

use serde::{Deserialize, Serialize};

/// What has happened so far, for metrics and for the truth about what was missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Deliveries made.
    pub sent: u64,
    /// Of these, repeated ones.
    pub redelivered: u64,
    /// Messages settled by the client.
    pub settled: u64,
    /// Messages in memory only that found no room.
    pub dropped: u64,
    /// Messages whose time to live ended.
    pub expired: u64,
    /// Messages given up for other reasons.
    pub dead: u64,
}

impl Tally {
    /// What was dropped, as deliveries tell it: the most of 32 bits stand for more.
    pub(super) fn dropped_in_short(&self) -> u32 {
        u32::try_from(self.dropped).unwrap_or(u32::MAX)
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.sent += more.sent;
        self.redelivered += more.redelivered;
        self.settled += more.settled;
        self.dropped += more.dropped;
        self.expired += more.expired;
        self.dead += more.dead;
    }
}

impl std::ops::Sub for Tally {
    type Output = Self;

    /// What has happened since `before`, an earlier count of the same queue.
    fn sub(self, before: Self) -> Self {
        Self {
            sent: self.sent - before.sent,
            redelivered: self.redelivered - before.redelivered,
            settled: self.settled - before.settled,
            dropped: self.dropped - before.dropped,
            expired: self.expired - before.expired,
            dead: self.dead - before.dead,
        }
    }
}

/// What a session that comes back has missed for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// Messages in memory only that found no room.
    pub dropped: u64,
    /// Messages whose time to live ended before they reached it.
    pub expired: u64,
    /// Messages given up that it may not have seen.
    pub dead: u64,
}

impl Missed {
    /// Has it missed nothing?
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl std::ops::SubAssign for Missed {
    fn sub_assign(&mut self, less: Self) {
        self.dropped -= less.dropped;
        self.expired -= less.expired;
        self.dead -= less.dead;
    }
}
