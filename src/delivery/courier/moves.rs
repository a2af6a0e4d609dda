//! Sessions between nodes: taking one over, giving one away, and who has one.

use std::rc::Rc;
use std::time::Duration;

use uuid::Uuid;

use super::directory::Home;
use super::letters::Letter;
use super::nodes::{Handed, HandedOver, InMemory, Saying};
use super::{Courier, noted};
use crate::delivery::queue::{Entry, Missed};
use crate::domain::{AgentKey, Outline, Timestamp};

/// Pause before the store is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// A session that is being taken over.
#[derive(Debug, Default)]
pub(super) struct Claimed {
    /// Messages that came for it, and the node that each came from.
    kept: Vec<(Option<Uuid>, Entry)>,
    /// It was rung: what the store had for it may have been read before.
    is_rung: bool,
}

impl Courier {
    /// Everything that waits for a session; `None` if the store cannot say. One that another node has
    /// taken is given up.
    pub(super) async fn look(
        self: &Rc<Self>,
        agent: &AgentKey,
        session: Uuid,
        epoch: u64,
    ) -> Option<Vec<Outline>> {
        let looked = self.store.look_at_queue(agent, session).await;
        let looked = noted(looked, "look at a queue").ok()?;
        if let Some(node) = looked.node.filter(|node| *node != self.store.node()) {
            let is_same = self.hub.borrow().get(session).map(|held| held.epoch()) == Some(epoch);
            if is_same {
                self.give_up(session, agent, node);
            }
            return None;
        }
        let absent = self.absent(agent);
        let filled = self.store.fill_queue(agent, session, absent).await;
        noted(filled, "fill a queue").ok()?;
        // What came into the queue has its place among the rest.
        let looked = self.store.look_at_queue(agent, session).await;
        let looked = noted(looked, "look at a queue").ok()?;
        Some(looked.waiting)
    }

    /// Another node has the session: its connection here is closed. What was stored and offered here since the
    /// other one read the store, it finds when it is rung.
    fn give_up(self: &Rc<Self>, session: Uuid, agent: &AgentKey, node: Uuid) {
        let released = self.hub.borrow_mut().release(session, agent);
        if released.is_some() {
            tracing::info!(%session, %node, "a session goes on on another node");
            self.metrics.delivery.given_away.add(1);
            self.post.directory.lock().hand_over(session, node);
            self.post.events.forget(session, agent);
            self.post.say(node, Saying::Ring(session), Vec::new());
            self.turn();
        }
    }

    /// Gives a session to the node that asks for it.
    pub(super) fn release(
        self: &Rc<Self>,
        request: Uuid,
        node: Uuid,
        session: Uuid,
        agent: &AgentKey,
    ) {
        let released = self.hub.borrow_mut().release(session, agent);
        let (mut handed, mut texts) = (None, Vec::new());
        if let Some(released) = released {
            self.metrics.delivery.given_away.add(1);
            self.post.directory.lock().hand_over(session, node);
            self.post.events.forget(session, agent);
            let mut in_memory = Vec::new();
            for entry in released.in_memory {
                let Some(parcel) = entry.parcel else {
                    continue;
                };
                in_memory.push(InMemory {
                    id: parcel.id,
                    priority: entry.priority,
                    expires_at: entry.expires_at,
                });
                texts.push(parcel);
            }
            handed = Some(Handed {
                missed: released.missed,
                volatile: released.volatile,
                in_memory,
            });
        }
        let saying = Saying::Released {
            request,
            session,
            handed,
        };
        self.post.say(node, saying, texts);
        self.turn();
    }

    /// What came along with a session, once the store knows that this node has messages in memory only.
    pub(super) async fn accepted(&self, (mut handed, texts): HandedOver) -> HandedOver {
        if handed.in_memory.is_empty() {
            return (handed, texts);
        }
        if noted(
            self.note_volatile(&[]).await,
            "note messages in memory only",
        )
        .is_err()
        {
            // Without the note nobody would know that a later server has lost them.
            handed.in_memory.clear();
            handed.volatile = true;
        }
        (handed, texts)
    }

