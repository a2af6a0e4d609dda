//! What runs on a shard beside the calls, and how much waits for it.

use std::rc::Rc;

use tokio::task::AbortHandle;

use super::{Shard, upkeep};
use crate::store::Waiting;

/// Tasks that live as long as there is a handle on the store.
pub(super) struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl Tasks {
    /// Starts the flights of creates, those of messages, and the upkeep.
    pub(super) fn start(shard: &Rc<Shard>) -> Self {
        let mut tasks = Vec::new();
        for lane in shard.flights.lanes() {
            let shard = shard.clone();
            let run = async move { shard.flights.run(lane).await };
            tasks.push(tokio::task::spawn_local(run).abort_handle());
        }
        let messages = shard.clone();
        let run = async move { messages.message_flights.run().await };
        tasks.push(tokio::task::spawn_local(run).abort_handle());
        tasks.push(tokio::task::spawn_local(upkeep::run(shard.clone())).abort_handle());
        Self(tasks)
    }
}

impl Shard {
    /// What waits in the queues of this shard, and what is under way on its connections.
    pub(super) fn waiting(&self) -> Waiting {
        let (transactions, reads) = self.pool.under_way();
        let flights = self.flights.waiting() + self.message_flights.waiting();
        Waiting {
            writes: (transactions + flights) as u64,
            reads: reads as u64,
            shared: false,
        }
    }
}
