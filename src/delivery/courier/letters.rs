//! What shards tell each other about deliveries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam::queue::SegQueue;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use super::directory::{Directory, Home};
use super::nodes::{Abroad, Saying};
use super::{Place, Said};
use crate::delivery::events::Events;
use crate::delivery::hub::Resumed;
use crate::delivery::outlet::Delivery;
use crate::delivery::queue::{Entry, Parcel};
use crate::domain::AgentKey;
use crate::store::StoreError;

/// What a client is told of its answer.
pub(super) type Heard = Result<super::Told, super::SayError>;

/// One shard tells another.
#[derive(Debug)]
pub(super) enum Letter {
    /// A message for a session.
    Offer {
        session: Uuid,
        agent: AgentKey,
        entry: Entry,
        /// The node whose agent has sent it, if it is another one.
        from: Option<Uuid>,
    },
    /// More may have come into the inbox of a session's agent.
    News(Uuid),
    /// A client is back on another shard.
    Resume {
        session: Uuid,
        agent: AgentKey,
        position: (u64, u64),
        place: Place,
        reply: oneshot::Sender<Option<Resumed>>,
    },
    /// A client has said something of deliveries.
    Said {
        session: Uuid,
        place: Place,
        said: Said,
        reply: oneshot::Sender<Heard>,
    },
    /// A connection is gone; with the flag its client will not come back for this session.
    Lost {
        session: Uuid,
        place: Place,
        for_good: bool,
    },
    /// Deliveries were settled for a whole agent.
    Withdraw { session: Uuid, keys: Vec<i64> },
    /// A delivery for a connection of that shard.
    Out { key: u64, delivery: Delivery },
    /// A connection of that shard has lost its session.
    Fence { key: u64 },
    /// A session is to look into the store for what it may have missed.
    Ring(Uuid),
    /// All of them are; messages in memory only may be lost if it says so.
    CatchUp { volatile: bool },
    /// A message for a session that is not here was stored: whoever has the queue is to be told.
    Stray { session: Uuid, agent: AgentKey },
    /// Another node wants a session.
    Release {
        request: Uuid,
        node: Uuid,
        session: Uuid,
        agent: AgentKey,
    },
    /// Another node says that it has the session as well.
    Disputed(Uuid),
}

/// Letters to one shard.
#[derive(Debug, Default)]
struct Pile {
    letters: SegQueue<Letter>,
    count: AtomicUsize,
    wake: Notify,
}

/// What the couriers of all shards share.
#[derive(Debug)]
pub struct Post {
    piles: Box<[Pile]>,
    pub(super) directory: Mutex<Directory>,
    /// The store knows that this run sends messages that are in memory only.
    pub(super) volatile: AtomicBool,
    /// Shards that send nothing more that is in memory only.
    pub(super) sealed: AtomicUsize,
    /// Shards of which nothing that was in memory only is lost.
    pub(super) kept: AtomicUsize,
    /// Letters to other nodes, if there may be any.
    pub(super) abroad: Option<Abroad>,
    pub(super) events: Arc<Events>,
}

impl Post {
    /// For so many shards of a process that is alone.
    pub fn new(shards: usize) -> Self {
        Self {
            piles: (0..shards).map(|_| Pile::default()).collect(),
            directory: Mutex::default(),
            volatile: AtomicBool::new(false),
            sealed: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
            abroad: None,
            events: Arc::new(Events::new(shards)),
        }
    }

    /// For so many shards of this node of a fleet.
    pub fn of_node(shards: usize, node: Uuid) -> Self {
        let abroad = Abroad::new(node);
        Self {
            directory: Mutex::new(Directory::shared(abroad.wake())),
            abroad: Some(abroad),
            ..Self::new(shards)
        }
    }

    /// The events of the process.
    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// Tells the link to other nodes that there is something to be said.
    pub fn wake(&self) -> Arc<Notify> {
        self.abroad.as_ref().map(Abroad::wake).unwrap_or_default()
    }

