//! The queue of one session: what is to be delivered to it, and what became of that.
//!
//! A state machine without I/O: it is driven by calls and the time they carry, and says in
//! [`Action`]s what is to be sent and what its store has to do. Shape: the acknowledgements of
//! NATS JetStream, and positions in epochs as Centrifugo has them.
//!
//! Invariants
//! - A message gets its place in the sequence when it is first sent and keeps it; so whoever has
//!   received a place has been sent every place before it, and may settle them all at once.
//! - An answer names the delivery that it answers: a late one settles nothing that was sent after it.
//! - The store counts a delivery before it is made; nothing reaches a client more than
//!   [`DELIVERIES_MAX`](crate::domain::message::DELIVERIES_MAX) times, in this epoch and all before it together.
//! - What is settled is gone when the store says so. If it cannot, the delivery is open again.
//!
//! ```text
//! offer -> lanes -> (counted) -> window --ack--> settling -> gone
//!                                   |  ^             |
//!                      no answer    v  |             +--store fails--> window
//!                                  pause             dead letter, in the same way
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::config::limits::{ACK_SECONDS, WINDOW_MESSAGES_MAX};
use crate::domain::{DeathCause, Timestamp};

mod answer;
mod backoff;
mod ending;
mod entry;
mod first;
mod lanes;
mod levels;
mod redelivery;
mod tally;
mod volatile;
mod window;

pub use answer::{Acked, Answered, BeyondSent};
pub use entry::{Entry, Parcel};
pub use levels::Levels;
pub use tally::{Missed, Tally};

use lanes::Lanes;
use window::Window;

/// Pause before the store is asked again for what it could not do.
const RETRY_MS: u64 = 1_000;
/// Places of messages that were given up which are kept one by one: four windows.
const GIVEN_UP_MAX: usize = 4 * WINDOW_MESSAGES_MAX;

/// What is to be done for a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A delivery goes to the client.
    Send {
        /// Its place in the sequence of the epoch.
        seq: u64,
        /// Which delivery of this message it is, from 1.
        delivery: u32,
        /// Messages in memory only that found no room in this epoch so far.
        dropped: u32,
        /// What is delivered.
        parcel: Arc<Parcel>,
    },
    /// The store is to count one more delivery of each; see [`SessionQueue::counted`].
    Count(Vec<i64>),
    /// The store is to be asked for these messages; see [`SessionQueue::loaded`].
    Load(Vec<i64>),
    /// The store is to make dead letters of these; see [`SessionQueue::buried`].
    Bury(Vec<(i64, DeathCause, Option<Box<str>>)>),
}

/// The queue of one session.
#[derive(Debug)]
pub struct SessionQueue {
    /// Spreads the pauses of sessions.
    seed: u64,
    connected: bool,
    /// The latest place that was given away.
    latest: u64,
    lanes: Lanes,
    /// What comes next but has to be counted; everything after it waits.
    staged: VecDeque<Entry>,
    /// When the staged are to be counted again, if the store could not.
    stage_again: Option<Timestamp>,
    window: Window,
    /// Settled by the client, not yet by the store.
    settling: BTreeMap<i64, (u64, Entry)>,
    /// Given up, not yet by the store; and when it is to be asked again, if it could not.
    burying: BTreeMap<i64, Burial>,
    /// Places lost with a connection, in order; nothing new is sent before them.
    lost: VecDeque<u64>,
    /// The store was asked to count these.
    lost_asked: bool,
    /// When it is to be asked again, if it could not.
    lost_again: Option<Timestamp>,
    missed: Missed,
    /// The part of it that the client was told, and has not answered anything since.
    told: Missed,
    /// Messages in memory only were lost; and the client was told of all of them.
    lost_volatile: bool,
    told_volatile: bool,
    /// The latest places that were given up since the client last said what it has, and the last
    /// one before these.
    given_up: VecDeque<u64>,
    given_up_before: u64,
    tally: Tally,
}

#[derive(Debug)]
struct Burial {
    cause: DeathCause,
    reason: Option<Box<str>>,
    again: Option<Timestamp>,
}

