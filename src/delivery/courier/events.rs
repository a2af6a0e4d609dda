//! Events on their way to sessions: what a session may hear of is judged here, and offered to its
//! queue like a message that is in memory only.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use uuid::Uuid;

use super::attend::Attendance;
use super::directory::Home;
use super::{Courier, noted, text};
use crate::config::limits::EVENTS_AT_ONCE_MAX;
use crate::delivery::events::{Due, Position, Topic, Wanted, What};
use crate::delivery::queue::{Entry, Parcel};
use crate::domain::message::TTL_SECONDS_DEFAULT;
use crate::domain::{AgentKey, Filter, Memory, Message, Order, Priority, Recall};
use crate::store::{StoreError, Viewer, reads_by_level};

/// The namespace of the sender of events; what they are is told by their topic, which no agent can
/// send to.
const SENDER_NAMESPACE: &str = "system";
/// Its name.
const SENDER: &str = "tmws";
/// Memories that are looked up in one read: a page.
const LOOKED_UP_MAX: usize = crate::domain::memory::PAGE_MAX as usize;

/// The memories of a batch that one reader may read.
type Readable = HashMap<(AgentKey, Uuid), Memory>;

impl Courier {
    /// Gives events to the sessions of this shard, until it is dropped.
    pub async fn tell_events(self: Rc<Self>) {
        loop {
            let due = self.post.events.take(self.shard, EVENTS_AT_ONCE_MAX);
            if due.is_empty() {
                self.post.events.wait(self.shard).await;
                continue;
            }
            self.give_events(due).await;
            // A long way back must not keep others waiting.
            tokio::task::yield_now().await;
        }
    }

    async fn give_events(self: &Rc<Self>, due: Vec<Due>) {
        let (readable, unknown) = self.look_up(&due).await;
        let mut written: HashMap<u64, Option<Arc<Parcel>>> = HashMap::new();
        let ids = message_ids(&due);
        for due in due {
            let reader = &due.viewer.key;
            let admitted = match &due.event.what {
                What::Memory { id, last: None, .. } if unknown.contains(&(reader.clone(), *id)) => {
                    // It is not known whether it may be told.
                    self.post.events.refused(&due);
                    false
                }
                _ => is_admitted(&due, &readable),
            };
            if !admitted {
                continue;
            }
            let epoch = self.post.events.epoch();
            let Some(id) = ids.get(&place(&due)).copied() else {
                continue;
            };
            let parcel = match due.event.what {
                What::Gap => parcel(&due, id, epoch),
                _ => written
                    .entry(due.event.offset)
                    .or_insert_with(|| parcel(&due, id, epoch))
                    .clone(),
            };
            if let Some(parcel) = parcel {
                self.give_event(&due, parcel);
            }
        }
        self.turn();
    }

    fn give_event(&self, due: &Due, parcel: Arc<Parcel>) {
        let at = due.event.at;
        let expires_at = at.plus_seconds(TTL_SECONDS_DEFAULT).unwrap_or(at);
        let entry = Entry::volatile(parcel, priority(due.topic), expires_at);
        let mut hub = self.hub.borrow_mut();
        if hub.get(due.session).is_none() {
            drop(hub);
            self.post.events.forget(due.session, &due.viewer.key);
        } else if hub.offer(due.session, entry, at) != Some(true) {
            drop(hub);
            self.post.events.refused(due);
        }
    }

    /// The memories of events as their readers may read them, and those of which it is not known.
    async fn look_up(&self, due: &[Due]) -> (Readable, HashSet<(AgentKey, Uuid)>) {
        let mut asked: HashMap<AgentKey, (Viewer, HashSet<Uuid>)> = HashMap::new();
        for due in due {
            if let What::Memory { id, last: None, .. } = &due.event.what
                && due.wanted.id.is_none_or(|wanted| wanted == *id)
            {
                let reader = asked.entry(due.viewer.key.clone());
                let reader = reader.or_insert_with(|| (due.viewer.clone(), HashSet::new()));
                reader.1.insert(*id);
            }
        }
        let (mut readable, mut unknown) = (Readable::new(), HashSet::new());
        for (reader, (viewer, ids)) in asked {
            let ids: Vec<Uuid> = ids.into_iter().collect();
            for ids in ids.chunks(LOOKED_UP_MAX) {
                let found = self.store.recall_memories(&viewer, recall(ids)).await;
                match noted(found, "look up memories for their subscribers") {
                    Ok(page) => readable.extend(
                        page.items
                            .into_iter()
                            .map(|memory| ((reader.clone(), memory.id), memory)),
                    ),
                    Err(()) => unknown.extend(ids.iter().map(|id| (reader.clone(), *id))),
                }
            }
        }
        (readable, unknown)
    }
}

