//! Sessions that take deliveries, those that began on one shard: their queues, connections, ends.
//!
//! A state machine like the [queues](super::queue) in it, driven by calls and the time they carry.
//! [`Hub::poll`] says in [`Effect`]s what is to be sent, closed, or asked of the store.
//!
//! Invariants
//! - A session has one connection at most. A second one takes its place and the first is told so.
//! - A session without a connection waits for one for the reconnect window; then it ends, and what it
//!   has not settled returns to its agent's inbox.
//! - What was offered before the queue was filled from the store takes its place, by its id, among what
//!   is found there.
//! - A session stays in its hub for as long as it lasts, wherever its connections are: so what is
//!   offered to it in order arrives in order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use uuid::Uuid;

use super::queue::{Action, Entry, Missed, Parcel, SessionQueue};
use crate::domain::{AgentKey, DeathCause, Outline, Timestamp};

mod answers;
mod client;
mod counts;
mod held;
mod moves;
mod turn;
mod volatile;

pub use counts::Counts;
use counts::Sums;
pub use held::Held;
use held::Stage;
pub use moves::Released;
pub use volatile::{Among, Volatile};

/// Pause before the store is asked again to fill or to close a queue.
const RETRY_MS: u64 = 1_000;

/// By session. Ids of sessions are random and our own, and a broadcast looks thousands of them up: so the hash
/// is a quick one. A session takes a kilobyte: in the table itself it would take that for each free place too, and be
/// copied whenever the table grows.
pub(super) type Sessions<T> = HashMap<Uuid, Box<T>, foldhash::fast::RandomState>;

/// What is to be done for the sessions of a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect<C> {
    /// A delivery goes out.
    Send {
        /// To this connection.
        connection: C,
        /// The epoch of its session.
        epoch: u64,
        /// The place in the epoch's sequence.
        seq: u64,
        /// Which delivery of the message it is.
        delivery: u32,
        /// Messages in memory only that found no room in this epoch so far.
        dropped: u32,
        /// The message.
        parcel: Arc<Parcel>,
    },
    /// This connection has lost its session to another one.
    Fence(C),
    /// The store is asked for something for a session.
    Ask {
        /// The session.
        session: Uuid,
        /// Its epoch, to come back with the answer.
        epoch: u64,
        /// What.
        request: Request,
    },
    /// A session has ended. Whatever it had not settled is in the inbox of its agent.
    Ended {
        /// The session.
        session: Uuid,
        /// Its agent.
        agent: AgentKey,
    },
}

/// What a hub asks of the store. Each is answered by the method named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Fill the queue with what waits for the agent elsewhere: [`Hub::filled`].
    Fill(AgentKey),
    /// The same, and look for everything that waits in the queue itself: [`Hub::caught_up`].
    CatchUp(AgentKey),
    /// Count deliveries: [`Hub::counted`].
    Count(Vec<i64>),
    /// Load messages: [`Hub::loaded`].
    Load(Vec<i64>),
    /// Settle deliveries: [`Hub::settled`].
    Settle(Vec<i64>),
    /// Make dead letters: [`Hub::buried`].
    Bury(Vec<(i64, DeathCause, Option<Box<str>>)>),
    /// Close the agent's queue: [`Hub::closed`].
    Close(AgentKey),
}

/// How a session was found when its client came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumed {
    /// The epoch that goes on.
    pub epoch: u64,
    /// The latest place given away in it.
    pub latest: u64,
    /// The position that the client named was of this epoch.
    pub known_position: bool,
    /// What it has missed for good.
    pub missed: Missed,
    /// It may have missed messages that were in memory only, with an earlier server.
    pub volatile: bool,
}

/// Sessions that began on one shard. `C` names a connection, on whatever shard.
#[derive(Debug)]
pub struct Hub<C> {
    sessions: Sessions<Held<C>>,
    /// When sessions want to be looked at; an entry that is not its session's latest is void.
    timers: BinaryHeap<Reverse<(Timestamp, Uuid)>>,
    /// Sessions in which something has happened.
    dirty: VecDeque<Uuid>,
    effects: Vec<Effect<C>>,
    actions: Vec<Action>,
    window_ms: u64,
    /// A session has ended with messages that were in memory only.
    lost_volatile: bool,
    sums: Sums,
}

impl<C: Copy + PartialEq> Hub<C> {
    /// A hub whose sessions may come back within `window_ms`.
    pub fn new(window_ms: u64) -> Self {
        Self {
            sessions: HashMap::default(),
            timers: BinaryHeap::new(),
            dirty: VecDeque::new(),
            effects: Vec::new(),
            actions: Vec::new(),
            window_ms,
            lost_volatile: false,
            sums: Sums::default(),
        }
    }

    /// Begins a session. Its deliveries begin with [`Self::start`].
    pub fn open(&mut self, session: Uuid, agent: AgentKey, epoch: u64, connection: C) {
        let mut queue = SessionQueue::new(session.as_u64_pair().1);
        queue.connect();
        let held = Held::new(agent, epoch, queue, Some(connection), Stage::Waiting);
        if let Some(mut before) = self.sessions.insert(session, Box::new(held)) {
            self.sums.forget(&mut before);
        }
        self.note(session);
    }

