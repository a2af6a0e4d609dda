//! Events: what happens to agents, memories and the server, for sessions that have subscribed to it.
//!
//! Each topic of a namespace is a *feed*: its latest events, and its readers with the place that each
//! has reached. A shard takes what its sessions have not had yet, so live events and those that are
//! read again from an offset come by the same way, once and in order.
//!
//! Invariants
//! - An offset is the time in microseconds, later than every offset before it, over all feeds: so
//!   nobody can count by it what happened that is not for them.
//! - Who asks for what came after an offset gets all of it, or is told that it is not to be had. A
//!   reader for which something is lost later is told of a gap.
//! - The lock is held for moments, and never while another one is taken.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::config::limits::EVENT_FEEDS_MAX;
use crate::domain::{AgentKey, Timestamp};
use crate::store::Viewer;

mod event;
mod ring;

pub use event::{Done, Event, Last, Move, Topic, What};
use ring::Ring;

/// Which events of a topic a reader wants; what is empty admits all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of this agent, or of memories that it owns.
    pub agent: Option<Box<str>>,
    /// Of this memory.
    pub id: Option<Uuid>,
    /// Of memories with all of these labels.
    pub tags: Vec<String>,
}

/// A place among the events of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Names the process: offsets of another epoch say nothing here.
    pub epoch: u64,
    /// The place.
    pub offset: u64,
}

/// An event for a session.
#[derive(Debug, Clone)]
pub struct Due {
    /// The session.
    pub session: Uuid,
    /// What it has subscribed to.
    pub topic: Topic,
    /// Who reads.
    pub viewer: Viewer,
    /// What of it.
    pub wanted: Arc<Wanted>,
    /// The event.
    pub event: Arc<Event>,
}

type Key = (Topic, Arc<str>);

#[derive(Debug)]
struct Reader {
    shard: usize,
    viewer: Viewer,
    wanted: Arc<Wanted>,
    /// The latest offset that it was given, or need not be.
    reached: u64,
    /// Something after that is lost for it.
    gap: bool,
}

#[derive(Debug)]
struct Feed {
    ring: Ring,
    readers: HashMap<Uuid, Reader>,
}

#[derive(Debug)]
struct State {
    latest: u64,
    /// The latest offset of feeds that were forgotten.
    forgotten: u64,
    feeds: HashMap<Key, Feed>,
    /// Feeds that have something new, for each shard.
    news: Box<[HashSet<Key>]>,
}

/// The events of a process.
#[derive(Debug)]
pub struct Events {
    epoch: u64,
    state: Mutex<State>,
    wakes: Box<[Notify]>,
}

fn now() -> u64 {
    Timestamp::now().as_micros().max(0).unsigned_abs()
}

fn key(topic: Topic, namespace: &Arc<str>) -> Key {
    match topic {
        Topic::Diagnostics => (topic, Arc::from("")),
        Topic::Presence | Topic::Memory => (topic, Arc::clone(namespace)),
    }
}

impl Events {
    /// Of a process with so many shards.
    pub fn new(shards: usize) -> Self {
        let epoch = now();
        Self {
            epoch,
            state: Mutex::new(State {
                latest: epoch,
                forgotten: epoch,
                feeds: HashMap::new(),
                news: (0..shards).map(|_| HashSet::new()).collect(),
            }),
            wakes: (0..shards).map(|_| Notify::new()).collect(),
        }
    }

    /// Names this process among others, and among its runs.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Tells the readers of a topic in a namespace; [`Topic::Diagnostics`] has none.
    pub fn publish(&self, topic: Topic, namespace: &Arc<str>, what: What) {
        let key = key(topic, namespace);
        let mut state = self.state.lock();
        let event = Arc::new(Event {
            offset: state.next(),
            at: Timestamp::now(),
            what,
        });
        let feed = state.feed(&key);
        feed.ring.push(event);
        if !feed.readers.is_empty() {
            state.note(&key);
            drop(state);
            self.wake();
        }
    }

    /// Tells operators of the server.
    pub fn diagnose(&self, happened: &'static str, detail: Option<String>) {
        let detail = detail.map(String::into_boxed_str);
        let what = What::Diagnostics { happened, detail };
        self.publish(Topic::Diagnostics, &Arc::from(""), what);
    }

    /// Something of a topic has happened in any namespace that nobody can name.
    pub fn lose(&self, topic: Topic) {
        let mut state = self.state.lock();
        let offset = state.next();
        // Feeds that do not exist yet have lost it as well.
        state.forgotten = offset;
        let mut told = Vec::new();
        for (key, feed) in &mut state.feeds {
            if key.0 == topic {
                feed.ring.lose(offset);
                told.push(key.clone());
            }
        }
        for key in told {
            state.note(&key);
        }
        drop(state);
        self.wake();
    }