/// A recall that counts as no read.
fn recall(ids: &[Uuid]) -> Recall {
    Recall {
        filter: Filter {
            ids: ids.to_vec(),
            include_shared: true,
            ..Filter::default()
        },
        order: Order::Newest,
        limit: ids.len() as u32,
        cursor: None,
        counts_access: false,
    }
}

/// May the reader hear of it, and does it want to?
fn is_admitted(due: &Due, readable: &Readable) -> bool {
    let (wanted, reader) = (&*due.wanted, &due.viewer.key);
    match &due.event.what {
        What::Presence { agent, .. } => wants_agent(wanted, &agent.agent),
        What::Memory { id, last, .. } => {
            if wanted.id.is_some_and(|wanted| wanted != *id) {
                return false;
            }
            match last {
                Some(last) => {
                    reads_by_level(reader, &last.owner, last.access)
                        && wants_agent(wanted, &last.owner.agent)
                        && has_tags(wanted, &last.tags)
                }
                None => readable.get(&(reader.clone(), *id)).is_some_and(|memory| {
                    wants_agent(wanted, &memory.agent_id) && has_tags(wanted, &memory.tags)
                }),
            }
        }
        What::Diagnostics { .. } => due.viewer.admin,
        What::Gap => true,
    }
}

fn wants_agent(wanted: &Wanted, agent: &str) -> bool {
    wanted.agent.as_deref().is_none_or(|wanted| wanted == agent)
}

fn has_tags(wanted: &Wanted, tags: &[String]) -> bool {
    wanted.tags.iter().all(|tag| tags.contains(tag))
}

fn priority(topic: Topic) -> Priority {
    match topic {
        Topic::Presence | Topic::Memory => Priority::Normal,
        Topic::Diagnostics => Priority::High,
    }
}

/// A place in the order of events: a gap may have the offset of the event before it.
fn place(due: &Due) -> (u64, bool) {
    (due.event.offset, matches!(due.event.what, What::Gap))
}

/// The ids of the messages that events become, in the order of the events whoever is given them first:
/// a session that is being filled puts what was offered meanwhile in the order of message ids.
fn message_ids(due: &[Due]) -> BTreeMap<(u64, bool), Uuid> {
    let mut ids: BTreeMap<_, _> = due.iter().map(|due| (place(due), Uuid::nil())).collect();
    for id in ids.values_mut() {
        *id = Uuid::now_v7();
    }
    ids
}

/// The event as a message; `None` only if it cannot be written, which is in the log.
fn parcel(due: &Due, id: Uuid, epoch: u64) -> Option<Arc<Parcel>> {
    let event = &due.event;
    let Some(body) = event.body(epoch) else {
        tracing::error!(offset = event.offset, "an event could not be written");
        return None;
    };
    Some(text::parcel(&Message {
        id,
        sender: AgentKey {
            namespace: SENDER_NAMESPACE.into(),
            agent: SENDER.into(),
        },
        topic: due.topic.as_str().into(),
        priority: priority(due.topic),
        sent_at: event.at,
        expires_at: event.at.plus_seconds(TTL_SECONDS_DEFAULT)?,
        correlation_id: None,
        body,
    }))
}

impl Attendance {
    /// Says that this run has messages in memory only, as events are, so that whoever resumes after a
    /// crash is told that some may be lost.
    pub fn allow_volatile(&self) -> impl Future<Output = Result<(), StoreError>> + use<> {
        let courier = Rc::clone(&self.courier);
        async move { courier.note_volatile(&[]).await }
    }

    /// Has events of a topic delivered, from a position or from now on: the present position, and
    /// whether everything after `from` comes. `None` if the session is here no more.
    pub fn subscribe_events(
        &self,
        topic: Topic,
        viewer: Viewer,
        wanted: Wanted,
        from: Option<Position>,
    ) -> Option<(Position, bool)> {
        let post = &self.courier.post;
        let session = self.session.get();
        let home = post.directory.lock().home(session);
        let Some(Home::Shard(shard)) = home else {
            return None;
        };
        let events = &post.events;
        Some(events.subscribe((session, shard), topic, viewer, wanted, from))
    }

    /// Ends that; false if there was none.
    pub fn unsubscribe_events(&self, topic: Topic) -> bool {
        let events = &self.courier.post.events;
        events.unsubscribe(self.session.get(), topic, &self.agent)
    }

    /// The topics whose events are delivered.
    pub fn event_topics(&self) -> Vec<Topic> {
        let events = &self.courier.post.events;
        events.topics_of(self.session.get(), &self.agent)
    }
}
