//! The latest events of one topic and namespace.

use std::collections::VecDeque;
use std::sync::Arc;

use super::event::Event;
use crate::config::limits::{EVENTS_BYTES_KEPT_MAX, EVENTS_KEPT_MAX};

/// Events in the order of their offsets. All that came after `floor` are there.
#[derive(Debug)]
pub(super) struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    floor: u64,
}

impl Ring {
    /// An empty one, of which nothing is known up to `floor`.
    pub(super) fn new(floor: u64) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            floor,
        }
    }

    /// Takes an event; the oldest ones make room.
    pub(super) fn push(&mut self, event: Arc<Event>) {
        self.bytes += event.bytes();
        self.events.push_back(event);
        while self.events.len() > EVENTS_KEPT_MAX || self.bytes > EVENTS_BYTES_KEPT_MAX {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes();
            self.floor = oldest.offset;
        }
    }

    /// Nothing up to `offset` is known any more.
    pub(super) fn lose(&mut self, offset: u64) {
        self.events.clear();
        self.bytes = 0;
        self.floor = offset;
    }

    /// Is everything here that came after `offset`?
    pub(super) fn knows_after(&self, offset: u64) -> bool {
        offset >= self.floor
    }

    /// Up to where nothing is known.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// The offset of the latest event.
    pub(super) fn latest(&self) -> u64 {
        self.events.back().map_or(self.floor, |event| event.offset)
    }

    /// The events after `offset`, oldest first.
    pub(super) fn after(&self, offset: u64) -> impl Iterator<Item = &Arc<Event>> {
        let from = self.events.partition_point(|event| event.offset <= offset);
        self.events.range(from..)
    }
}
