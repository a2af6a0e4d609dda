//! What the store has answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::super::queue::Parcel;
use super::held::Stage;
use super::{Effect, Hub, RETRY_MS};
use crate::domain::{Outline, Timestamp};

impl<C: Copy + PartialEq> Hub<C> {
    /// What the store had for a queue; `None` if it could not answer.
    pub fn filled(
        &mut self,
        session: Uuid,
        epoch: u64,
        outlines: Option<Vec<Outline>>,
        now: Timestamp,
    ) {
        self.found(session, epoch, outlines, false, now);
    }

    /// Everything that waits in a queue; `None` if the store could not answer. Whatever was offered on
    /// this machine before the store was asked has to be taken in before.
    pub fn caught_up(
        &mut self,
        session: Uuid,
        epoch: u64,
        outlines: Option<Vec<Outline>>,
        now: Timestamp,
    ) {
        self.found(session, epoch, outlines, true, now);
    }

    fn found(
        &mut self,
        session: Uuid,
        epoch: u64,
        outlines: Option<Vec<Outline>>,
        whole: bool,
        now: Timestamp,
    ) {
        let Some(held) = self.of_epoch(session, epoch) else {
            return;
        };
        match outlines {
            Some(outlines) => held.fill(outlines, whole, now),
            None => {
                if held.stage == Stage::Filling && (whole || !held.catches_up) {
                    held.stage = Stage::Waiting;
                    held.asks_again = false;
                }
                // What the store may have done all the same it tells the next time.
                held.again = now.plus_millis(RETRY_MS);
            }
        }
        held.answered();
        if std::mem::take(&mut held.asks_again) {
            let effect = held.ask_to_fill(session);
            self.effects.push(effect);
        }
        self.dirty.push_back(session);
    }

    /// The store has counted deliveries, or could not.
    pub fn counted(&mut self, session: Uuid, epoch: u64, keys: &[i64], done: bool, now: Timestamp) {
        let mut actions = std::mem::take(&mut self.actions);
        if let Some(held) = self.of_epoch(session, epoch) {
            held.queue.counted(keys, done, now, &mut actions);
            self.dirty.push_back(session);
        }
        self.actions = actions;
        self.carry_out(session);
    }

    /// The store has loaded messages; `None` if it could not.
    pub fn loaded(
        &mut self,
        session: Uuid,
        epoch: u64,
        asked: &[i64],
        found: Option<&BTreeMap<i64, Arc<Parcel>>>,
        now: Timestamp,
    ) {
        if let Some(held) = self.of_epoch(session, epoch) {
            held.queue.loaded(asked, found);
            if found.is_none() {
                held.again = now.plus_millis(RETRY_MS);
            }
            self.dirty.push_back(session);
        }
    }

    /// The store has settled deliveries, or could not.
    pub fn settled(&mut self, session: Uuid, epoch: u64, keys: &[i64], done: bool, now: Timestamp) {
        if let Some(held) = self.of_epoch(session, epoch) {
            held.queue.settled(keys, done, now);
            if done {
                held.note_ended(keys);
            }
            self.dirty.push_back(session);
        }
    }

    /// The store has made dead letters, or could not.
    pub fn buried(&mut self, session: Uuid, epoch: u64, keys: &[i64], done: bool, now: Timestamp) {
        if let Some(held) = self.of_epoch(session, epoch) {
            held.queue.buried(keys, done, now);
            if done {
                held.note_ended(keys);
            }
            self.dirty.push_back(session);
        }
    }

    /// The store has closed a queue, or could not.
    pub fn closed(&mut self, session: Uuid, epoch: u64, done: bool, now: Timestamp) {
        let Some(held) = self.of_epoch(session, epoch) else {
            return;
        };
        if done && !held.late {
            let agent = held.agent.clone();
            let lost = held.has_lost_volatile() || held.entries().any(|entry| entry.key.is_none());
            self.lost_volatile |= lost;
            if let Some(mut held) = self.sessions.remove(&session) {
                self.sums.forget(&mut held);
            }
            self.effects.push(Effect::Ended { session, agent });
            return;
        }
        held.late = false;
        held.closing = false;
        held.ends = now.plus_millis(if done { 0 } else { RETRY_MS });
        self.dirty.push_back(session);
    }
}
