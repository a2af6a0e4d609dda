//! One session in a hub.

use std::collections::HashSet;

use uuid::Uuid;

use super::super::queue::{Entry, Levels, SessionQueue, Tally};
use super::{Effect, Request};
use crate::config::limits::QUEUED_BYTES_MAX;
use crate::domain::{AgentKey, Outline, Priority, Timestamp};

/// Deliveries whose offers may still come after they were found: far more than are on their way to one
/// session.
const FOUND_MAX: usize = 4_096;

/// How far a session's queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The store was not asked yet.
    Waiting,
    /// The store is asked what it has.
    Filling,
    /// Whatever comes is delivered.
    Serving,
    /// The session comes to its end.
    Ending,
}

/// A session that takes deliveries.
#[derive(Debug)]
pub struct Held<C> {
    pub(super) agent: AgentKey,
    pub(super) epoch: u64,
    pub(super) queue: SessionQueue,
    pub(super) connection: Option<C>,
    pub(super) stage: Stage,
    /// It was found in the store, and an earlier server may have taken messages with it.
    pub(super) volatile: bool,
    /// What goes into the queue when it is filled, and the bytes of their texts.
    parked: Vec<Entry>,
    parked_bytes: usize,
    parked_lanes: [u64; Priority::ALL.len()],
    /// Something may have been missed: the store is asked for everything that waits in the queue.
    pub(super) catches_up: bool,
    /// The store is to be asked once more after it has answered.
    pub(super) asks_again: bool,
    /// Questions that the store has not answered, and what has ended since the first of them: their
    /// answers may be older.
    asked: u32,
    ended: HashSet<i64>,
    /// Found in the store by looking for what may have been missed: offers that come after all are of
    /// no use.
    found: HashSet<i64>,
    /// Who has sent messages to a session that was on another node before.
    pub(super) senders: Option<HashSet<Option<Uuid>>>,
    /// When it ends, unless a connection comes.
    pub(super) ends: Option<Timestamp>,
    /// When the store is to be asked again.
    pub(super) again: Option<Timestamp>,
    /// The store is asked to close its queue.
    pub(super) closing: bool,
    /// Something was offered while the store was asked to close the queue.
    pub(super) late: bool,
    /// What was offered then was in memory only, and is lost.
    late_volatile: bool,
    /// Its client has taken up another session instead.
    pub(super) abandoned: bool,
    /// Its entry among the timers.
    pub(super) timer: Option<Timestamp>,
    /// What the sums of its hub know of it.
    pub(super) shown: (Tally, Levels),
}

impl<C> Held<C> {
    pub(super) fn new(
        agent: AgentKey,
        epoch: u64,
        queue: SessionQueue,
        connection: Option<C>,
        stage: Stage,
    ) -> Self {
        Self {
            agent,
            epoch,
            queue,
            connection,
            stage,
            volatile: false,
            parked: Vec::new(),
            parked_bytes: 0,
            parked_lanes: Default::default(),
            catches_up: false,
            asks_again: false,
            asked: 0,
            ended: HashSet::new(),
            found: HashSet::new(),
            senders: None,
            ends: None,
            again: None,
            closing: false,
            late: false,
            late_volatile: false,
            abandoned: false,
            timer: None,
            shown: Default::default(),
        }
    }

    /// Asks the store what there is for the queue.
    pub(super) fn ask_to_fill(&mut self, session: Uuid) -> Effect<C> {
        self.asked += 1;
        let agent = self.agent.clone();
        Effect::Ask {
            session,
            epoch: self.epoch,
            request: match self.catches_up {
                true => Request::CatchUp(agent),
                false => Request::Fill(agent),
            },
        }
    }

    pub(super) fn offer(&mut self, entry: Entry, now: Timestamp) -> bool {
        if entry.key.is_some_and(|key| self.found.remove(&key)) {
            return true;
        }
        match self.stage {
            Stage::Serving => self.queue.offer(entry, now),
            Stage::Waiting | Stage::Filling => {
                let room = QUEUED_BYTES_MAX.saturating_sub(self.parked_bytes);
                let Some(entry) = entry.fitted(room) else {
                    self.queue.refuse();
                    return false;
                };
                self.park(entry);
                true
            }
            Stage::Ending => {
                self.late = true;
                self.late_volatile |= entry.key.is_none();
                entry.key.is_some()
            }
        }
    }

