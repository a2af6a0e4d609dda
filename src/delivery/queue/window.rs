//! What has been delivered and waits to be settled.
//!
//! Invariants: at most [`WINDOW_MESSAGES_MAX`] messages and, beyond the first, [`WINDOW_BYTES_MAX`]
//! bytes; a message keeps its place in the sequence until it is settled.

use std::collections::BTreeMap;

use super::entry::Entry;
use super::lanes::earlier;
use crate::config::limits::{WINDOW_BYTES_MAX, WINDOW_MESSAGES_MAX};
use crate::domain::Timestamp;

/// How a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Sent; an answer is due.
    Sent { until: Timestamp },
    /// To be sent again then.
    Pause { until: Timestamp },
    /// To be sent again as soon as the store has counted it.
    Counting,
    /// Lost with a connection: to be sent again, in its turn, before anything new.
    Lost,
}

#[derive(Debug)]
pub(super) struct Flight {
    pub(super) entry: Entry,
    pub(super) state: State,
}

#[derive(Debug, Default)]
pub(super) struct Window {
    flights: BTreeMap<u64, Flight>,
    bytes: usize,
    /// Nothing is due before.
    due: Option<Timestamp>,
}

impl Window {
    /// Is there room for one more?
    pub(super) fn has_room(&self) -> bool {
        self.flights.len() < WINDOW_MESSAGES_MAX && self.bytes < WINDOW_BYTES_MAX
    }

    pub(super) fn insert(&mut self, seq: u64, flight: Flight) {
        self.bytes += flight.entry.bytes();
        self.note(flight.state);
        self.flights.insert(seq, flight);
    }

    pub(super) fn remove(&mut self, seq: u64) -> Option<Flight> {
        let flight = self.flights.remove(&seq)?;
        self.bytes -= flight.entry.bytes();
        Some(flight)
    }

    pub(super) fn get(&self, seq: u64) -> Option<&Flight> {
        self.flights.get(&seq)
    }

    /// The flight of a stored delivery.
    pub(super) fn seq_of(&self, key: i64) -> Option<u64> {
        let mut flights = self.flights.iter();
        flights.find_map(|(seq, flight)| (flight.entry.key == Some(key)).then_some(*seq))
    }

    /// Puts a flight into another state.
    pub(super) fn set(&mut self, seq: u64, state: State) {
        if let Some(flight) = self.flights.get_mut(&seq) {
            flight.state = state;
            self.note(state);
        }
    }

    pub(super) fn get_mut(&mut self, seq: u64) -> Option<&mut Flight> {
        self.flights.get_mut(&seq)
    }

    fn note(&mut self, state: State) {
        if let State::Sent { until } | State::Pause { until } = state {
            self.due = earlier(self.due, until);
        }
    }

    /// Everything, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Flight)> {
        self.flights.iter().map(|(seq, flight)| (*seq, flight))
    }

    /// Everything, to be changed; its bytes may not.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Flight> {
        self.flights.values_mut()
    }

    /// The places up to this one.
    pub(super) fn up_to(&self, seq: u64) -> Vec<u64> {
        self.flights.range(..=seq).map(|(seq, _)| *seq).collect()
    }

    /// The places of what is due, in order; to be asked again when it was seen to.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<u64> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let until = |flight: &Flight| match flight.state {
            State::Sent { until } | State::Pause { until } => Some(until),
            State::Counting | State::Lost => None,
        };
        self.due = self
            .flights
            .values()
            .filter_map(until)
            .filter(|until| *until > now)
            .min();
        let is_due = |flight: &Flight| until(flight).is_some_and(|until| until <= now);
        let flights = self.flights.iter().filter(|(_, flight)| is_due(flight));
        flights.map(|(seq, _)| *seq).collect()
    }

    /// When something may be due.
    pub(super) fn due_at(&self) -> Option<Timestamp> {
        self.due
    }

    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
