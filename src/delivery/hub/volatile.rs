//! What sessions have in memory only, on its way into the store when the server stops.

use std::sync::Arc;

use uuid::Uuid;

use super::super::queue::Parcel;
use super::Hub;
use crate::domain::AgentKey;

/// A message that a session has in memory only.
#[derive(Debug, Clone)]
pub struct Volatile {
    /// The session.
    pub session: Uuid,
    /// Its epoch, to come back with the answer.
    pub epoch: u64,
    /// Its agent.
    pub agent: AgentKey,
    /// The message.
    pub parcel: Arc<Parcel>,
    /// Deliveries made so far.
    pub deliveries: u32,
}

/// Which sessions are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// Those that have no connection.
    Absent,
    /// All.
    All,
}

impl<C: Copy + PartialEq> Hub<C> {
    /// Messages that are in memory only, in no order.
    pub fn volatile(&self, among: Among) -> impl Iterator<Item = Volatile> {
        let sessions = self.sessions.iter();
        let meant = sessions.filter(move |(_, held)| among == Among::All || !held.is_connected());
        meant.flat_map(|(session, held)| {
            let entries = held.entries().filter(|entry| entry.key.is_none());
            entries.filter_map(|entry| {
                Some(Volatile {
                    session: *session,
                    epoch: held.epoch,
                    agent: held.agent.clone(),
                    parcel: Arc::clone(entry.parcel.as_ref()?),
                    deliveries: entry.made,
                })
            })
        })
    }

    /// The store has a message now that was in memory only. False if it has come to its end
    /// meanwhile; `None` if the session has.
    pub fn kept(&mut self, kept: &Volatile, key: i64) -> Option<bool> {
        let held = self.of_epoch(kept.session, kept.epoch)?;
        let found = held.kept(kept.parcel.id, key, kept.deliveries);
        self.dirty.push_back(kept.session);
        Some(found)
    }

    /// Were messages lost that were in memory only, and their receivers do not know?
    pub fn has_lost_volatile(&self) -> bool {
        let mut sessions = self.sessions.values();
        self.lost_volatile || sessions.any(|held| held.has_lost_volatile())
    }
}
