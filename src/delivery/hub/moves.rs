//! Sessions that come from other nodes and go to them, and what may be missed on the way.

use std::collections::HashSet;

use uuid::Uuid;

use super::super::queue::{Entry, Missed};
use super::held::Stage;
use super::{Effect, Hub};
use crate::domain::{AgentKey, Timestamp};

/// A session that goes on elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// What its client has missed for good and was not told.
    pub missed: Missed,
    /// An earlier server may have taken messages with it.
    pub volatile: bool,
    /// What was in memory only, in the order in which it goes.
    pub in_memory: Vec<Entry>,
}

impl<C: Copy + PartialEq> Hub<C> {
    /// Takes a message for a session from another node or, of a session that was elsewhere, from
    /// whomever. The first one of each sender is not taken but looked for in the store: another that
    /// the sender has sent before may be on its way by where the session was.
    pub fn offer_from(
        &mut self,
        session: Uuid,
        from: Option<Uuid>,
        entry: Entry,
        now: Timestamp,
    ) -> Option<bool> {
        let held = self.sessions.get_mut(&session)?;
        if let Some(senders) = &mut held.senders
            && entry.key.is_some()
            && senders.insert(from)
        {
            self.ring(session);
            return Some(true);
        }
        self.offer(session, entry, now)
    }

    /// Notes that a message in memory only could not be taken for a session.
    pub fn refuse(&mut self, session: Uuid) {
        match self.sessions.get_mut(&session) {
            Some(held) => {
                held.queue.refuse();
                self.dirty.push_back(session);
            }
            None => self.lost_volatile = true,
        }
    }

    /// Has a session look for everything that the store has for it: something may have been missed.
    pub fn ring(&mut self, session: Uuid) {
        let Some(held) = self.sessions.get_mut(&session) else {
            return;
        };
        held.catches_up = true;
        match held.stage {
            Stage::Serving => {
                held.stage = Stage::Waiting;
                self.start(session);
            }
            Stage::Filling => held.asks_again = true,
            // It is asked when its time comes; and what has ended is closed.
            Stage::Waiting | Stage::Ending => {}
        }
    }

    /// The same for all sessions; `volatile` if messages that were in memory only may be lost.
    pub fn catch_up(&mut self, volatile: bool) {
        let sessions: Vec<Uuid> = self.sessions.keys().copied().collect();
        for session in sessions {
            if let Some(held) = self.sessions.get_mut(&session) {
                held.volatile |= volatile;
            }
            self.ring(session);
        }
    }

    /// Gives a session of this agent away; `None` if there is none by that name, or if it has ended.
    /// Its queue in the store is left as it is.
    pub fn release(&mut self, session: Uuid, agent: &AgentKey) -> Option<Released> {
        let held = self.sessions.get(&session)?;
        if held.agent != *agent || held.stage == Stage::Ending {
            return None;
        }
        let mut held = self.sessions.remove(&session)?;
        self.sums.forget(&mut held);
        if let Some(connection) = held.connection {
            self.effects.push(Effect::Fence(connection));
            self.sums.counts.fenced += 1;
        }
        let in_memory = held.in_memory().cloned().collect();
        Some(Released {
            missed: held.queue.missed(),
            volatile: held.volatile,
            in_memory,
        })
    }

    /// Takes in what came along with a session that was on another node and was restored here; its
    /// client is told of it now.
    pub fn inherit(
        &mut self,
        session: Uuid,
        missed: Missed,
        in_memory: Vec<Entry>,
        now: Timestamp,
    ) {
        let Some(held) = self.sessions.get_mut(&session) else {
            return;
        };
        held.senders = Some(HashSet::new());
        held.queue.inherit(missed);
        for entry in in_memory {
            self.offer(session, entry, now);
        }
    }
}