    fn park(&mut self, entry: Entry) {
        self.parked_bytes += entry.held();
        self.parked_lanes[entry.priority.rank()] += 1;
        self.parked.push(entry);
    }

    /// Takes in what the store had, as far as it is not known; and, if that was the last that the queue
    /// waits for, has it delivered. `whole` if the store has told everything that waits in the queue.
    pub(super) fn fill(&mut self, outlines: Vec<Outline>, whole: bool, now: Timestamp) {
        let parked = self.parked.iter().filter_map(|entry| entry.key);
        let known: HashSet<i64> = self.queue.keys().chain(parked).collect();
        for outline in outlines {
            if !known.contains(&outline.key) && !self.ended.contains(&outline.key) {
                self.note_found(outline.key);
                let entry = Entry::found(outline);
                match self.stage {
                    Stage::Waiting | Stage::Filling => self.park(entry),
                    Stage::Serving | Stage::Ending => drop(self.queue.offer(entry, now)),
                }
            }
        }
        let is_answered = whole || !self.catches_up;
        if self.stage != Stage::Filling || self.asks_again || !is_answered {
            return;
        }
        self.stage = Stage::Serving;
        self.catches_up = false;
        self.parked_bytes = 0;
        self.parked_lanes = Default::default();
        // What was found may have been sent before what was offered, or after it.
        self.parked.sort_by_key(|entry| entry.message);
        for entry in self.parked.drain(..) {
            self.queue.offer(entry, now);
        }
    }

    /// Notes a delivery that was found in the store while its offer may be on its way.
    fn note_found(&mut self, key: i64) {
        if !self.catches_up {
            return;
        }
        if self.found.len() >= FOUND_MAX {
            // Offers that have not come by now were lost.
            self.found.clear();
        }
        self.found.insert(key);
    }

    /// The store has answered one question, or could not.
    pub(super) fn answered(&mut self) {
        self.asked = self.asked.saturating_sub(1);
        if self.asked == 0 {
            self.ended.clear();
        }
    }

    /// The store says that these have ended.
    pub(super) fn note_ended(&mut self, keys: &[i64]) {
        if self.asked > 0 {
            self.ended.extend(keys);
        }
    }

    /// What is in memory only and not settled, in the order in which it goes or went.
    pub(super) fn in_memory(&self) -> impl Iterator<Item = &Entry> {
        let parked = self.parked.iter().filter(|entry| entry.key.is_none());
        self.queue.in_memory().chain(parked)
    }

    /// These were settled for the whole agent.
    pub(super) fn withdraw(&mut self, keys: Vec<i64>) {
        self.note_ended(&keys);
        let is_gone = |entry: &Entry| entry.key.is_some_and(|key| keys.contains(&key));
        self.parked.retain(|entry| !is_gone(entry));
        self.parked_bytes = self.parked.iter().map(Entry::held).sum();
        self.parked_lanes = Default::default();
        for entry in &self.parked {
            self.parked_lanes[entry.priority.rank()] += 1;
        }
        self.queue.withdraw(keys);
    }

    /// The store has a message now that was in memory only; false if it has ended meanwhile.
    pub(super) fn kept(&mut self, id: Uuid, key: i64, deliveries: u32) -> bool {
        let mut parked = self.parked.iter_mut();
        match parked.find(|entry| entry.volatile_id() == Some(id)) {
            Some(entry) => entry.keep(key, deliveries),
            None => self.queue.kept(id, key, deliveries),
        }
    }

    /// Were messages lost that were in memory only, and the client does not know?
    pub(super) fn has_lost_volatile(&self) -> bool {
        self.volatile || self.late_volatile || self.queue.has_lost_volatile()
    }

    /// The agent that it belongs to.
    pub fn agent(&self) -> &AgentKey {
        &self.agent
    }

    /// Its epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Everything that is not settled yet, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.queue.entries().chain(&self.parked)
    }

    /// What it has at present.
    pub fn levels(&self) -> Levels {
        let mut levels = self.queue.levels();
        for (sum, parked) in levels.lanes.iter_mut().zip(self.parked_lanes) {
            *sum += parked;
        }
        levels.held_bytes += self.parked_bytes as u64;
        levels
    }

    /// Its queue.
    pub fn queue(&self) -> &SessionQueue {
        &self.queue
    }

    /// Has it a connection?
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }
}
