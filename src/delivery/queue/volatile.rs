//! Messages that are in memory only: which there are, and that the store has them now.

use uuid::Uuid;

use super::SessionQueue;
use super::entry::Entry;

impl SessionQueue {
    /// The store has the message `id` under `key` now, with so many deliveries counted. False if it
    /// has come to its end meanwhile.
    pub fn kept(&mut self, id: Uuid, key: i64, deliveries: u32) -> bool {
        let flights = self.window.iter_mut().map(|flight| &mut flight.entry);
        let mut entries = self.lanes.iter_mut().chain(&mut self.staged).chain(flights);
        let found = entries.find(|entry| entry.volatile_id() == Some(id));
        found.is_some_and(|entry| entry.keep(key, deliveries))
    }

    /// Were messages lost that were in memory only, and the client has not answered since it was told?
    pub fn has_lost_volatile(&self) -> bool {
        self.lost_volatile
    }

    /// Notes such a loss.
    pub(super) fn lose_volatile(&mut self) {
        self.lost_volatile = true;
        self.told_volatile = false;
    }
}

impl Entry {
    /// The id of a message that is in memory only.
    pub(in crate::delivery) fn volatile_id(&self) -> Option<Uuid> {
        let parcel = self.parcel.as_ref().filter(|_| self.key.is_none());
        parcel.map(|parcel| parcel.id)
    }

    /// Notes that the store has it; true for the sake of the caller.
    pub(in crate::delivery) fn keep(&mut self, key: i64, deliveries: u32) -> bool {
        self.key = Some(key);
        self.counted = deliveries;
        true
    }
}
