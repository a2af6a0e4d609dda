//! Deliveries that are over, on their way to the store.
//!
//! Ten thousand sessions acknowledge a broadcast within milliseconds. Each acknowledgement as a write of its
//! own would fill the store's queue and be refused; so there is one write at a time for each shard, and whatever
//! comes while it is under way goes together in the next. A single acknowledgement waits no longer for that:
//! the store commits what waits together anyhow.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::oneshot;

use super::Courier;
use crate::store::StoreError;

/// Deliveries that are settled in one write: its transaction keeps others waiting for some milliseconds at
/// most.
const SETTLED_MAX: usize = 2_048;

/// Settlements that wait. They are bounded by the windows of the sessions.
#[derive(Debug, Default)]
pub(super) struct Settlements(RefCell<State>);

#[derive(Debug, Default)]
struct State {
    is_under_way: bool,
    waiting: Vec<Settlement>,
}

#[derive(Debug)]
struct Settlement {
    keys: Vec<i64>,
    reply: oneshot::Sender<Result<(), StoreError>>,
}

impl Settlements {
    /// Adds one; true if nobody sees to those that wait.
    fn add(&self, settlement: Settlement) -> bool {
        let mut state = self.0.borrow_mut();
        state.waiting.push(settlement);
        !std::mem::replace(&mut state.is_under_way, true)
    }

    /// Those of the next write; nobody sees to what comes from now on if there are none.
    fn take(&self) -> Vec<Settlement> {
        let mut state = self.0.borrow_mut();
        let sums = state.waiting.iter().scan(0, |sum, settlement| {
            *sum += settlement.keys.len();
            Some(*sum)
        });
        let end = sums.take_while(|sum| *sum <= SETTLED_MAX).count();
        // A single one may be larger.
        let end = end.max(1).min(state.waiting.len());
        let taken: Vec<Settlement> = state.waiting.drain(..end).collect();
        state.is_under_way = !taken.is_empty();
        taken
    }
}

impl Courier {
    /// Ends deliveries in the store; answers after the commit.
    pub(super) async fn settle(self: &Rc<Self>, keys: Vec<i64>) -> Result<(), StoreError> {
        let (reply, settled) = oneshot::channel();
        if self.settlements.add(Settlement { keys, reply }) {
            // Not by this caller: it may go, and others wait for the same write.
            tokio::task::spawn_local(Rc::clone(self).settle_waiting());
        }
        let stopping = |_| Err(StoreError::Unavailable("it is closed".into()));
        settled.await.unwrap_or_else(stopping)
    }

    async fn settle_waiting(self: Rc<Self>) {
        loop {
            let taken = self.settlements.take();
            if taken.is_empty() {
                return;
            }
            let keys = taken.iter().flat_map(|one| &one.keys).copied().collect();
            let settled = self.store.settle_deliveries(keys).await;
            for one in taken {
                let _gone = one.reply.send(settled.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::{SETTLED_MAX, Settlement, Settlements};

    fn of(keys: usize) -> Settlement {
        Settlement {
            keys: vec![7; keys],
            reply: oneshot::channel().0,
        }
    }

    #[test]
    fn what_waits_goes_together_up_to_a_bound_and_nothing_is_left() {
        let settlements = Settlements::default();
        assert!(settlements.add(of(1)), "somebody has to see to it");
        assert_eq!(settlements.take().len(), 1);
        for _ in 0..3 {
            assert!(!settlements.add(of(SETTLED_MAX / 2)), "somebody does");
        }
        assert!(!settlements.add(of(2 * SETTLED_MAX)));
        let sizes = [2, 1, 1, 0].map(|_| settlements.take().len());
        assert_eq!(sizes, [2, 1, 1, 0]);
        assert!(settlements.add(of(1)), "nobody did any more");
    }
}