    /// Two nodes have a session: the store says whose it is.
    pub(super) fn settle_dispute(self: &Rc<Self>, session: Uuid) {
        let agent = self
            .hub
            .borrow()
            .get(session)
            .map(|held| held.agent().clone());
        let Some(agent) = agent else {
            return;
        };
        let courier = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let looked = loop {
                let looked = courier.store.look_at_queue(&agent, session).await;
                match noted(looked, "look at a queue") {
                    Ok(looked) => break looked,
                    Err(()) => tokio::time::sleep(AGAIN).await,
                }
            };
            match looked.node {
                Some(node) if node != courier.store.node() => {
                    courier.give_up(session, &agent, node);
                }
                // The other one looks as well.
                _ => courier.post.directory.lock().note(session),
            }
        });
    }

    /// A message was stored for a session that is not here: whoever has its queue is told, and if that
    /// is this node, or nobody, what is in it returns to the inbox.
    pub(super) fn find_owner(self: &Rc<Self>, session: Uuid, agent: AgentKey) {
        let courier = Rc::clone(self);
        tokio::task::spawn_local(async move { courier.tell_owner(session, &agent).await });
    }

    /// The same, until it is done.
    pub(super) async fn tell_owner(self: &Rc<Self>, session: Uuid, agent: &AgentKey) {
        loop {
            if let Some(Home::Shard(shard)) = self.post.directory.lock().home(session) {
                return self.post.leave(shard, Letter::Ring(session));
            }
            match self.return_to_inbox(session, agent).await {
                Ok(None) => return self.tell_news(agent),
                Ok(Some(node)) => {
                    return self.post.say(node, Saying::Ring(session), Vec::new());
                }
                Err(()) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// Closes a queue that nobody serves; the node that does, if another one does.
    async fn return_to_inbox(&self, session: Uuid, agent: &AgentKey) -> Result<Option<Uuid>, ()> {
        let own = self.store.node();
        let looked = self.store.look_at_queue(agent, session).await;
        let looked = noted(looked, "look at a queue")?;
        if let Some(node) = looked.node.filter(|node| *node != own) {
            return Ok(Some(node));
        }
        let closed = self.store.close_queue(agent, session).await;
        noted(closed, "close a queue").map(|_| None)
    }

    /// A session is about to be taken over from elsewhere: what comes for it meanwhile is kept.
    pub(super) fn begin_claim(&self, session: Uuid) {
        self.claims.borrow_mut().entry(session).or_default();
        self.post.directory.lock().claim(session, self.shard);
    }

    /// Keeps a message for a session that is being taken over; false if none is.
    pub(super) fn keep_for_claim(&self, session: Uuid, entry: &Entry, from: Option<Uuid>) -> bool {
        let mut claims = self.claims.borrow_mut();
        let Some(claimed) = claims.get_mut(&session) else {
            return false;
        };
        claimed.kept.push((from, entry.clone()));
        true
    }

    /// Has a session look for everything that the store has for it; one that is being taken over does when it
    /// is here.
    pub(super) fn ring(&self, session: Uuid) {
        if let Some(claimed) = self.claims.borrow_mut().get_mut(&session) {
            claimed.is_rung = true;
        }
        let mut hub = self.hub.borrow_mut();
        hub.ring(session);
        let absent = hub.get(session).filter(|held| !held.is_connected());
        if let Some(agent) = absent.map(|held| held.agent().clone()) {
            drop(hub);
            self.see_to(&agent);
        }
    }

    /// Has all sessions look; `volatile` if messages that were in memory only may be lost.
    pub(super) fn catch_up(&self, volatile: bool) {
        for claimed in self.claims.borrow_mut().values_mut() {
            claimed.is_rung = true;
        }
        self.hub.borrow_mut().catch_up(volatile);
    }

    /// The session is here, or not to be had. What came along with it, and what came for it since, is
    /// taken in; or goes to the shard of a connection that was quicker.
    pub(super) fn end_claim(
        self: &Rc<Self>,
        session: Uuid,
        agent: &AgentKey,
        handed: Option<HandedOver>,
    ) {
        let home = {
            let mut directory = self.post.directory.lock();
            directory.unclaim(session);
            directory.home(session)
        };
        let claimed = self.claims.borrow_mut().remove(&session);
        let Claimed { kept, is_rung } = claimed.unwrap_or_default();
        let (missed, in_memory) = handed.map(unpacked).unwrap_or_default();
        if self.hub.borrow().get(session).is_some() {
            let now = Timestamp::now();
            let mut hub = self.hub.borrow_mut();
            if self.post.abroad.is_some() {
                hub.inherit(session, missed, in_memory, now);
            }
            for (from, entry) in kept {
                hub.offer_from(session, from, entry, now);
            }
            if is_rung {
                hub.ring(session);
            }
            return;
        }
        match home {
            Some(Home::Shard(shard)) => {
                let in_memory = in_memory.into_iter().map(|entry| (None, entry));
                for (from, entry) in in_memory.chain(kept) {
                    let agent = agent.clone();
                    let letter = Letter::Offer {
                        session,
                        agent,
                        entry,
                        from,
                    };
                    self.post.leave(shard, letter);
                }
                if is_rung {
                    self.post.leave(shard, Letter::Ring(session));
                }
            }
            Some(Home::Node(_)) | None if kept.iter().any(|(_, entry)| entry.key.is_some()) => {
                self.find_owner(session, agent.clone());
            }
            Some(Home::Node(_)) | None => {}
        }
    }
}

/// What a client has missed of a session that was handed over, and what was in memory only.
fn unpacked((handed, texts): HandedOver) -> (Missed, Vec<Entry>) {
    let messages = handed.in_memory.iter().zip(texts);
    let in_memory = messages
        .map(|(message, parcel)| Entry::volatile(parcel, message.priority, message.expires_at))
        .collect();
    (handed.missed, in_memory)
}
