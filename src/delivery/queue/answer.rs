//! What clients say of deliveries.

use super::window::State;
use super::{SessionQueue, ack_due};
use crate::config::limits::NACK_MS_MAX;
use crate::domain::{DeathCause, Timestamp};

/// Deliveries that a client settles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acked {
    /// Everything up to this place.
    UpTo(u64),
    /// These places; each with the delivery that is meant, if it was named.
    Places(Vec<(u64, Option<u32>)>),
}

/// What an answer of a client met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answered {
    /// Deliveries that the answer was for and that were open.
    pub accepted: u64,
    /// Of these, those that the store has to settle; see [`SessionQueue::settled`].
    pub keys: Vec<i64>,
    /// Places whose message was delivered again since: the answer came too late for them.
    pub stale: Vec<u64>,
    /// Places that are not open: settled before, given up, or never sent in this epoch.
    pub unknown: Vec<u64>,
}

/// A client settles up to a place that it cannot have received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("up_to is {up_to}, but the latest delivery of this epoch is {latest}")]
pub struct BeyondSent {
    /// What it said.
    pub up_to: u64,
    /// The latest place.
    pub latest: u64,
}

impl SessionQueue {
    /// The client has done with deliveries.
    pub fn ack(&mut self, acked: Acked) -> Result<Answered, BeyondSent> {
        let places = match acked {
            Acked::Places(places) => places,
            Acked::UpTo(up_to) if up_to > self.latest => {
                let latest = self.latest;
                return Err(BeyondSent { up_to, latest });
            }
            Acked::UpTo(up_to) => {
                let places = self.window.up_to(up_to).into_iter();
                places.map(|seq| (seq, None)).collect()
            }
        };
        self.heard();
        let mut answered = Answered::default();
        for (seq, delivery) in places {
            if !self.is_open(seq, delivery, &mut answered) {
                continue;
            }
            if let Some(flight) = self.window.remove(seq) {
                self.tally.settled += 1;
                if let Some(key) = flight.entry.key {
                    self.settling.insert(key, (seq, flight.entry));
                    answered.keys.push(key);
                }
            }
        }
        Ok(answered)
    }

    /// The client wants a delivery again, after a while.
    pub fn nack(
        &mut self,
        seq: u64,
        delivery: Option<u32>,
        delay_ms: u64,
        now: Timestamp,
    ) -> Answered {
        self.heard();
        let mut answered = Answered::default();
        if self.is_open(seq, delivery, &mut answered) {
            let until = now.plus_millis(delay_ms.min(NACK_MS_MAX)).unwrap_or(now);
            self.window.set(seq, State::Pause { until });
        }
        answered
    }

    /// The client is still at work on a delivery.
    pub fn extend(&mut self, seq: u64, delivery: Option<u32>, now: Timestamp) -> Answered {
        self.heard();
        let mut answered = Answered::default();
        if self.is_open(seq, delivery, &mut answered)
            && self
                .window
                .get(seq)
                .is_some_and(|flight| matches!(flight.state, State::Sent { .. }))
        {
            let until = ack_due(now);
            self.window.set(seq, State::Sent { until });
        }
        answered
    }

    /// The client wants a message never again.
    pub fn term(
        &mut self,
        seq: u64,
        delivery: Option<u32>,
        reason: Option<Box<str>>,
        now: Timestamp,
    ) -> Answered {
        self.heard();
        let mut answered = Answered::default();
        if self.is_open(seq, delivery, &mut answered) {
            self.give_up_flight(seq, DeathCause::Terminated, reason, now);
        }
        answered
    }

    /// The client is there: what it was told has reached it.
    pub(super) fn heard(&mut self) {
        self.missed -= std::mem::take(&mut self.told);
        if std::mem::take(&mut self.told_volatile) {
            self.lost_volatile = false;
        }
    }

    /// Is this the latest delivery of its message, and not settled? Notes what it is otherwise.
    fn is_open(&self, seq: u64, delivery: Option<u32>, answered: &mut Answered) -> bool {
        let Some(flight) = self.window.get(seq) else {
            answered.unknown.push(seq);
            return false;
        };
        if delivery.is_some_and(|delivery| delivery != flight.entry.number) {
            answered.stale.push(seq);
            return false;
        }
        answered.accepted += 1;
        true
    }
}
