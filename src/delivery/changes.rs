//! What changed, from the shard that wrote it to every shard on which somebody watches.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam::queue::ArrayQueue;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use super::events::{Done, Events, Last, Topic, What};
use crate::config::limits::CHANGES_WAITING_MAX;
use crate::domain::AgentKey;

/// Something that watchers may have read. It names the thing, never what it holds: whoever is
/// told reads again with rights of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A memory was stored, changed, shared or deleted.
    Memory {
        /// Where it lives, where that is known.
        namespace: Option<Arc<str>>,
        /// Its id.
        id: Uuid,
        /// What subscribers of events are told of it; nothing if they are told otherwise.
        happened: Option<Arc<Happened>>,
    },
    /// Memories of unknown number, as an import brings them.
    Memories,
    /// An agent registered.
    Agent(AgentKey),
    /// A call that goes on as a task has another state.
    McpTask {
        /// Whose call it is.
        owner: AgentKey,
        /// The task.
        id: Uuid,
    },
    /// The list of tools.
    Tools,
    /// The list of prompts.
    Prompts,
}

/// What happened to a memory, for those who have subscribed to such events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// What.
    pub done: Done,
    /// The namespaces that hear of it: its own, and those of agents with whom it was shared.
    pub namespaces: Vec<Arc<str>>,
    /// What it was like, if it is gone.
    pub last: Option<Arc<Last>>,
}

/// Changes on their way to the watchers of one shard.
#[derive(Debug, Default)]
pub struct Inbox {
    watchers: AtomicUsize,
    /// Made for the first watcher: all its room is written when it is made, which a start need not wait for.
    queue: OnceLock<ArrayQueue<Change>>,
    lost: AtomicBool,
    wake: Notify,
}

/// What an inbox holds.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// This changed.
    Change(Change),
    /// More changed than there was room for: anything may have.
    Lost,
}

impl Inbox {
    /// Counts a watcher of this shard in or out; without any, nothing is left here.
    pub fn watch(&self, begins: bool) {
        if begins {
            self.queue
                .get_or_init(|| ArrayQueue::new(CHANGES_WAITING_MAX));
            self.watchers.fetch_add(1, Ordering::Relaxed);
        } else {
            self.watchers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Waits for the next change.
    pub async fn next(&self) -> News {
        loop {
            if let Some(news) = self.take() {
                return news;
            }
            self.wake.notified().await;
        }
    }

    fn take(&self) -> Option<News> {
        let queue = self.queue.get()?;
        if self.lost.swap(false, Ordering::AcqRel) {
            while queue.pop().is_some() {}
            return Some(News::Lost);
        }
        queue.pop().map(News::Change)
    }

    fn leave(&self, change: &Change) {
        if self.watchers.load(Ordering::Relaxed) == 0 {
            return;
        }
        let Some(queue) = self.queue.get() else {
            return;
        };
        if queue.push(change.clone()).is_err() {
            self.lost.store(true, Ordering::Release);
        }
        self.wake.notify_one();
    }
}

/// The inboxes of all shards, and one for what other nodes are to be told.
#[derive(Debug)]
pub struct Changes {
    shards: Box<[Arc<Inbox>]>,
    abroad: Arc<Inbox>,
    events: Arc<Events>,
}

impl Changes {
    /// One inbox for each of these shards.
    pub fn new(shards: usize, events: Arc<Events>) -> Self {
        Self {
            shards: (0..shards).map(|_| Arc::default()).collect(),
            abroad: Arc::default(),
            events,
        }
    }

    /// The inbox of a shard.
    pub fn inbox(&self, shard: usize) -> Arc<Inbox> {
        Arc::clone(&self.shards[shard])
    }

    /// How many changes wait, by shard.
    pub fn waiting(&self) -> Vec<u64> {
        let count = |inbox: &Arc<Inbox>| inbox.queue.get().map_or(0, ArrayQueue::len) as u64;
        self.shards.iter().map(count).collect()
    }

    /// The inbox for other nodes.
    pub fn abroad(&self) -> Arc<Inbox> {
        Arc::clone(&self.abroad)
    }

    /// Tells every shard on which somebody watches, and other nodes.
    pub fn publish(&self, change: &Change) {
        self.publish_here(change);
        self.abroad.leave(change);
    }

    /// Tells the shards of what another node has told.
    pub fn publish_here(&self, change: &Change) {
        self.tell_events(change);
        for inbox in &self.shards {
            inbox.leave(change);
        }
    }

    fn tell_events(&self, change: &Change) {
        match change {
            Change::Memory {
                id,
                happened: Some(happened),
                ..
            } => {
                for namespace in &happened.namespaces {
                    let what = What::Memory {
                        happened: happened.done,
                        id: *id,
                        last: happened.last.clone(),
                    };
                    self.events.publish(Topic::Memory, namespace, what);
                }
            }
            Change::Memories => self.events.lose(Topic::Memory),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Change, Changes, Events, News};
    use crate::config::limits::CHANGES_WAITING_MAX;

    #[tokio::test]
    async fn only_shards_with_watchers_are_told_and_too_much_is_said_to_be_lost() {
        let changes = Changes::new(2, Arc::new(Events::new(2)));
        let (first, second) = (changes.inbox(0), changes.inbox(1));
        first.watch(true);
        changes.publish(&Change::Tools);
        assert_eq!(first.next().await, News::Change(Change::Tools));
        assert!(second.take().is_none());
        for _ in 0..=CHANGES_WAITING_MAX {
            changes.publish(&Change::Prompts);
        }
        assert_eq!(first.next().await, News::Lost);
        assert!(first.take().is_none());
        first.watch(false);
        changes.publish(&Change::Tools);
        assert!(first.take().is_none());
    }
}
