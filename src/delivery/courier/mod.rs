//! Messages on their way: from whoever sends them through the store to the queues of sessions, and
//! from there to connections.
//!
//! Each shard has a courier. It drives the [`Hub`] of the sessions that began there, asks the store
//! for what the hub wants, and exchanges letters with the couriers of other shards.
//!
//! Invariants
//! - A sender is answered after the store has committed, and deliveries begin after that.
//! - A session stays with the courier it began with, wherever its connections are, and letters
//!   between two couriers keep their order: so do the messages of a sender.
//! - Nothing here waits while a hub or the directory is borrowed.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use uuid::Uuid;

use super::hub::{Effect, Hub};
use super::outlet::{Delivery, Outgoing};
use crate::domain::{AgentKey, Timestamp};
use crate::store::{Store, StoreError};
use crate::telemetry::ShardMetrics;

mod answers;
mod arrival;
mod ask;
mod attend;
mod counts;
mod directory;
mod events;
mod letters;
mod line;
mod moves;
mod nodes;
mod recipients;
mod send;
mod settle;
mod stop;
mod stored;
mod take;
mod text;
mod token;

pub use answers::{Said, SayError, Told};
pub use arrival::Arrival;
pub use attend::{Attendance, Back, Claim};
pub use letters::Post;
pub use nodes::Link;
pub use send::{SendError, Sending, Sent, Target};
pub use text::closing;
pub use token::ResumeTokens;

use directory::Listed;
use letters::Letter;
use nodes::Saying;

/// A connection, on whatever shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The shard.
    pub shard: usize,
    /// The connection's name there.
    pub key: u64,
}

/// Letters that are read, and sessions that are looked at, before others have their turn: a broadcast to
/// thousands must not hold up a call.
const PORTION: usize = 16;

/// Close code of a connection whose session went on elsewhere.
pub const FENCED: u16 = 4001;
/// What is said with it.
const FENCED_REASON: &str = "the session goes on on another connection";

/// What a client is told when it begins to take deliveries.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Pause between two pings.
    pub ping_interval_ms: u64,
    /// Bytes of one message of a client.
    pub message_bytes_max: usize,
    /// Time for which a session whose connection is lost may be taken up again.
    pub reconnect_window_ms: u64,
}

/// The courier of one shard.
pub struct Courier {
    shard: usize,
    hub: RefCell<Hub<Place>>,
    store: Rc<dyn Store>,
    post: Arc<Post>,
    /// Where connections of this shard are reached.
    outgoing: Rc<Outgoing>,
    terms: Terms,
    metrics: Arc<ShardMetrics>,
    /// Makes epochs that no session had before.
    epochs: Cell<u64>,
    /// New sessions whose clients are taking other ones up.
    resuming: RefCell<HashSet<Uuid>>,
    /// What came for sessions that are being taken over from elsewhere.
    claims: RefCell<HashMap<Uuid, moves::Claimed>>,
    /// Deliveries that are over and not settled yet.
    settlements: settle::Settlements,
    /// Rung when the hub wants to be looked at earlier than it was thought.
    rearm: Notify,
    armed: Cell<Option<Timestamp>>,
    /// The shard has no connections any more, and the server stops.
    sealed: Cell<bool>,
    /// Held by who stores what is in memory only: nothing is to be stored by two at once.
    keeping: tokio::sync::Mutex<()>,
    /// Held by who tells the store that there will be messages in memory only.
    noting: tokio::sync::Mutex<()>,
}

impl Courier {
    /// The courier of a shard whose connections are reached by `outgoing`.
    pub fn new(
        shard: usize,
        store: Rc<dyn Store>,
        post: Arc<Post>,
        outgoing: Rc<Outgoing>,
        terms: Terms,
        metrics: Arc<ShardMetrics>,
    ) -> Rc<Self> {
        Rc::new(Self {
            shard,
            hub: RefCell::new(Hub::new(terms.reconnect_window_ms)),
            store,
            post,
            outgoing,
            terms,
            metrics,
            epochs: Cell::new(0),
            resuming: RefCell::default(),
            claims: RefCell::default(),
            settlements: settle::Settlements::default(),
            rearm: Notify::new(),
            armed: Cell::new(None),
            sealed: Cell::new(false),
            keeping: tokio::sync::Mutex::default(),
            noting: tokio::sync::Mutex::default(),
        })
    }