    /// Lets a session of a shard read a topic, after `from` or from now on. True with the present
    /// position if that can be had; otherwise it reads from now on, and false.
    pub fn subscribe(
        &self,
        (session, shard): (Uuid, usize),
        topic: Topic,
        viewer: Viewer,
        wanted: Wanted,
        from: Option<Position>,
    ) -> (Position, bool) {
        let key = key(topic, &viewer.key.namespace);
        let mut state = self.state.lock();
        // Nothing of this moment comes later with this offset or a smaller one.
        let present = state.next();
        let epoch = self.epoch;
        let feed = state.feed(&key);
        let known = from.is_none_or(|from| {
            from.epoch == epoch && from.offset < present && feed.ring.knows_after(from.offset)
        });
        let before = feed.readers.get(&session);
        let reached = match (from.filter(|_| known), before) {
            (Some(from), _) => from.offset,
            (None, Some(before)) if from.is_none() => before.reached,
            (None, _) => present,
        };
        let gap = from.is_none() && before.is_some_and(|before| before.gap);
        let reader = Reader {
            shard,
            viewer,
            wanted: Arc::new(wanted),
            reached,
            gap,
        };
        feed.readers.insert(session, reader);
        state.note(&key);
        drop(state);
        self.wake();
        let position = Position {
            epoch,
            offset: present,
        };
        (position, known)
    }

    /// Ends that; false if the session did not read it.
    pub fn unsubscribe(&self, session: Uuid, topic: Topic, agent: &AgentKey) -> bool {
        let key = key(topic, &agent.namespace);
        let mut state = self.state.lock();
        let feed = state.feeds.get_mut(&key);
        feed.is_some_and(|feed| feed.readers.remove(&session).is_some())
    }

    /// The topics that a session of an agent reads.
    pub fn topics_of(&self, session: Uuid, agent: &AgentKey) -> Vec<Topic> {
        let state = self.state.lock();
        let reads = |topic: &Topic| {
            let feed = state.feeds.get(&key(*topic, &agent.namespace));
            feed.is_some_and(|feed| feed.readers.contains_key(&session))
        };
        Topic::ALL.into_iter().filter(reads).collect()
    }

    /// A session of an agent is here no more.
    pub fn forget(&self, session: Uuid, agent: &AgentKey) {
        let mut state = self.state.lock();
        for topic in Topic::ALL {
            if let Some(feed) = state.feeds.get_mut(&key(topic, &agent.namespace)) {
                feed.readers.remove(&session);
            }
        }
    }

    /// An event could not be given to its reader, which is told of a gap next.
    pub fn refused(&self, due: &Due) {
        let key = key(due.topic, &due.viewer.key.namespace);
        let mut state = self.state.lock();
        let feed = state.feeds.get_mut(&key);
        if let Some(reader) = feed.and_then(|feed| feed.readers.get_mut(&due.session)) {
            reader.gap = true;
        }
    }

    /// Takes what there is for the sessions of a shard, at most `count`.
    pub fn take(&self, shard: usize, count: usize) -> Vec<Due> {
        let mut due = Vec::new();
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(news) = state.news.get_mut(shard) else {
            return due;
        };
        let feeds = &mut state.feeds;
        news.retain(|key| {
            let Some(Feed { ring, readers }) = feeds.get_mut(key) else {
                return false;
            };
            for (session, reader) in readers.iter_mut().filter(|(_, one)| one.shard == shard) {
                if reader.gap || !ring.knows_after(reader.reached) {
                    if due.len() >= count {
                        return true;
                    }
                    reader.gap = false;
                    reader.reached = reader.reached.max(ring.floor());
                    let event = Event {
                        offset: reader.reached,
                        at: Timestamp::now(),
                        what: What::Gap,
                    };
                    due.push(reader.due(*session, key.0, Arc::new(event)));
                }
                for event in ring.after(reader.reached) {
                    if due.len() >= count {
                        return true;
                    }
                    reader.reached = event.offset;
                    due.push(reader.due(*session, key.0, Arc::clone(event)));
                }
            }
            false
        });
        due
    }

    /// Waits until there may be something for the sessions of a shard.
    pub async fn wait(&self, shard: usize) {
        match self.wakes.get(shard) {
            Some(wake) => wake.notified().await,
            None => std::future::pending().await,
        }
    }

    fn wake(&self) {
        for wake in &self.wakes {
            wake.notify_one();
        }
    }
}

impl Reader {
    fn due(&self, session: Uuid, topic: Topic, event: Arc<Event>) -> Due {
        Due {
            session,
            topic,
            viewer: self.viewer.clone(),
            wanted: Arc::clone(&self.wanted),
            event,
        }
    }
}

impl State {
    /// An offset after all others.
    fn next(&mut self) -> u64 {
        self.latest = now().max(self.latest + 1);
        self.latest
    }

    /// The feed of this key, which is made if there is none.
    fn feed(&mut self, key: &Key) -> &mut Feed {
        if self.feeds.len() >= EVENT_FEEDS_MAX && !self.feeds.contains_key(key) {
            let unread = self
                .feeds
                .iter()
                .filter(|(_, feed)| feed.readers.is_empty());
            let quietest = unread.min_by_key(|(_, feed)| feed.ring.latest());
            if let Some((quietest, feed)) = quietest.map(|(key, feed)| (key.clone(), feed)) {
                self.forgotten = self.forgotten.max(feed.ring.latest());
                self.feeds.remove(&quietest);
            }
        }
        let forgotten = self.forgotten;
        self.feeds.entry(key.clone()).or_insert_with(|| Feed {
            ring: Ring::new(forgotten),
            readers: HashMap::new(),
        })
    }

    /// Every shard has to look at a feed.
    fn note(&mut self, key: &Key) {
        for news in &mut self.news {
            news.insert(key.clone());
        }
    }
}

#[cfg(test)]
mod tests;
