//! What the sessions of a hub have done and have, summed up as it changes.
//!
//! Invariants
//! - Whatever a session has counted is in the hub's counts before it leaves the hub.
//! - After [`Hub::poll`] the levels are those of all sessions together; nobody walks through them to
//!   know it.

use uuid::Uuid;

use super::super::queue::{Levels, Tally};
use super::{Held, Hub};

/// What has happened in a hub since it was last asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// What queues have counted.
    pub tally: Tally,
    /// Connections that have lost their session to another one.
    pub fenced: u64,
    /// Sessions whose reconnect window ended.
    pub windows_ended: u64,
}

/// What a hub keeps of it.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) counts: Counts,
    levels: Levels,
}

impl Sums {
    /// Takes in what a session has counted and has now.
    pub(super) fn note<C>(&mut self, held: &mut Held<C>) {
        let (tally, levels) = (held.queue().tally(), held.levels());
        self.counts.tally += tally - std::mem::replace(&mut held.shown.0, tally);
        let before = std::mem::replace(&mut held.shown.1, levels);
        self.levels.replace(&before, &levels);
    }

    /// The same of a session that leaves.
    pub(super) fn forget<C>(&mut self, held: &mut Held<C>) {
        self.note(held);
        self.levels.replace(&held.shown.1, &Levels::default());
    }
}

impl<C: Copy + PartialEq> Hub<C> {
    pub(super) fn note(&mut self, session: Uuid) {
        if let Some(held) = self.sessions.get_mut(&session) {
            self.sums.note(held);
        }
    }

    /// What has happened since this was last asked.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.sums.counts)
    }

    /// What its sessions have, as of the last [`Self::poll`].
    pub fn levels(&self) -> Levels {
        self.sums.levels
    }
}
