//! What stores promise about messages: what is to be delivered, and what was given up.
//!
//! Invariants: a delivery that was posted is settled, becomes a dead letter, or waits; never anything
//! else, and whichever it is happens once. A delivery is counted before it is made, so that no
//! crash makes the count too small. Keys grow in the order in which messages were posted.

use uuid::Uuid;

use super::{Answer, StoreError};
use crate::domain::{
    AgentKey, DeadLetter, DeathCause, Letters, Message, NewMessage, Outline, Page, Waiting,
};

/// A delivery that ended because its agent settled the message elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// The delivery.
    pub key: i64,
    /// In whose queue it was; none if in the inbox.
    pub session: Option<Uuid>,
}

/// A queue as its session finds it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// What waits in it, by key.
    pub waiting: Vec<Outline>,
    /// Is the session known here? It is once a message was posted to its queue, as long as the queue
    /// was not closed.
    pub known: bool,
}

/// The part of a store that keeps messages. A store acts for one *node*, the process that opened
/// it; queues belong to the node that serves their session.
pub trait Messages {
    /// Stores messages with their deliveries, each whole or not at all, and one failure harms no
    /// other; answers the keys in the order of the destinations. Queues of sessions that were
    /// unknown are the node's from then on. [`StoreError::Conflict`] if an agent has more
    /// waiting than [`crate::domain::message::WAITING_MAX`] allows.
    fn post_messages(&self, new: Vec<NewMessage>) -> Answer<Vec<Result<Vec<i64>, StoreError>>>;

    /// Begins the queue of a new session, or looks whether more has come: what waits in the agent's
    /// inbox moves into it, and so do copies of what waits for sessions that are `absent`, or whose
    /// node is gone. Such an original is not returned to the inbox when its own queue is closed.
    /// Answers everything that waits in the queue and came in this way, now or before: an answer
    /// that was lost is made up for by asking again.
    fn fill_queue(
        &self,
        agent: &AgentKey,
        session: Uuid,
        absent: Vec<Uuid>,
    ) -> Answer<Vec<Outline>>;

    /// Takes the queue of a session over for this node, from whichever node had it. Of a session of
    /// another agent nothing is known.
    fn resume_queue(&self, agent: &AgentKey, session: Uuid) -> Answer<Queue>;

    /// Ends the queue of a session that will not come back: what waits in it returns to the agent's
    /// inbox, once; answers how much did.
    fn close_queue(&self, agent: &AgentKey, session: Uuid) -> Answer<u64>;

    /// The messages of deliveries, by key; those that are gone are left out.
    fn load_deliveries(&self, keys: Vec<i64>) -> Answer<Vec<(i64, Message)>>;

    /// Counts one more delivery of each; to be made after this is answered.
    fn count_deliveries(&self, keys: Vec<i64>) -> Answer<()>;

    /// Settles deliveries: they are done. Unknown keys are ignored.
    fn settle_deliveries(&self, keys: Vec<i64>) -> Answer<()>;

    /// Makes dead letters of deliveries, with what their receiver said. Unknown keys are ignored.
    fn bury_deliveries(&self, dead: Vec<(i64, DeathCause, Option<Box<str>>)>) -> Answer<()>;

    /// What waits for an agent in all its queues, each message once, by priority and then oldest
    /// first.
    fn waiting_messages(&self, agent: &AgentKey, limit: u32) -> Answer<Vec<Waiting>>;

    /// Settles messages for an agent, in whatever queues they wait; answers the deliveries that
    /// ended. Unknown ids, and those of other agents, are ignored.
    fn settle_messages(&self, agent: &AgentKey, ids: Vec<Uuid>) -> Answer<Vec<Settled>>;

    /// Dead letters, the latest first, in pages: an agent's, or everybody's.
    fn list_dead_letters(
        &self,
        owner: Option<&AgentKey>,
        limit: u32,
        cursor: Option<String>,
    ) -> Answer<Page<DeadLetter>>;

    /// One dead letter of an agent, or of anybody.
    fn get_dead_letter(&self, owner: Option<&AgentKey>, id: Uuid) -> Answer<DeadLetter>;

    /// Puts dead letters back into the inboxes of their agents, as new and with their whole time to
    /// live before them, at most a thousand at once; answers which agents have got how many.
    fn retry_dead_letters(
        &self,
        owner: Option<&AgentKey>,
        letters: Letters,
    ) -> Answer<Vec<(AgentKey, u64)>>;

    /// Removes dead letters, at most a thousand at once; answers how many.
    fn purge_dead_letters(&self, owner: Option<&AgentKey>, letters: Letters) -> Answer<u64>;

    /// Says that this node lives. One that does not say so for
    /// [`crate::config::limits::NODE_SILENT_SECONDS`] is gone.
    fn keep_node(&self) -> Answer<()>;
}
