//! Posts, counts and settlements that arrive together travel together: one transaction, one flight.
//!
//! Invariants: a shard has one flight under way, so that what it posts gets its keys in the order in
//! which it was asked for; if PostgreSQL refuses a flight, each of its entries is tried alone, so
//! that one failure harms no other; nobody is told of a success before the commit.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use super::super::failure::Failure;
use super::super::link::{Link, Target};
use super::super::pool::whole;
use super::super::scope::Scope;
use super::super::session::Step;
use super::counts::WaitingCounts;
use super::deliveries::{self, Posted, check};
use crate::domain::NewMessage;
use crate::store::StoreError;
use crate::store::message_rules::DELIVERY_BYTES;

/// Deliveries in one flight, but that one entry always fits.
const DELIVERIES_MAX: usize = 1_024;
/// Bytes in one flight.
const BYTES_MAX: usize = 4 << 20;
/// Entries that wait for a flight.
const WAITING_MAX: usize = 4_096;
/// Flights of the same entries that collide with other transactions.
const TRIES: u32 = 4;

/// What a caller learns.
type Reply<T> = oneshot::Sender<Result<T, StoreError>>;
/// The other end of a [`Reply`].
type Landed<T> = oneshot::Receiver<Result<T, StoreError>>;

/// An entry with the way back to its caller.
enum Entry {
    Post(NewMessage, Reply<Vec<i64>>),
    Count(Vec<i64>, Reply<()>),
    Settle(Vec<i64>, Reply<()>),
}

impl Entry {
    fn deliveries(&self) -> usize {
        match self {
            Self::Post(new, _) => new.to.len(),
            Self::Count(keys, _) | Self::Settle(keys, _) => keys.len(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Post(new, _) => {
                new.message.body.as_str().len() + self.deliveries() * DELIVERY_BYTES
            }
            Self::Count(..) | Self::Settle(..) => self.deliveries() * size_of::<i64>(),
        }
    }

    /// Tells the caller; it may be gone, the write stands all the same.
    fn fail(self, error: StoreError) {
        match self {
            Self::Post(_, reply) => drop(reply.send(Err(error))),
            Self::Count(_, reply) | Self::Settle(_, reply) => drop(reply.send(Err(error))),
        }
    }
}

/// The queue of a shard's message writes.
pub(in crate::store::postgres) struct MessageFlights {
    waiting: RefCell<VecDeque<Entry>>,
    arrived: Notify,
    link: Link,
    counts: RefCell<WaitingCounts>,
    node: Uuid,
}

impl MessageFlights {
    /// An empty queue for `node`; [`run`](Self::run) serves it.
    pub(in crate::store::postgres) fn new(target: &Rc<Target>, node: Uuid) -> Self {
        Self {
            waiting: RefCell::default(),
            arrived: Notify::new(),
            link: Link::new(target.clone()),
            counts: RefCell::default(),
            node,
        }
    }

    /// Posts, counts and settlements that wait for a flight.
    pub(in crate::store::postgres) fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Queues a message; the receiver learns the keys of its deliveries.
    pub(super) fn post(&self, new: NewMessage) -> Result<Landed<Vec<i64>>, StoreError> {
        check(&new.message)?;
        if new.to.is_empty() {
            let (reply, landed) = oneshot::channel();
            drop(reply.send(Ok(Vec::new())));
            return Ok(landed);
        }
        self.board(|reply| Entry::Post(new, reply))
    }

    /// Queues the count of one more delivery of each.
    pub(super) fn count(&self, keys: Vec<i64>) -> Result<Landed<()>, StoreError> {
        self.board(|reply| Entry::Count(keys, reply))
    }

    /// Queues the settlement of deliveries.
    pub(super) fn settle(&self, keys: Vec<i64>) -> Result<Landed<()>, StoreError> {
        self.board(|reply| Entry::Settle(keys, reply))
    }

    fn board<T>(&self, entry: impl FnOnce(Reply<T>) -> Entry) -> Result<Landed<T>, StoreError> {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= WAITING_MAX {
            return Err(StoreError::Busy);
        }
        let (reply, landed) = oneshot::channel();
        waiting.push_back(entry(reply));
        self.arrived.notify_one();
        Ok(landed)
    }

    /// Carries flight after flight, for ever.
    pub(in crate::store::postgres) async fn run(&self) {
        loop {
            self.arrived.notified().await;
            // The rest of the turn may have more to bring.
            tokio::task::yield_now().await;
            loop {
                let entries = self.gather();
                if entries.is_empty() {
                    break;
                }
                self.carry(entries).await;
            }
        }
    }

    fn gather(&self) -> Vec<Entry> {
        let mut waiting = self.waiting.borrow_mut();
        let (mut deliveries, mut bytes, mut count) = (0, 0, 0);
        let mut ids = HashSet::new();
        for entry in waiting.iter() {
            deliveries += entry.deliveries();
            bytes += entry.bytes();
            // The second of one id is refused by what the first has stored.
            let twice = matches!(entry, Entry::Post(new, _) if !ids.insert(new.message.id));
            if count > 0 && (twice || deliveries > DELIVERIES_MAX || bytes > BYTES_MAX) {
                break;
            }
            count += 1;
        }
        waiting.drain(..count).collect()
    }

    async fn carry(&self, entries: Vec<Entry>) {
        match self.fly(&entries).await {
            Err(failure) if failure.is_refusal() && entries.len() > 1 => {
                for entry in entries {
                    Box::pin(self.carry(vec![entry])).await;
                }
            }
            Err(failure) => {
                let error = StoreError::from(failure);
                for entry in entries {
                    entry.fail(error.clone());
                }
            }
            Ok(posted) => {
                let mut posted = posted.into_iter();
                for entry in entries {
                    match entry {
                        Entry::Post(_, reply) => {
                            let lost = || Err(super::closed(()));
                            drop(reply.send(posted.next().unwrap_or_else(lost)));
                        }
                        Entry::Count(_, reply) | Entry::Settle(_, reply) => {
                            drop(reply.send(Ok(())));
                        }
                    }
                }
            }
        }
    }

    /// Answers what became of each post.
    async fn fly(&self, entries: &[Entry]) -> Result<Posted, Failure> {
        let mut tries = 1;
        loop {
            match self.fly_once(entries).await {
                Err(failure) if failure.is_collision() && tries < TRIES => tries += 1,
                landed => return landed,
            }
        }
    }

    async fn fly_once(&self, entries: &[Entry]) -> Result<Posted, Failure> {
        let (mut posts, mut counted, mut settled) = (Vec::new(), Vec::new(), Vec::new());
        for entry in entries {
            match entry {
                Entry::Post(new, _) => posts.push(new),
                Entry::Count(keys, _) => counted.extend(keys),
                Entry::Settle(keys, _) => settled.extend(keys),
            }
        }
        let mut steps = Vec::new();
        if !posts.is_empty() {
            steps.push(Step::from(deliveries::post(
                self.node,
                &posts,
                &self.counts.borrow(),
            )));
        }
        if !counted.is_empty() {
            steps.push(Step::from(deliveries::count(counted)));
        }
        if !settled.is_empty() {
            steps.push(Step::from(deliveries::settle(settled)));
        }
        let session = self.link.session().await?;
        let answers = session
            .fly(&whole(vec![(Scope::operator(), steps)]))
            .await?;
        // Behind BEGIN and what says for whom.
        match answers.get(2).filter(|_| !posts.is_empty()) {
            Some(rows) => deliveries::posted(&posts, rows, &mut self.counts.borrow_mut()),
            None => Ok(Vec::new()),
        }
    }
}
