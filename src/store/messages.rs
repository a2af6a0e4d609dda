//! What stores promise about messages: what is to be delivered, and what was given up.
//!
//! Invariants: a delivery that was posted is settled, becomes a dead letter, or waits; never anything
//! else, and whichever it is happens once. A delivery is counted before it is made, so that no
//! crash makes the count too small. Keys grow in the order in which the posts of one handle were
//! asked for, awaited or not, and are never given twice. Posts under an idempotency key keep that order on the embedded store only: on
//! PostgreSQL each is a transaction of its own. Between handles on PostgreSQL, of shards or of
//! nodes, they say nothing: keys are taken before they are committed, so a smaller one may
//! appear later, and nobody may take all up to some key for complete.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Answer, StoreError};
use crate::domain::{
    AgentKey, DeadLetter, DeathCause, Letters, Message, NewMessage, Outline, Page, Unsettled,
    Waiting,
};

/// A delivery that ended because its agent settled the message elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The delivery.
    pub key: i64,
    /// In whose queue it was; none if in the inbox.
    pub session: Option<Uuid>,
}

/// A queue as its session finds it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// What waits in it, as it was sent: by the message's id, which grows with time, since what was
    /// moved and copied has keys that say nothing.
    pub waiting: Vec<Outline>,
    /// Is the session known here? It is once a message was posted to its queue, as long as the queue
    /// was not closed.
    pub known: bool,
    /// Has the node that had the queue, or that served the session if it is not known, sent messages
    /// that were in its memory only? None if nothing is known of that node any more.
    pub volatile: Option<bool>,
}

/// A queue as it is, for whoever serves its session and may have missed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// The node that serves the session, as far as the store knows; none if nothing was posted to its
    /// queue yet.
    pub node: Option<Uuid>,
    /// Everything that waits in it, in the order of [`Queue::waiting`].
    pub waiting: Vec<Outline>,
}

/// The part of a store that keeps messages. A store acts for one *node*, the process that opened
/// it; queues belong to the node that serves their session.
pub trait Messages {
    /// Stores messages with their deliveries, each whole or not at all, and one failure harms no
    /// other; answers the keys in the order of the destinations. Queues of sessions that were
    /// unknown, or closed, are from then on the node's that the destination names: a node posts to
    /// sessions of which it knows who serves them, and who does closes the queue again if the session
    /// has ended meanwhile. [`StoreError::Conflict`] if an agent would
    /// have more waiting than [`crate::domain::message::WAITING_MAX`]; what several nodes post in
    /// the same moment may exceed that.
    fn post_messages(&self, new: Vec<NewMessage>) -> Answer<Vec<Result<Vec<i64>, StoreError>>>;

    /// Stores what was in memory only in queues of sessions that this node serves, each or not at
    /// all; answers the keys in the order given. As a post does, but a message may be stored already,
    /// since other queues keep their own deliveries of it; and what is in its queue already keeps its
    /// key, so that an answer that was lost is made up for by asking again.
    fn keep_messages(&self, unsettled: Vec<Unsettled>) -> Answer<Vec<Result<i64, StoreError>>>;

    /// Begins the queue of a new session, or looks whether more has come. What waits in the agent's
    /// inbox moves into it, and so do copies of what waits for sessions that are `absent`, or whose
    /// node is gone; but no message that is in it already, and nothing that has expired. An original
    /// is copied once and is not returned to the inbox when its own queue is closed. No more is copied
    /// than the agent may have waiting; the rest comes when its queue is closed. Answers everything
    /// that waits in the queue and came into it in this way, now or before: so an answer that was
    /// lost is made up for by asking again. In the order of [`Queue::waiting`].
    fn fill_queue(
        &self,
        agent: &AgentKey,
        session: Uuid,
        absent: Vec<Uuid>,
    ) -> Answer<Vec<Outline>>;

    /// Takes the queue of a session over for this node, from whichever node had it, be it this one; it
    /// is this node's from then on although nothing may have been posted to it.
    /// Of a session of another agent nothing is known. What has expired in it is answered too, to be
    /// buried. `before` is the node that served the session last as far as its client knows.
    fn resume_queue(&self, agent: &AgentKey, session: Uuid, before: Uuid) -> Answer<Queue>;

    /// A queue as it is now.
    fn look_at_queue(&self, agent: &AgentKey, session: Uuid) -> Answer<Looked>;

    /// Ends the queue of a session that will not come back: what waits in it returns to the agent's
    /// inbox, but for originals of copies and for messages that are there already; answers how much
    /// did. A queue of another node's is left alone.
    fn close_queue(&self, agent: &AgentKey, session: Uuid) -> Answer<u64>;

    /// The messages of deliveries, by key; those that are gone are left out.
    fn load_deliveries(&self, keys: Vec<i64>) -> Answer<Vec<(i64, Message)>>;

    /// Counts one more delivery of each; to be made after this is answered. Unknown keys are ignored.
    fn count_deliveries(&self, keys: Vec<i64>) -> Answer<()>;

    /// Settles deliveries: they are done. Unknown keys are ignored.
    fn settle_deliveries(&self, keys: Vec<i64>) -> Answer<()>;

    /// Makes dead letters of deliveries, with what their receiver said. Unknown keys are ignored, and
    /// the original of a copy that has expired just ends: its copy becomes a letter.
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

    /// Puts dead letters back into the inboxes of their agents, under the ids that they had, as new
    /// and with their whole time to live before them, the oldest first and at most a thousand at
    /// once; those for which an agent has no room stay. Answers which agents have got how many.
    fn retry_dead_letters(
        &self,
        owner: Option<&AgentKey>,
        letters: Letters,
    ) -> Answer<Vec<(AgentKey, u64)>>;

    /// Removes dead letters, the oldest first and at most a thousand at once; answers how many.
    fn purge_dead_letters(&self, owner: Option<&AgentKey>, letters: Letters) -> Answer<u64>;

    /// The node that this store acts for.
    fn node(&self) -> Uuid;

    /// Agents that have queues of nodes that are gone, with the node, but for the nodes `known`: what
    /// waits there is for sessions of theirs that are here, which fill their queues again. The
    /// embedded store has none: its sessions begin after every other node has gone.
    fn left_agents(&self, known: Vec<Uuid>) -> Answer<Vec<(Uuid, AgentKey)>>;

    /// Says that this node lives, as opening the store does too. One that does not say so for
    /// [`crate::config::limits::NODE_SILENT_SECONDS`] is gone; in the embedded store every other
    /// one is, for one process holds it.
    fn keep_node(&self) -> Answer<()>;

    /// Notes for good that this node has sent messages that are in its memory only: whoever resumes
    /// a session after its end may have missed some. A node that others took for gone and forgot
    /// counts as one that did, should it live on.
    fn note_volatile(&self) -> Answer<()>;

    /// Notes the same of another node, to which such messages are sent: it may end before it has them. Of
    /// one that is forgotten there is nothing to note.
    fn note_volatile_of(&self, node: Uuid) -> Answer<()>;

    /// Takes back what [`Self::note_volatile`] noted: whatever was in memory only is stored or settled
    /// now, and whoever was to learn of a loss has learned it.
    fn withdraw_volatile(&self) -> Answer<()>;

    /// 32 random bytes that every node of this store has, after a restart too.
    fn session_secret(&self) -> Answer<Vec<u8>>;
}
