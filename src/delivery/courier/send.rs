//! Sending: the store, and then the queues of whoever receives a message.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use uuid::Uuid;

use super::directory::{Home, Listed};
use super::letters::Letter;
use super::nodes::{Offered, Saying};
use super::recipients::{Recipient, destinations, nodes_of};
use super::{Courier, text};
use crate::config::limits::BUS_ITEMS_MAX;
use crate::delivery::queue::{Entry, Parcel};
use crate::domain::{AgentKey, Destination, Keyed, Message, NewMessage};
use crate::store::{Store, StoreError};

/// Who is to receive a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An agent, in all its sessions; in its inbox if it has none.
    Agent(AgentKey),
    /// Whoever is here of a namespace, but the sender.
    Namespace(Arc<str>),
    /// Whoever has subscribed a topic of a namespace, but the sender.
    Topic(Arc<str>, Box<str>),
}

/// A message and how it is to be sent.
#[derive(Debug, Clone)]
pub struct Sending {
    /// The message.
    pub message: Arc<Message>,
    /// To whom.
    pub to: Target,
    /// Agents that do not receive it.
    pub exclude: Vec<AgentKey>,
    /// It is stored before it is answered; otherwise it is in memory only.
    pub durable: bool,
    /// The key under which it is sent once.
    pub key: Option<Keyed>,
}

/// A message that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its id.
    pub id: Uuid,
    /// Agents that it is for.
    pub recipients: usize,
}

/// Why a message was not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendError {
    /// Too much is on its way between shards.
    #[error("too many messages are on their way; try again shortly")]
    Full,
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Sessions of this shard to which a message is offered before they are looked at: few enough for what is
/// touched of each to be in the cache still.
const OFFERED_MAX: usize = 64;

/// One message on its way to its sessions, written once.
struct Round<'a> {
    message: &'a Message,
    parcel: Arc<Parcel>,
    /// Sessions of this shard that were offered it since they were looked at.
    offered: usize,
    /// Deliveries to sessions of other nodes.
    abroad: BTreeMap<Uuid, Vec<Offered>>,
}

impl<'a> Round<'a> {
    fn new(message: &'a Message) -> Self {
        Self {
            message,
            parcel: text::parcel(message),
            offered: 0,
            abroad: BTreeMap::new(),
        }
    }
}

impl Courier {
    /// Sends a message. What is durable is answered after the commit. `present` are the agents of the
    /// namespace that are here by other wires.
    pub async fn send(
        self: &Rc<Self>,
        sending: Sending,
        present: Vec<AgentKey>,
    ) -> Result<Sent, SendError> {
        if self.post.is_full() {
            return Err(SendError::Full);
        }
        let recipients = self.recipients(&sending, present);
        let (id, count) = (sending.message.id, recipients.len());
        let sent = Sent {
            id,
            recipients: count,
        };
        if let Some(key) = sending.key.clone() {
            let courier = Rc::clone(self);
            // To its end even if its caller goes: what is stored must be offered, and a repetition
            // will not do that.
            let once = async move { courier.send_once(&key, &sending, recipients).await };
            let stopping = |_| SendError::Store(StoreError::Unavailable("it is closed".into()));
            return tokio::task::spawn_local(once).await.map_err(stopping)?;
        }
        if recipients.is_empty() {
            return Ok(sent);
        }
        if self.is_stored(&sending, &recipients) {
            let to = destinations(recipients);
            let new = NewMessage {
                message: Arc::clone(&sending.message),
                to: to.clone(),
            };
            let mut posted = self.store.post_messages(vec![new]).await?;
            let keys = posted.pop().unwrap_or(Err(StoreError::Busy))?;
            self.offer_stored(&sending.message, to, keys);
        } else {
            self.note_volatile(&nodes_of(&recipients)).await?;
            self.offer_volatile(&sending.message, recipients);
        }
        Ok(sent)
    }

    /// Is it stored? What is in memory only and cannot reach its node would be lost without a trace.
    fn is_stored(&self, sending: &Sending, recipients: &[Recipient]) -> bool {
        let is_cut_off = |listed: &Listed| match (listed.home, &self.post.abroad) {
            (Home::Node(node), Some(abroad)) => !abroad.reaches(node),
            _ => false,
        };
        let mut sessions = recipients.iter().flat_map(|(_, sessions)| sessions);
        sending.durable || sessions.any(is_cut_off)
    }