    /// Has the queue of a session filled, if that was not asked for yet: its client is not about to
    /// take another session up.
    pub fn start(&mut self, session: Uuid) {
        if let Some(held) = self.sessions.get_mut(&session)
            && held.stage == Stage::Waiting
        {
            held.stage = Stage::Filling;
            let effect = held.ask_to_fill(session);
            self.effects.push(effect);
        }
    }

    /// Asks whether more has come into the inbox of a session's agent.
    pub fn refill(&mut self, session: Uuid) {
        let Some(held) = self.sessions.get_mut(&session) else {
            return;
        };
        match held.stage {
            Stage::Serving if held.connection.is_some() => {
                let effect = held.ask_to_fill(session);
                self.effects.push(effect);
            }
            // What it is being asked may have been answered before this came.
            Stage::Filling => held.asks_again = true,
            _ => {}
        }
    }

    /// Takes a message for a session. `None` if the session is not here, false if there was no room
    /// for what is in memory only.
    pub fn offer(&mut self, session: Uuid, entry: Entry, now: Timestamp) -> Option<bool> {
        let Some(held) = self.sessions.get_mut(&session) else {
            self.lost_volatile |= entry.key.is_none();
            return None;
        };
        self.dirty.push_back(session);
        Some(held.offer(entry, now))
    }

    /// The connection of a session is gone. Of a connection that has lost its session nothing
    /// follows.
    pub fn disconnect(&mut self, session: Uuid, connection: C, now: Timestamp) {
        if let Some(held) = self.sessions.get_mut(&session)
            && held.connection == Some(connection)
        {
            held.connection = None;
            held.queue.disconnect();
            held.ends = now.plus_millis(self.window_ms);
            self.dirty.push_back(session);
        }
    }

    /// Ends a session whose client takes up another one; only that of this connection.
    pub fn abandon(&mut self, session: Uuid, connection: C, now: Timestamp) {
        self.disconnect(session, connection, now);
        if let Some(held) = self.sessions.get_mut(&session)
            && held.connection.is_none()
        {
            held.ends = Some(now);
            held.abandoned = true;
        }
    }

    /// A client is back with its position in the epoch it knows. `None` if no session of this agent is
    /// here by that name.
    pub fn resume(
        &mut self,
        session: Uuid,
        agent: &AgentKey,
        position: (u64, u64),
        connection: C,
        now: Timestamp,
    ) -> Option<Resumed> {
        let held = self.sessions.get_mut(&session)?;
        if held.agent != *agent || held.stage == Stage::Ending {
            return None;
        }
        if let Some(fenced) = held
            .connection
            .replace(connection)
            .filter(|old| *old != connection)
        {
            self.effects.push(Effect::Fence(fenced));
            self.sums.counts.fenced += 1;
        }
        held.ends = None;
        held.abandoned = false;
        let (epoch, last_seq) = position;
        let known_position = epoch == held.epoch && last_seq <= held.queue.latest();
        let missed = held
            .queue
            .reconnect(known_position.then_some(last_seq), now);
        // Whoever knows this epoch was told what came before it.
        held.volatile &= !known_position;
        let volatile = held.volatile;
        let (epoch, latest) = (held.epoch, held.queue.latest());
        self.dirty.push_back(session);
        self.start(session);
        self.refill(session);
        Some(Resumed {
            epoch,
            latest,
            known_position,
            missed,
            volatile,
        })
    }

    /// A session that was found in the store goes on here, in a new epoch. What waits in the agent's
    /// inbox comes after. `volatile` if messages that were in memory only may be lost.
    pub fn restore(
        &mut self,
        session: Uuid,
        agent: AgentKey,
        epoch: u64,
        (waiting, volatile): (Vec<Outline>, bool),
        connection: C,
        now: Timestamp,
    ) {
        self.open(session, agent, epoch, connection);
        if let Some(held) = self.sessions.get_mut(&session) {
            held.volatile = volatile;
            for outline in waiting {
                held.queue.offer(Entry::found(outline), now);
            }
        }
        self.dirty.push_back(session);
        self.start(session);
    }

    /// One session.
    pub fn get(&self, session: Uuid) -> Option<&Held<C>> {
        self.sessions.get(&session).map(Box::as_ref)
    }

    pub(super) fn of_epoch(&mut self, session: Uuid, epoch: u64) -> Option<&mut Held<C>> {
        let held = self.sessions.get_mut(&session).map(Box::as_mut);
        held.filter(|held| held.epoch == epoch)
    }

    pub(super) fn of_connection(&mut self, session: Uuid, connection: C) -> Option<&mut Held<C>> {
        let held = self.sessions.get_mut(&session).map(Box::as_mut);
        let held = held.filter(|held| held.connection == Some(connection))?;
        // Whoever speaks of deliveries was told before what may be lost.
        held.volatile = false;
        Some(held)
    }
}

#[cfg(test)]
mod tests;