    /// Reads letters and keeps times, until it is dropped.
    pub async fn run(self: Rc<Self>) {
        loop {
            let may_be_more = self.read_some();
            self.turn();
            if may_be_more || self.hub.borrow().is_behind() {
                tokio::task::yield_now().await;
                continue;
            }
            let wake_at = self.hub.borrow().wake_at();
            self.armed.set(wake_at);
            let wait = wake_at.map_or(Duration::from_secs(3_600), |at| {
                Duration::from_millis(Timestamp::now().millis_until(at) + 1)
            });
            tokio::select! {
                () = self.post.wait(self.shard) => {}
                () = self.rearm.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn read_all(self: &Rc<Self>) {
        while self.read_some() {}
    }

    /// Reads one portion of the letters; false if these were all.
    fn read_some(self: &Rc<Self>) -> bool {
        for _ in 0..PORTION {
            let Some(letter) = self.post.take(self.shard) else {
                return false;
            };
            self.read(letter);
        }
        true
    }

    /// Does what the hub wants for one portion of its sessions. What is left has its turn after others
    /// have had theirs.
    fn turn(self: &Rc<Self>) {
        let mut effects = Vec::new();
        let mut most = PORTION;
        loop {
            let now = Timestamp::now();
            most -= self.hub.borrow_mut().poll_some(now, most, &mut effects);
            if effects.is_empty() {
                break;
            }
            for effect in effects.drain(..) {
                self.carry_out(effect);
            }
        }
        self.show();
        let hub = self.hub.borrow();
        let is_earlier = |at| self.armed.get().is_none_or(|armed| at < armed);
        if hub.is_behind() || hub.wake_at().is_some_and(is_earlier) {
            self.rearm.notify_one();
        }
    }

    fn carry_out(self: &Rc<Self>, effect: Effect<Place>) {
        match effect {
            Effect::Send {
                connection,
                epoch,
                seq,
                delivery,
                dropped,
                parcel,
            } => {
                let Place { shard, key } = connection;
                let delivery = Delivery {
                    epoch,
                    seq,
                    number: delivery,
                    dropped,
                    parcel,
                };
                if shard == self.shard {
                    self.outgoing.deliver(key, delivery);
                } else {
                    self.post.leave(shard, Letter::Out { key, delivery });
                }
            }
            Effect::Fence(Place { shard, key }) if shard == self.shard => {
                self.outgoing.close(key, FENCED, FENCED_REASON);
            }
            Effect::Fence(Place { shard, key }) => self.post.leave(shard, Letter::Fence { key }),
            Effect::Ask {
                session,
                epoch,
                request,
            } => {
                let courier = Rc::clone(self);
                tokio::task::spawn_local(async move {
                    courier.ask(session, epoch, request).await;
                    courier.turn();
                });
            }
            Effect::Ended { session, agent } => {
                self.post.directory.lock().leave(session);
                self.post.events.forget(session, &agent);
                self.tell_news(&agent);
            }
        }
    }

    /// Tells one connected session of an agent that more may have come into the inbox.
    fn tell_news(&self, agent: &AgentKey) {
        let sessions = self.post.directory.lock().of_agent(agent);
        if let Some(Listed { session, home, .. }) =
            sessions.into_iter().find(|listed| listed.connected)
        {
            self.post
                .tell(home, Letter::News(session), Saying::News(session));
        }
    }

    fn read(self: &Rc<Self>, letter: Letter) {
        match letter {
            Letter::Offer {
                session,
                agent,
                entry,
                from,
            } => self.offer(session, agent, entry, from),
            Letter::News(session) => self.hub.borrow_mut().refill(session),
            Letter::Resume {
                session,
                agent,
                position,
                place,
                reply,
            } => {
                let resumed = self.resume_here(session, &agent, position, place);
                if reply.send(resumed).is_err() {
                    // Whoever asked is gone, and the connection with it.
                    self.lost_here(session, place, false);
                }
            }
            Letter::Said {
                session,
                place,
                said,
                reply,
            } => {
                let courier = Rc::clone(self);
                tokio::task::spawn_local(async move {
                    let heard = courier.say_here(session, place, said).await;
                    // Whoever asked may be gone.
                    let _ = reply.send(heard);
                });
            }
            Letter::Lost {
                session,
                place,
                for_good,
            } => self.lost_here(session, place, for_good),
            Letter::Withdraw { session, keys } => self.hub.borrow_mut().withdraw(session, keys),
            Letter::Out { key, delivery } => self.outgoing.deliver(key, delivery),
            Letter::Fence { key } => self.outgoing.close(key, FENCED, FENCED_REASON),
            Letter::Ring(session) => self.ring(session),
            Letter::CatchUp { volatile } => self.catch_up(volatile),
            Letter::Stray { session, agent } => self.find_owner(session, agent),
            Letter::Release {
                request,
                node,
                session,
                agent,
            } => self.release(request, node, session, &agent),
            Letter::Disputed(session) => self.settle_dispute(session),
        }
    }

    /// An epoch that no session has had: the time in microseconds, and later than the one before.
    fn new_epoch(&self) -> u64 {
        let now = Timestamp::now().as_micros().max(0) as u64;
        let epoch = now.max(self.epochs.get() + 1);
        self.epochs.set(epoch);
        epoch
    }
}

/// Notes a failure of the store that nobody is told of.
fn noted<T>(result: Result<T, StoreError>, what: &str) -> Result<T, ()> {
    result.map_err(|error| tracing::warn!(%error, "the store could not {what}; it is asked again"))
}
