//! Sending: the store, and then the queues of whoever receives a message.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use uuid::Uuid;

use super::arrival::Arrival;
use super::directory::{Home, Listed};
use super::letters::Letter;
use super::nodes::{IsSaid, Offered, Saying};
use super::recipients::{Recipient, nodes_of};
use super::{Courier, text};
use crate::config::limits::BUS_ITEMS_MAX;
use crate::delivery::queue::{Entry, Parcel};
use crate::domain::{AgentKey, Keyed, Message};
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
    /// How its sender has come to this node.
    pub arrival: Rc<Arrival>,
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

/// One message on its way to its sessions, written once.
pub(super) struct Round<'a> {
    message: &'a Message,
    parcel: Arc<Parcel>,
    /// Deliveries to sessions of other nodes.
    abroad: BTreeMap<Uuid, Vec<Offered>>,
    /// What is said of it to other nodes.
    pub(super) said: Vec<IsSaid>,
}

impl<'a> Round<'a> {
    pub(super) fn new(sending: &'a Sending) -> Self {
        Self {
            message: &sending.message,
            parcel: text::parcel(&sending.message),
            abroad: BTreeMap::new(),
            said: Vec::new(),
        }
    }
}

impl Courier {
    /// Sends a message. What is durable is answered after the commit, and after the bus has taken the
    /// word of it to other nodes. `present` are the agents of the namespace that are here by other wires.
    pub async fn send(
        self: &Rc<Self>,
        sending: Sending,
        present: Vec<AgentKey>,
    ) -> Result<Sent, SendError> {
        if self.post.is_full() {
            return Err(SendError::Full);
        }
        let is_keyed = sending.key.is_some();
        let alone = !sending.durable || is_keyed && !self.store.orders_keyed_posts();
        let place = sending.arrival.take_place(alone);
        place.may_ask().await;
        if let Some(abroad) = &self.post.abroad
            && sending.arrival.settle(abroad).await
        {
            // What was heard is in letters.
            self.read_all();
        }
        let recipients = self.recipients(&sending, present);
        let sent = Sent {
            id: sending.message.id,
            recipients: recipients.len(),
        };
        if !is_keyed && recipients.is_empty() {
            return Ok(sent);
        }
        if !is_keyed && !self.is_stored(&sending, &recipients) {
            self.note_volatile(&nodes_of(&recipients)).await?;
            self.offer_volatile(&sending, recipients);
            return Ok(sent);
        }
        let courier = Rc::clone(self);
        let mut stored = Box::pin(async move {
            match sending.key.clone() {
                Some(key) => courier.send_once(&key, &sending, recipients, place).await,
                None => courier.send_stored(&sending, recipients, place).await,
            }
        });
        // The store is asked now, and not when the task begins: the sender's next message waits for that.
        let mut nobody = Context::from_waker(Waker::noop());
        if let Poll::Ready(result) = stored.as_mut().poll(&mut nobody) {
            return result;
        }
        // To its end even if its caller goes: what is stored must be offered, and a repetition will not
        // do that.
        let stopping = |_| SendError::Store(StoreError::Unavailable("it is closed".into()));
        tokio::task::spawn_local(stored).await.map_err(stopping)?
    }

    /// Is it stored? What is in memory only and cannot reach its node would be lost without a trace.
    pub(super) fn is_stored(&self, sending: &Sending, recipients: &[Recipient]) -> bool {
        let is_cut_off = |listed: &Listed| match (listed.home, &self.post.abroad) {
            (Home::Node(node), Some(abroad)) => !abroad.reaches(node),
            _ => false,
        };
        let mut sessions = recipients.iter().flat_map(|(_, sessions)| sessions);
        sending.durable || sessions.any(is_cut_off)
    }

    pub(super) fn offer_volatile(self: &Rc<Self>, sending: &Sending, recipients: Vec<Recipient>) {
        let mut round = Round::new(sending);
        for (agent, sessions) in recipients {
            for listed in sessions {
                self.give(&mut round, listed.home, listed.session, agent.clone(), None);
            }
        }
        self.end_round(round);
    }

    /// To a session, in its order after whatever is on its way to its shard already. `stored` is the
    /// key of its delivery and whether that has begun.
    pub(super) fn give(
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
        match home {
            Home::Shard(shard) if shard == self.shard => self.offer(session, agent, entry, None),
            Home::Shard(shard) => {
                let letter = Letter::Offer {
                    session,
                    agent,
                    entry,
                    from: None,
                };
                self.post.leave(shard, letter);
            }
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

    fn offer_abroad(&self, round: &mut Round<'_>, node: Uuid, to: Vec<Offered>) {
        let (Some(abroad), Some(first)) = (&self.post.abroad, to.first()) else {
            return;
        };
        let is_stored = first.key.is_some();
        let saying = Saying::Offers {
            id: round.message.id,
            priority: round.message.priority,
            expires_at: round.message.expires_at,
            to,
            is_forwarded: false,
        };
        let texts = vec![Arc::clone(&round.parcel)];
        if is_stored {
            round
                .said
                .push(abroad.leave_to_be_said(node, saying, texts));
        } else {
            abroad.leave(node, saying, texts);
        }
    }

    pub(super) fn end_round(self: &Rc<Self>, mut round: Round<'_>) -> Vec<IsSaid> {
        for (node, to) in std::mem::take(&mut round.abroad) {
            self.offer_abroad(&mut round, node, to);
        }
        self.turn();
        round.said
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
