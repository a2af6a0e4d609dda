//! Messages that come for the sessions of this shard.

use std::rc::Rc;

use uuid::Uuid;

use super::{Courier, noted};
use crate::delivery::queue::Entry;
use crate::domain::{AgentKey, Timestamp};

impl Courier {
    /// Gives a message to a session of this shard. `from` is the node whose agent has sent it, if it
    /// is another one.
    pub(super) fn offer(
        self: &Rc<Self>,
        session: Uuid,
        agent: AgentKey,
        entry: Entry,
        from: Option<Uuid>,
    ) {
        let is_stored = entry.key.is_some();
        if is_stored || from.is_none() || self.has_noted_volatile() {
            return self.take(session, agent, entry, from);
        }
        // It is in the memory of this node from now on.
        let courier = Rc::clone(self);
        tokio::task::spawn_local(async move {
            match noted(
                courier.note_volatile(&[]).await,
                "note messages in memory only",
            ) {
                Ok(()) => courier.take(session, agent, entry, from),
                // Without the note nobody would know that a later server has lost it.
                Err(()) => courier.hub.borrow_mut().refuse(session),
            }
            courier.turn();
        });
    }

    fn take(self: &Rc<Self>, session: Uuid, agent: AgentKey, entry: Entry, from: Option<Uuid>) {
        let (is_stored, is_begun) = (entry.key.is_some(), entry.counted > 0);
        let now = Timestamp::now();
        let is_connected = self
            .hub
            .borrow()
            .get(session)
            .map(|held| held.is_connected());
        if let Some(is_connected) = is_connected {
            self.hub.borrow_mut().offer_from(session, from, entry, now);
            if is_begun && !is_connected {
                self.see_to(&agent);
            }
        } else if !self.keep_for_claim(session, &entry, from) && is_stored {
            self.find_owner(session, agent);
        }
    }

    /// Something came for an agent of whom, as far as is known, nobody is connected who gets it: another
    /// session of the agent may be there, here or, as may be told only later, on another node.
    pub(super) fn see_to(&self, agent: &AgentKey) {
        self.post.note_absent(agent);
        self.tell_news(agent);
    }
}
