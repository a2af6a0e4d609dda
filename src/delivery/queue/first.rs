//! Deliveries that are made for the first time in an epoch, and what has to come before.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::entry::{Entry, Parcel};
use super::lanes::Next;
use super::window::{Flight, State};
use super::{Action, RETRY_MS, SessionQueue, ack_due};
use crate::config::limits::WINDOW_MESSAGES_MAX;
use crate::domain::message::DELIVERIES_MAX;
use crate::domain::{DeathCause, Timestamp};

impl SessionQueue {
    /// Fills the window from the lanes, until something has to be counted or loaded first.
    pub(super) fn deliver(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        while self.lost.is_empty() && self.staged.is_empty() && self.has_room() {
            match self.lanes.pop(now) {
                Next::Nothing => break,
                Next::Load(keys) => actions.push(Action::Load(keys)),
                Next::Entry(entry) if entry.made >= DELIVERIES_MAX => {
                    self.missed.dead += 1;
                    self.give_up(entry, DeathCause::Undeliverable, None, now);
                }
                Next::Entry(entry) if entry.is_counted() => self.send(entry, now, actions),
                Next::Entry(entry) => {
                    self.staged.push_back(entry);
                    self.stage_more(now, actions);
                    self.stage_again = Some(now);
                    self.stage(now, actions);
                }
            }
        }
    }

    /// Takes more that has to be counted, so that the store is asked once for all of it.
    pub(super) fn stage_more(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        while self.window.len() + self.settling.len() + self.staged.len() < WINDOW_MESSAGES_MAX {
            match self.lanes.pop(now) {
                Next::Entry(entry) if entry.made < DELIVERIES_MAX => self.staged.push_back(entry),
                Next::Entry(entry) => {
                    self.missed.dead += 1;
                    self.give_up(entry, DeathCause::Undeliverable, None, now);
                }
                Next::Load(keys) => actions.push(Action::Load(keys)),
                Next::Nothing => break,
            }
        }
    }

    /// Has the store count what is staged.
    pub(super) fn stage(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if !self.lost.is_empty() || self.stage_again.is_none_or(|again| again > now) {
            return;
        }
        self.stage_again = None;
        let uncounted = self.staged.iter().filter(|entry| !entry.is_counted());
        let keys: Vec<i64> = uncounted.filter_map(|entry| entry.key).collect();
        if keys.is_empty() {
            self.send_staged(now, actions);
        } else {
            actions.push(Action::Count(keys));
        }
    }

    pub(super) fn send_staged(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        while let Some(entry) = self.staged.pop_front() {
            self.send(entry, now, actions);
        }
    }

    pub(super) fn send(&mut self, mut entry: Entry, now: Timestamp, actions: &mut Vec<Action>) {
        let Some(parcel) = entry.parcel.clone() else {
            return;
        };
        self.latest += 1;
        entry.made += 1;
        entry.number += 1;
        let (seq, delivery) = (self.latest, entry.number);
        actions.push(Action::Send {
            seq,
            delivery,
            dropped: self.tally.dropped_in_short(),
            parcel,
        });
        let state = State::Sent {
            until: ack_due(now),
        };
        self.window.insert(seq, Flight { entry, state });
        self.tally.sent += 1;
        self.tally.redelivered += u64::from(delivery > 1);
    }

    /// The store has counted these, or could not.
    pub fn counted(&mut self, keys: &[i64], done: bool, now: Timestamp, actions: &mut Vec<Action>) {
        let (mut staged, mut lost) = (false, false);
        for entry in self
            .staged
            .iter_mut()
            .filter(|entry| entry.key.is_some_and(|key| keys.contains(&key)))
        {
            entry.counted += u32::from(done);
            staged = true;
        }
        for key in keys {
            let Some(seq) = self.window.seq_of(*key) else {
                continue;
            };
            if let Some(flight) = self.window.get_mut(seq) {
                flight.entry.counted += u32::from(done);
                if flight.state == State::Lost {
                    lost = true;
                    continue;
                }
                let pause = if done { 0 } else { RETRY_MS };
                let until = now.plus_millis(pause).unwrap_or(now);
                self.window.set(seq, State::Pause { until });
            }
        }
        if lost && done && self.connected {
            self.send_lost(now, actions);
        } else if lost {
            self.lost_again = now.plus_millis(if done { 0 } else { RETRY_MS });
        }
        if staged && done && self.connected && self.lost.is_empty() {
            self.send_staged(now, actions);
        } else if staged {
            let pause = if done { 0 } else { RETRY_MS };
            self.stage_again = now.plus_millis(pause);
        }
    }

    /// The store has answered what it was asked for; what it has not is gone from it. `None` if it
    /// could not answer.
    pub fn loaded(&mut self, asked: &[i64], found: Option<&BTreeMap<i64, Arc<Parcel>>>) {
        match found {
            Some(found) => self.lanes.fill(asked, |key| found.get(&key).cloned()),
            None => self.lanes.forget_loads(),
        }
    }

    /// What the store has yet to settle has not gone yet.
    pub(super) fn has_room(&self) -> bool {
        self.window.has_room() && self.window.len() + self.settling.len() < WINDOW_MESSAGES_MAX
    }
}
