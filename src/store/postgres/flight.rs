//! Creates that arrive together are committed together.
//!
//! ```text
//! callers --> [bounded queue] --> BEGIN, one statement per namespace, COMMIT --> replies
//! ```
//!
//! Invariants: a reply that says `Ok` is sent after the answer to the COMMIT; what arrives while a
//! flight is away goes with the next one; an entry that PostgreSQL refuses harms no neighbour,
//! since a refused flight is tried again entry by entry; if the connection breaks before the
//! answer, nobody is told that the write succeeded.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use tokio::sync::{Notify, oneshot};

use super::failure::Failure;
use super::insert::{self, New};
use super::link::{Link, Target};
use super::pool::whole;
use super::scope::Scope;
use super::session::Step;
use crate::store::StoreError;

/// Connections that carry flights.
const LANES: usize = 2;
/// Entries in one flight: the sync of a commit is spread thin, and nobody waits long.
const ENTRIES_MAX: usize = 256;
/// Bytes in one flight.
const BYTES_MAX: usize = 4 << 20;
/// Entries that wait for a flight.
const WAITING_MAX: usize = 4_096;

/// An entry with the way back to its caller.
struct Passenger {
    new: New,
    model: Option<i32>,
    reply: oneshot::Sender<Result<(), StoreError>>,
}

/// The queue of the creates of a shard.
pub(super) struct Flights {
    waiting: RefCell<VecDeque<Passenger>>,
    arrived: Notify,
    links: Vec<Link>,
    stats: Cell<FlightStats>,
}

/// What was committed since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlightStats {
    /// Memories that were stored.
    pub memories: u64,
    /// Transactions that carried them.
    pub transactions: u64,
}

impl Flights {
    /// An empty queue; [`run`](Self::run) serves it.
    pub(super) fn new(target: &Rc<Target>) -> Self {
        Self {
            waiting: RefCell::default(),
            arrived: Notify::new(),
            links: (0..LANES).map(|_| Link::new(target.clone())).collect(),
            stats: Cell::default(),
        }
    }

    /// The numbers of the lanes, each to be [`run`](Self::run).
    pub(super) fn lanes(&self) -> std::ops::Range<usize> {
        0..self.links.len()
    }

    /// Creates that wait for a flight.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    pub(super) fn stats(&self) -> FlightStats {
        self.stats.get()
    }

    /// Queues an entry, whose vector is of `model`; the receiver learns what became of it.
    pub(super) fn board(
        &self,
        new: New,
        model: Option<i32>,
    ) -> Result<oneshot::Receiver<Result<(), StoreError>>, StoreError> {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= WAITING_MAX {
            return Err(StoreError::Busy);
        }
        let (reply, answer) = oneshot::channel();
        waiting.push_back(Passenger { new, model, reply });
        self.arrived.notify_one();
        Ok(answer)
    }

    /// Carries flight after flight over the connection `lane`, for ever.
    pub(super) async fn run(&self, lane: usize) {
        loop {
            self.arrived.notified().await;
            // The rest of the turn may have more to bring.
            tokio::task::yield_now().await;
            loop {
                let passengers = self.gather();
                if passengers.is_empty() {
                    break;
                }
                self.carry(&self.links[lane], passengers).await;
            }
        }
    }

    fn gather(&self) -> Vec<Passenger> {
        let mut waiting = self.waiting.borrow_mut();
        let mut bytes = 0;
        let mut count = 0;
        for passenger in waiting.iter().take(ENTRIES_MAX) {
            bytes += passenger.new.bytes();
            if count > 0 && bytes > BYTES_MAX {
                break;
            }
            count += 1;
        }
        let passengers = waiting.drain(..count).collect();
        if !waiting.is_empty() {
            self.arrived.notify_one();
        }
        passengers
    }

    async fn carry(&self, link: &Link, passengers: Vec<Passenger>) {
        let parties: Vec<_> = passengers.iter().collect();
        match self.fly(link, &parties).await {
            Err(failure) if failure.is_refusal() && passengers.len() > 1 => {
                for passenger in passengers {
                    let alone = self.fly(link, &[&passenger]).await;
                    // The caller may be gone; the write stands all the same.
                    let _ = passenger.reply.send(alone.map_err(StoreError::from));
                }
            }
            result => {
                let result = result.map_err(StoreError::from);
                for passenger in passengers {
                    let _ = passenger.reply.send(result.clone());
                }
            }
        }
    }

    async fn fly(&self, link: &Link, passengers: &[&Passenger]) -> Result<(), Failure> {
        let session = link.session().await?;
        let statement = session.prepare(insert::SQL).await?;
        let groups = grouped(passengers);
        let parts = groups.into_iter().map(|(model, group)| {
            let scope = Scope::namespace(group[0].memory.namespace.clone());
            let values = insert::values(&group, model);
            (scope, vec![Step::Prepared(statement.clone(), values)])
        });
        session.fly(&whole(parts.collect())).await?;
        let FlightStats {
            memories,
            transactions,
        } = self.stats.get();
        self.stats.set(FlightStats {
            memories: memories + passengers.len() as u64,
            transactions: transactions + 1,
        });
        Ok(())
    }
}

/// Entries by namespace and model, each group in the order of arrival.
fn grouped<'p>(passengers: &[&'p Passenger]) -> Vec<(Option<i32>, Vec<&'p New>)> {
    let mut sorted: Vec<&'p Passenger> = passengers.to_vec();
    sorted.sort_by(|a, b| key(a).cmp(&key(b)));
    sorted
        .chunk_by(|a, b| key(a) == key(b))
        .map(|group| {
            (
                group[0].model,
                group.iter().map(|passenger| &passenger.new).collect(),
            )
        })
        .collect()
}

fn key(passenger: &Passenger) -> (&str, Option<i32>) {
    (&passenger.new.memory.namespace, passenger.model)
}
