//! What is shown of a courier's work.

use super::Courier;
use crate::domain::Priority;
use crate::telemetry::{ResumeOutcome, delivery::LANES};

const _: () = assert!(LANES.len() == Priority::ALL.len());

impl Courier {
    /// Shows what the hub has done since the last turn, and what its sessions have.
    pub(super) fn show(&self) {
        let (counts, levels) = {
            let mut hub = self.hub.borrow_mut();
            (hub.take_counts(), hub.levels())
        };
        let metrics = &self.metrics.delivery;
        metrics.sent.add(counts.tally.sent);
        metrics.redelivered.add(counts.tally.redelivered);
        metrics.settled.add(counts.tally.settled);
        metrics.dropped.add(counts.tally.dropped);
        metrics.expired.add(counts.tally.expired);
        metrics.dead.add(counts.tally.dead);
        metrics.fenced.add(counts.fenced);
        metrics.windows_ended.add(counts.windows_ended);
        metrics.connected.set(levels.connected);
        metrics.waiting.set(levels.waiting);
        for (lane, waiting) in metrics.lanes.iter().zip(levels.lanes) {
            lane.set(waiting);
        }
        metrics.staged.set(levels.staged);
        metrics.in_window.set(levels.in_window);
        metrics.settling.set(levels.settling);
        metrics.held_bytes.set(levels.held_bytes);
    }

    /// Counts an attempt of a client to take up a session.
    pub fn count_resume(&self, outcome: ResumeOutcome) {
        self.metrics.delivery.count_resume(outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::{LANES, Priority};

    #[test]
    fn lanes_are_shown_by_the_names_of_their_priorities() {
        assert_eq!(LANES, Priority::ALL.map(Priority::as_str));
    }
}