impl SessionQueue {
    /// An empty queue of a session that is not connected yet.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            connected: false,
            latest: 0,
            lanes: Lanes::default(),
            staged: VecDeque::new(),
            stage_again: None,
            window: Window::default(),
            settling: BTreeMap::new(),
            burying: BTreeMap::new(),
            lost: VecDeque::new(),
            lost_asked: false,
            lost_again: None,
            missed: Missed::default(),
            told: Missed::default(),
            lost_volatile: false,
            told_volatile: false,
            given_up: VecDeque::new(),
            given_up_before: 0,
            tally: Tally::default(),
        }
    }

    /// Takes a message in. False if it is in memory only and there is no room.
    pub fn offer(&mut self, entry: Entry, now: Timestamp) -> bool {
        let taken = self.lanes.push(entry, now);
        if !taken {
            self.refuse();
        }
        taken
    }

    /// Notes that a message in memory only found no room before it came here.
    pub(super) fn refuse(&mut self) {
        self.tally.dropped += 1;
        self.missed.dropped += 1;
        self.lose_volatile();
    }

    /// The session's first connection is there.
    pub fn connect(&mut self) {
        self.connected = true;
    }

    /// The connection is gone.
    pub fn disconnect(&mut self) {
        self.connected = false;
    }

    /// Says what is to be done now.
    pub fn poll(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        self.expire(now);
        self.redeliver(now, actions);
        if self.connected {
            self.send_lost(now, actions);
            self.stage(now, actions);
            self.deliver(now, actions);
        }
        self.bury_again(now, actions);
    }

    /// When [`Self::poll`] is to be called at the latest, unless something happens before.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let burials = self.burying.values().filter_map(|burial| burial.again);
        let staged = match self.stage_again {
            Some(again) if self.connected && self.lost.is_empty() => Some(again),
            Some(_) => self.staged.iter().map(|entry| entry.expires_at).min(),
            None => None,
        };
        let lost = self.lost_again.filter(|_| self.connected);
        let times = [self.window.due_at(), self.lanes.expiry(), staged, lost];
        times.into_iter().flatten().chain(burials).min()
    }

    /// The places of deliveries that wait to be settled.
    pub fn places(&self) -> impl Iterator<Item = u64> {
        self.window.iter().map(|(seq, _)| seq)
    }

    /// Everything that is not settled yet, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        let flights = self.window.iter().map(|(_, flight)| &flight.entry);
        let settling = self.settling.values().map(|(_, entry)| entry);
        self.lanes
            .iter()
            .chain(&self.staged)
            .chain(flights)
            .chain(settling)
    }

    /// What is in memory only and not settled, in the order in which it goes or went.
    pub fn in_memory(&self) -> impl Iterator<Item = &Entry> {
        let flights = self.window.iter().map(|(_, flight)| &flight.entry);
        let entries = flights.chain(&self.staged).chain(self.lanes.iter());
        entries.filter(|entry| entry.key.is_none())
    }

    /// What has been missed for good and not told.
    pub fn missed(&self) -> Missed {
        Missed {
            // Of what was given up before those that are kept one by one, nobody knows how many.
            dead: self.missed.dead
                + self.given_up.len() as u64
                + u64::from(self.given_up_before > 0),
            ..self.missed
        }
    }

    /// Takes over what was missed in an earlier epoch, of which the client is told now.
    pub fn inherit(&mut self, missed: Missed) {
        self.missed = missed;
        self.told = missed;
    }

    /// The keys of everything that the store still has, as far as this queue can know.
    pub fn keys(&self) -> impl Iterator<Item = i64> {
        let entries = self.entries().filter_map(|entry| entry.key);
        entries.chain(self.burying.keys().copied())
    }

    /// What has happened so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// The latest place that was given away.
    pub fn latest(&self) -> u64 {
        self.latest
    }

    /// Bytes of messages held.
    pub fn bytes(&self) -> usize {
        self.lanes.held() + self.window.bytes()
    }
}

fn ack_due(now: Timestamp) -> Timestamp {
    now.plus_seconds(ACK_SECONDS).unwrap_or(now)
}

#[cfg(test)]
mod tests;