    /// Sends a message unless one was sent under `key`. What is in memory only is noted before it is
    /// offered: a crash between the two loses it, as a crash may lose every such message.
    async fn send_once(
        self: &Rc<Self>,
        key: &Keyed,
        sending: &Sending,
        recipients: Vec<Recipient>,
    ) -> Result<Sent, SendError> {
        let message = &sending.message;
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
            message: Arc::clone(message),
            to: to.clone(),
        };
        let posted = self.store.post_once(key, new, count).await?;
        if let Some(keys) = posted.keys {
            self.offer_stored(message, to, keys);
            self.offer_volatile(message, volatile);
        }
        Ok(Sent {
            id: posted.id,
            recipients: posted.recipients as usize,
        })
    }

    /// Offers a message that is stored, by the keys of its deliveries: to where the sessions are now,
    /// since one may have gone to another node while it was stored.
    fn offer_stored(self: &Rc<Self>, message: &Arc<Message>, to: Vec<Destination>, keys: Vec<i64>) {
        let places: Vec<Option<Home>> = {
            let directory = self.post.directory.lock();
            let sessions = to.iter().map(|destination| destination.session);
            let place = |session: Option<Uuid>| directory.place(session?);
            sessions.map(place).collect()
        };
        let mut round = Round::new(message);
        self.see_to_absent(&to);
        for ((destination, place), key) in to.into_iter().zip(places).zip(keys) {
            let Destination {
                agent,
                session,
                begun,
                ..
            } = destination;
            match (session, place) {
                (Some(session), Some(place)) => {
                    self.give(&mut round, place, session, agent, Some((key, begun)));
                }
                (Some(session), None) => self.find_owner(session, agent),
                (None, _) => {}
            }
        }
        self.end_round(round);
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

    fn offer_volatile(self: &Rc<Self>, message: &Arc<Message>, recipients: Vec<Recipient>) {
        let mut round = Round::new(message);
        for (agent, sessions) in recipients {
            for listed in sessions {
                self.give(&mut round, listed.home, listed.session, agent.clone(), None);
            }
        }
        self.end_round(round);
    }

    /// To a session, in its order after whatever is on its way to its shard already. `stored` is the
    /// key of its delivery and whether that has begun.
    fn give(
        self: &Rc<Self>,
        round: &mut Round<'_>,
        home: Home,
        session: Uuid,
        agent: AgentKey,
        stored: Option<(i64, bool)>,
    ) {
        let message = round.message;
        let parcel = Arc::clone(&round.parcel);
        let (priority, expires_at) = (message.priority, message.expires_at);
        let entry = match stored {
            Some((key, begun)) => Entry::stored(key, begun, parcel, priority, expires_at),
            None => Entry::volatile(parcel, priority, expires_at),
        };
        let letter = Letter::Offer {
            session,
            agent: agent.clone(),
            entry,
            from: None,
        };
        match home {
            Home::Shard(shard) if shard == self.shard => {
                self.read(letter);
                round.offered += 1;
                if round.offered == OFFERED_MAX {
                    round.offered = 0;
                    self.turn();
                }
            }
            Home::Shard(shard) => self.post.leave(shard, letter),
            Home::Node(node) => {
                let offered = Offered {
                    session,
                    agent: (&agent).into(),
                    key: stored.map(|(key, _)| key),
                    begun: stored.is_some_and(|(_, begun)| begun),
                };
                let to = round.abroad.entry(node).or_default();
                to.push(offered);
                if to.len() >= BUS_ITEMS_MAX {
                    let to = std::mem::take(to);
                    self.offer_abroad(round, node, to);
                }
            }
        }
    }

    fn offer_abroad(&self, round: &Round<'_>, node: Uuid, to: Vec<Offered>) {
        if to.is_empty() {
            return;
        }
        let saying = Saying::Offers {
            id: round.message.id,
            priority: round.message.priority,
            expires_at: round.message.expires_at,
            to,
            is_forwarded: false,
        };
        self.post.say(node, saying, vec![Arc::clone(&round.parcel)]);
    }

    fn end_round(self: &Rc<Self>, mut round: Round<'_>) {
        for (node, to) in std::mem::take(&mut round.abroad) {
            self.offer_abroad(&round, node, to);
        }
        self.turn();
    }

    /// Settles messages for an agent in `store`, in all its queues; answers how many.
    pub async fn settle_for_agent(
        self: &Rc<Self>,
        store: &dyn Store,
        agent: &AgentKey,
        ids: Vec<Uuid>,
    ) -> Result<usize, StoreError> {
        let settled = store.settle_messages(agent, ids).await?;
        let count = settled.len();
        for one in settled {
            let Some(session) = one.session else {
                continue;
            };
            let home = self.post.directory.lock().home(session);
            let keys = vec![one.key];
            if let Some(home) = home {
                let saying = Saying::Withdraw {
                    session,
                    keys: keys.clone(),
                };
                self.post
                    .tell(home, Letter::Withdraw { session, keys }, saying);
            }
        }
        Ok(count)
    }

    /// Tells agents that have got something into their inbox.
    pub fn news_for(&self, agents: impl Iterator<Item = AgentKey>) {
        for agent in agents {
            self.tell_news(&agent);
        }
    }
}