    /// Leaves the same letter to every shard.
    pub(super) fn leave_all(&self, letter: impl Fn() -> Letter) {
        for shard in 0..self.shards() {
            self.leave(shard, letter());
        }
    }

    /// Has whoever serves a session told.
    pub(super) fn tell(&self, home: Home, letter: Letter, saying: Saying) {
        match home {
            Home::Shard(shard) => self.leave(shard, letter),
            Home::Node(node) => self.say(node, saying, Vec::new()),
        }
    }

    /// A message was stored for an agent that is not connected, as far as is known here.
    pub(super) fn note_absent(&self, agent: &AgentKey) {
        if let Some(abroad) = &self.abroad {
            abroad.note_absent(agent);
        }
    }

    /// Has every session look for what the store has for it: messages were returned to inboxes.
    pub fn catch_up(&self) {
        self.leave_all(|| Letter::CatchUp { volatile: false });
        if let Some(abroad) = &self.abroad {
            abroad.ring_all();
        }
    }

    /// Has the sessions of these agents that are here look for what the store has for them.
    pub fn ring(&self, agents: &[AgentKey]) {
        let here = self.directory.lock().here(agents);
        for (session, shard) in here {
            self.leave(shard, Letter::Ring(session));
        }
    }

    /// Says something to another node, as far as it can be reached.
    pub(super) fn say(&self, node: Uuid, saying: Saying, texts: Vec<Arc<Parcel>>) {
        if let Some(abroad) = &self.abroad {
            abroad.leave(node, saying, texts);
        }
    }

    /// How many shards there are.
    pub(super) fn shards(&self) -> usize {
        self.piles.len()
    }

    /// Leaves a letter. They are not bounded here: none may be lost, and whoever causes many asks
    /// [`Self::is_full`] before.
    pub(super) fn leave(&self, shard: usize, letter: Letter) {
        let pile = &self.piles[shard];
        // Before it is there to be taken: a count that is lowered first is below nothing, which is more than any bound.
        pile.count.fetch_add(1, Ordering::Relaxed);
        pile.letters.push(letter);
        pile.wake.notify_one();
    }

    pub(super) fn take(&self, shard: usize) -> Option<Letter> {
        let pile = &self.piles[shard];
        let letter = pile.letters.pop()?;
        pile.count.fetch_sub(1, Ordering::Relaxed);
        Some(letter)
    }

    /// How many letters wait, by shard.
    pub fn waiting(&self) -> Vec<u64> {
        let count = |pile: &Pile| pile.count.load(Ordering::Relaxed) as u64;
        self.piles.iter().map(count).collect()
    }

    /// Waits for letters.
    pub(super) async fn wait(&self, shard: usize) {
        self.piles[shard].wake.notified().await;
    }

    /// Does any shard have more letters than it should?
    pub(super) fn is_full(&self) -> bool {
        let full = |pile: &Pile| {
            pile.count.load(Ordering::Relaxed) > crate::config::limits::LETTERS_WAITING_MAX
        };
        self.piles.iter().any(full) || self.abroad.as_ref().is_some_and(Abroad::is_full)
    }
}

/// A refusal that a store error is to its caller.
impl From<StoreError> for super::SayError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pile_that_is_taken_at_once_is_never_full() {
        const LETTERS: usize = 200_000;
        let post = Post::new(1);
        let mut was_full = 0;
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for _ in 0..LETTERS {
                    post.leave(0, Letter::CatchUp { volatile: false });
                    // No more on their way than a few, so full can only be a wrong count.
                    while post.waiting()[0] > 100 {
                        std::thread::yield_now();
                    }
                }
            });
            let mut taken = 0;
            while taken < LETTERS {
                taken += usize::from(post.take(0).is_some());
                was_full += usize::from(post.is_full());
            }
        });
        assert_eq!(was_full, 0);
    }
}
