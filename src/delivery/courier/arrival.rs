//! The order of what one sender sends.
//!
//! *On a node.* Posts keep the order in which the store is asked for them. What is in memory only waits for none
//! of them, and a post under a key may be a transaction of its own: such a message goes when those before it
//! have been offered, and those after it when it has.
//!
//! *From another node.* Who is answered on one node and goes on on another has the word of its message on the bus by then, or
//! at least the message in the store. So the first thing it sends here waits until this node has heard
//! whatever was said before; and if that cannot be known, since the bus was away, each session to which
//! it sends looks into the store once.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use uuid::Uuid;

use super::nodes::Abroad;

/// Sessions of which it is known that they have looked: few senders have more receivers, and one that is
/// forgotten looks again.
const LOOKED_MAX: usize = 4_096;

/// How far a sender has come on this node.
#[derive(Debug, Default)]
pub struct Arrival {
    is_here: Cell<bool>,
    /// Sends that wait, or have waited and are yet to go on.
    waiting: Cell<usize>,
    /// Whoever waits goes on in the order in which it came.
    turn: Mutex<()>,
    /// Not everything was heard when it came: the sessions that have looked into the store since.
    looked: RefCell<Option<HashSet<Uuid>>>,
    /// Shared by messages whose order the store keeps, and taken alone by the others. First come, first served.
    line: Arc<RwLock<()>>,
}

/// A message's place among those of its sender, until it is offered.
#[derive(Debug)]
pub(super) enum Place {
    /// Among others that the store keeps in order.
    Among(#[expect(dead_code, reason = "held")] OwnedRwLockReadGuard<()>),
    /// With nothing beside it.
    Alone(#[expect(dead_code, reason = "held")] OwnedRwLockWriteGuard<()>),
}

impl Arrival {
    /// May it send without waiting?
    fn is_open(&self) -> bool {
        self.is_here.get() && self.waiting.get() == 0
    }

    /// Waits until what the sender has sent elsewhere is heard. What it sends keeps its order: who waits
    /// goes on in turn, before anyone who comes later. False if there was nothing to wait for.
    pub(super) async fn settle(&self, abroad: &Abroad) -> bool {
        if self.is_open() {
            return false;
        }
        let _waits = Waits::new(&self.waiting);
        let _turn = self.turn.lock().await;
        if !self.is_here.get() {
            if !abroad.hear_all().await {
                self.looked.replace(Some(HashSet::new()));
            }
            self.is_here.set(true);
        }
        true
    }

    /// Waits for the place of the next message.
    pub(super) async fn take_place(&self, alone: bool) -> Place {
        let line = Arc::clone(&self.line);
        if alone {
            Place::Alone(line.write_owned().await)
        } else {
            Place::Among(line.read_owned().await)
        }
    }

    /// Has a session to look into the store instead of taking a message as it comes? Once for each.
    pub(super) fn has_to_look(&self, session: Uuid) -> bool {
        let mut looked = self.looked.borrow_mut();
        let Some(looked) = looked.as_mut() else {
            return false;
        };
        if looked.len() == LOOKED_MAX {
            looked.clear();
        }
        looked.insert(session)
    }
}

/// One that waits, until it is dropped.
struct Waits<'a>(&'a Cell<usize>);

impl<'a> Waits<'a> {
    fn new(waiting: &'a Cell<usize>) -> Self {
        waiting.set(waiting.get() + 1);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
