//! What stands in a queue.

use std::sync::Arc;

use uuid::Uuid;

use crate::domain::{Outline, Priority, Timestamp};

/// What a parcel and its place in a queue cost besides its text, so that a million empty messages
/// are not free.
const OVERHEAD_BYTES: usize = 128;

/// A message as it goes out: written once, however many sessions receive it.
#[derive(Debug, PartialEq, Eq)]
pub struct Parcel {
    /// The message's id.
    pub id: Uuid,
    /// The members of `notifications/delivery` that are the same for every receiver, as JSON.
    pub text: Box<[u8]>,
}

/// One delivery in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the store; none if it is in memory only.
    pub key: Option<i64>,
    /// The message's id.
    pub message: Uuid,
    /// The message's.
    pub priority: Priority,
    /// The message's.
    pub expires_at: Timestamp,
    /// Deliveries counted in the store.
    pub counted: u32,
    /// Deliveries made, but for those that the client says were lost with a connection: never more
    /// than were counted.
    pub made: u32,
    /// The number of the latest delivery.
    pub number: u32,
    /// Bytes of the text, or of the body if the text is not at hand.
    bytes: usize,
    /// The message; none if it has to be loaded.
    pub parcel: Option<Arc<Parcel>>,
    /// Since when it is in its lane.
    pub(super) since: Timestamp,
}

impl Entry {
    /// A message that is in memory only.
    pub fn volatile(parcel: Arc<Parcel>, priority: Priority, expires_at: Timestamp) -> Self {
        Self {
            key: None,
            message: parcel.id,
            priority,
            expires_at,
            counted: 0,
            made: 0,
            number: 0,
            bytes: parcel.text.len(),
            parcel: Some(parcel),
            since: Timestamp::EPOCH,
        }
    }

    /// A message that has just been stored; `begun` if its first delivery is counted already.
    pub fn stored(
        key: i64,
        begun: bool,
        parcel: Arc<Parcel>,
        priority: Priority,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            key: Some(key),
            counted: u32::from(begun),
            ..Self::volatile(parcel, priority, expires_at)
        }
    }

    /// A message that is found in the store again. Whatever was counted may have been made.
    pub fn found(outline: Outline) -> Self {
        Self {
            key: Some(outline.key),
            message: outline.message,
            priority: outline.priority,
            expires_at: outline.expires_at,
            counted: outline.deliveries,
            made: outline.deliveries,
            number: outline.deliveries,
            bytes: outline.bytes,
            parcel: None,
            since: Timestamp::EPOCH,
        }
    }

    /// What it takes in memory with its text.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + OVERHEAD_BYTES
    }

    /// The entry as it fits into so many bytes: without its text if it is in the store, and not at
    /// all if it is not.
    pub(in crate::delivery) fn fitted(mut self, room: usize) -> Option<Self> {
        if self.parcel.is_some() && self.bytes() > room {
            self.key?;
            self.parcel = None;
        }
        Some(self)
    }

    /// Bytes of the text that it holds.
    pub(in crate::delivery) fn held(&self) -> usize {
        self.parcel.as_ref().map_or(0, |_| self.bytes())
    }

    /// May the next delivery be made, or has the store to count it first?
    pub(super) fn is_counted(&self) -> bool {
        self.key.is_none() || self.counted > self.made
    }
}
