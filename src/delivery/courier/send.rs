//! Sending: who receives a message, the store, and then their queues.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use uuid::Uuid;

use super::directory::Listed;
use super::letters::Letter;
use super::{Courier, text};
use crate::delivery::queue::Entry;
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

/// The sessions of one agent that get a copy; its inbox does if there are none.
type Recipient = (AgentKey, Vec<Listed>);

/// Where a message goes, and the shards of those destinations that are sessions.
fn destinations(recipients: Vec<Recipient>) -> (Vec<Destination>, Vec<Option<usize>>) {
    let mut to = Vec::with_capacity(recipients.len());
    let mut homes = Vec::with_capacity(recipients.len());
    for (agent, sessions) in recipients {
        if sessions.is_empty() {
            to.push(Destination {
                agent: agent.clone(),
                session: None,
                begun: false,
            });
            homes.push(None);
        }
        for listed in sessions {
            to.push(Destination {
                agent: agent.clone(),
                session: Some(listed.session),
                begun: listed.connected,
            });
            homes.push(Some(listed.home));
        }
    }
    (to, homes)
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
        if sending.durable {
            let (to, homes) = destinations(recipients);
            let new = NewMessage {
                message: Arc::clone(&sending.message),
                to: to.clone(),
            };
            let mut posted = self.store.post_messages(vec![new]).await?;
            let keys = posted.pop().unwrap_or(Err(StoreError::Busy))?;
            self.offer_stored(&sending.message, to, homes, keys);
        } else {
            self.note_volatile().await?;
            self.offer_volatile(&sending.message, recipients);
        }
        Ok(sent)
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
        let ((to, homes), volatile) = if sending.durable {
            (destinations(recipients), Vec::new())
        } else {
            (<_>::default(), recipients)
        };
        if !volatile.is_empty() {
            self.note_volatile().await?;
        }
        let new = NewMessage {
            message: Arc::clone(message),
            to: to.clone(),
        };
        let posted = self.store.post_once(key, new, count).await?;
        if let Some(keys) = posted.keys {
            self.offer_stored(message, to, homes, keys);
            self.offer_volatile(message, volatile);
        }
        Ok(Sent {
            id: posted.id,
            recipients: posted.recipients as usize,
        })
    }

    fn recipients(&self, sending: &Sending, present: Vec<AgentKey>) -> Vec<Recipient> {
        let directory = self.post.directory.lock();
        let of_agent = |agent: AgentKey| {
            let sessions = directory.of_agent(&agent);
            (agent, sessions)
        };
        let mut recipients: Vec<Recipient> = match &sending.to {
            Target::Agent(agent) => vec![of_agent(agent.clone())],
            Target::Namespace(namespace) => {
                let mut agents = directory.agents_of(namespace);
                agents.extend(present);
                agents.sort_unstable();
                agents.dedup();
                agents.into_iter().map(of_agent).collect()
            }
            Target::Topic(namespace, topic) => {
                let mut by_agent = BTreeMap::<AgentKey, Vec<Listed>>::new();
                for (agent, listed) in directory.subscribers(namespace, topic) {
                    by_agent.entry(agent).or_default().push(listed);
                }
                by_agent.into_iter().collect()
            }
        };
        let exclude: HashSet<&AgentKey> = sending.exclude.iter().collect();
        let to_many = !matches!(sending.to, Target::Agent(_));
        let is_sender = |agent: &AgentKey| to_many && *agent == sending.message.sender;
        recipients.retain(|(agent, _)| !exclude.contains(agent) && !is_sender(agent));
        recipients
    }

    /// Offers a message that is stored, by the keys of its deliveries.
    fn offer_stored(
        self: &Rc<Self>,
        message: &Arc<Message>,
        to: Vec<Destination>,
        homes: Vec<Option<usize>>,
        keys: Vec<i64>,
    ) {
        let parcel = text::parcel(message);
        for ((destination, home), key) in to.into_iter().zip(homes).zip(keys) {
            let (Some(session), Some(home)) = (destination.session, home) else {
                // Somebody may have come while it was stored.
                self.tell_news(&destination.agent);
                continue;
            };
            let entry = Entry::stored(
                key,
                destination.begun,
                Arc::clone(&parcel),
                message.priority,
                message.expires_at,
            );
            self.give(home, session, destination.agent, entry);
        }
        self.turn();
    }

    fn offer_volatile(self: &Rc<Self>, message: &Arc<Message>, recipients: Vec<Recipient>) {
        let parcel = text::parcel(message);
        for (agent, sessions) in recipients {
            for listed in sessions {
                let parcel = Arc::clone(&parcel);
                let entry = Entry::volatile(parcel, message.priority, message.expires_at);
                self.give(listed.home, listed.session, agent.clone(), entry);
            }
        }
        self.turn();
    }

    /// To a session, in its order after whatever is on its way to its shard already.
    fn give(self: &Rc<Self>, home: usize, session: Uuid, agent: AgentKey, entry: Entry) {
        let letter = Letter::Offer {
            session,
            agent,
            entry,
        };
        if home == self.shard {
            self.read(letter);
        } else {
            self.post.leave(home, letter);
        }
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
                self.post.leave(home, Letter::Withdraw { session, keys });
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
