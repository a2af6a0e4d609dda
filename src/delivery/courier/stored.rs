//! Messages that are stored before they are offered, and answered when other nodes are told.

use std::rc::Rc;
use std::sync::Arc;

use uuid::Uuid;

use super::Courier;
use super::directory::Home;
use super::letters::Letter;
use super::line::Place;
use super::nodes::{IsSaid, Saying};
use super::recipients::{Recipient, destinations, nodes_of};
use super::send::{Round, SendError, Sending, Sent};
use crate::domain::{Destination, Keyed, NewMessage, Timestamp};
use crate::store::StoreError;

/// Within this time all nodes have noticed that one is gone, and found what it had not said: the store has
/// it marked silent after less.
const RECENT_SECONDS: i64 = 120;

impl Courier {
    /// Stores a message, offers it, and waits until the bus has taken the word of it.
    pub(super) async fn send_stored(
        self: &Rc<Self>,
        sending: &Sending,
        recipients: Vec<Recipient>,
        place: Place,
    ) -> Result<Sent, SendError> {
        let sent = Sent {
            id: sending.message.id,
            recipients: recipients.len(),
        };
        let to = destinations(recipients);
        let new = NewMessage {
            message: Arc::clone(&sending.message),
            to: to.clone(),
        };
        let posted = self.store.post_messages(vec![new]);
        place.asked();
        let keys = posted.await?.pop().unwrap_or(Err(StoreError::Busy))?;
        place.may_offer().await;
        let said = self.offer_stored(sending, to, keys);
        drop(place);
        all_said(said).await;
        Ok(sent)
    }

    /// Sends a message unless one was sent under `key`. What is in memory only is noted before it is
    /// offered: a crash between the two loses it, as a crash may lose every such message.
    pub(super) async fn send_once(
        self: &Rc<Self>,
        key: &Keyed,
        sending: &Sending,
        recipients: Vec<Recipient>,
        place: Place,
    ) -> Result<Sent, SendError> {
        let count = recipients.len() as u64;
        let (to, volatile) = if self.is_stored(sending, &recipients) {
            (destinations(recipients), Vec::new())
        } else {
            (<_>::default(), recipients)
        };
        if !volatile.is_empty() {
            self.note_volatile(&nodes_of(&volatile)).await?;
        }
        let new = NewMessage {
            message: Arc::clone(&sending.message),
            to: to.clone(),
        };
        let posted = self.store.post_once(key, new, count);
        place.asked();
        let posted = posted.await?;
        match posted.keys {
            Some(keys) => {
                place.may_offer().await;
                let said = self.offer_stored(sending, to, keys);
                self.offer_volatile(sending, volatile);
                drop(place);
                all_said(said).await;
            }
            None if is_recent(posted.id) => all_said(self.ring_all(&to)).await,
            None => {}
        }
        Ok(Sent {
            id: posted.id,
            recipients: posted.recipients as usize,
        })
    }

    /// Has the sessions of a repeated message look into the store: the node that has posted it may have
    /// been killed before it offered it.
    fn ring_all(&self, to: &[Destination]) -> Vec<IsSaid> {
        if self.post.abroad.is_none() {
            return Vec::new();
        }
        let directory = self.post.directory.lock();
        let sessions = to.iter().filter_map(|to| to.session);
        let places = sessions.filter_map(|session| Some((session, directory.place(session)?)));
        let places: Vec<(Uuid, Home)> = places.collect();
        drop(directory);
        let said = places
            .into_iter()
            .filter_map(|(session, home)| self.have_look(session, home));
        said.collect()
    }

    /// Has a session look into the store, wherever it is.
    fn have_look(&self, session: Uuid, home: Home) -> Option<IsSaid> {
        match home {
            Home::Shard(shard) => {
                self.post.leave(shard, Letter::Ring(session));
                None
            }
            Home::Node(node) => {
                let abroad = self.post.abroad.as_ref()?;
                Some(abroad.leave_to_be_said(node, Saying::Ring(session), Vec::new()))
            }
        }
    }

    /// Offers a message that is stored, by the keys of its deliveries: to where the sessions are now,
    /// since one may have gone to another node while it was stored.
    fn offer_stored(
        self: &Rc<Self>,
        sending: &Sending,
        to: Vec<Destination>,
        keys: Vec<i64>,
    ) -> Vec<IsSaid> {
        let places: Vec<Option<Home>> = {
            let directory = self.post.directory.lock();
            let sessions = to.iter().map(|destination| destination.session);
            let place = |session: Option<Uuid>| directory.place(session?);
            sessions.map(place).collect()
        };
        let mut round = Round::new(sending);
        self.see_to_absent(&to);
        for ((destination, place), key) in to.into_iter().zip(places).zip(keys) {
            let Destination {
                agent,
                session,
                begun,
                ..
            } = destination;
            match (session, place) {
                (Some(session), Some(place)) if sending.arrival.has_to_look(session) => {
                    round.said.extend(self.have_look(session, place));
                }
                (Some(session), Some(place)) => {
                    self.give(&mut round, place, session, agent, Some((key, begun)));
                }
                (Some(session), None) => self.find_owner(session, agent),
                (None, _) => {}
            }
        }
        self.end_round(round)
    }

    /// What was stored for agents of whom nobody was connected: somebody may have come meanwhile, here
    /// or, as may be told only later, on another node.
    fn see_to_absent(&self, to: &[Destination]) {
        // The destinations of an agent follow each other.
        for of_agent in to.chunk_by(|one, next| one.agent == next.agent) {
            if !of_agent.iter().any(|destination| destination.begun) {
                self.see_to(&of_agent[0].agent);
            }
        }
    }
}

/// Waits until all this is said, or cannot be.
async fn all_said(said: Vec<IsSaid>) {
    for is_said in said {
        // Without the bus the others look into the store when it is back.
        let _ = is_said.await;
    }
}

/// Was a message made so short a while ago that its node may be gone, and not every node have noticed?
fn is_recent(id: Uuid) -> bool {
    let made = id.get_timestamp().map(|made| made.to_unix().0);
    let now = Timestamp::now().as_micros() / 1_000_000;
    made.is_some_and(|made| now.saturating_sub(made as i64) < RECENT_SECONDS)
}
