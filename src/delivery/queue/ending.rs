//! Deliveries that come to their end: settled, expired, given up.

use super::entry::Entry;
use super::window::{Flight, State};
use super::{Action, Burial, GIVEN_UP_MAX, RETRY_MS, SessionQueue, ack_due};
use crate::domain::{DeathCause, Timestamp};

impl SessionQueue {
    pub(super) fn expire(&mut self, now: Timestamp) {
        let mut expired = self.lanes.expire(now);
        if self.stage_again.is_some() {
            let is_over = |entry: &Entry| entry.expires_at <= now;
            let (out, rest): (Vec<_>, Vec<_>) = self.staged.drain(..).partition(is_over);
            self.staged = rest.into();
            expired.extend(out);
        }
        for entry in expired {
            self.missed.expired += 1;
            self.give_up(entry, DeathCause::Expired, None, now);
        }
    }

    /// The store has settled these, or could not: then they are open again.
    pub fn settled(&mut self, keys: &[i64], done: bool, now: Timestamp) {
        for key in keys {
            let Some((seq, entry)) = self.settling.remove(key) else {
                continue;
            };
            if !done {
                let state = State::Sent {
                    until: ack_due(now),
                };
                self.window.insert(seq, Flight { entry, state });
            }
        }
    }

    /// The store has made dead letters of these, or could not.
    pub fn buried(&mut self, keys: &[i64], done: bool, now: Timestamp) {
        for key in keys {
            if done {
                self.burying.remove(key);
            } else if let Some(burial) = self.burying.get_mut(key) {
                burial.again = now.plus_millis(RETRY_MS);
            }
        }
    }

    /// These were settled for the whole agent, in the store already; returns how many were here.
    pub fn withdraw(&mut self, mut keys: Vec<i64>) -> usize {
        keys.sort_unstable();
        let mut count = self.lanes.remove(&keys);
        let staged = self.staged.len();
        self.staged.retain(|entry| {
            entry
                .key
                .is_none_or(|key| keys.binary_search(&key).is_err())
        });
        count += staged - self.staged.len();
        for key in keys {
            count += usize::from(self.burying.remove(&key).is_some());
            count += usize::from(self.settling.remove(&key).is_some());
            if let Some(seq) = self.window.seq_of(key) {
                self.window.remove(seq);
                count += 1;
            }
        }
        count
    }

    pub(super) fn give_up_flight(
        &mut self,
        seq: u64,
        cause: DeathCause,
        reason: Option<Box<str>>,
        now: Timestamp,
    ) {
        if let Some(flight) = self.window.remove(seq) {
            if cause != DeathCause::Terminated {
                self.given_up.push_back(seq);
                if self.given_up.len() > GIVEN_UP_MAX {
                    self.given_up_before = self.given_up.pop_front().unwrap_or_default();
                }
            }
            self.give_up(flight.entry, cause, reason, now);
        }
    }

    pub(super) fn give_up(
        &mut self,
        entry: Entry,
        cause: DeathCause,
        reason: Option<Box<str>>,
        now: Timestamp,
    ) {
        match cause {
            DeathCause::Expired => self.tally.expired += 1,
            DeathCause::Undeliverable | DeathCause::Terminated => self.tally.dead += 1,
        }
        if entry.key.is_none() && cause != DeathCause::Terminated {
            self.lose_volatile();
        }
        if let Some(key) = entry.key {
            let again = Some(now);
            self.burying.insert(
                key,
                Burial {
                    cause,
                    reason,
                    again,
                },
            );
        }
    }

    pub(super) fn bury_again(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let mut dead = Vec::new();
        for (key, burial) in &mut self.burying {
            if burial.again.is_some_and(|again| again <= now) {
                burial.again = None;
                dead.push((*key, burial.cause, burial.reason.clone()));
            }
        }
        if !dead.is_empty() {
            actions.push(Action::Bury(dead));
        }
    }
}
