//! The store: what survives the process.
//!
//! Invariants: when a write returns `Ok` it is durable; every read and write is checked against
//! the viewer here, so no caller can forget it; what a viewer may not see is [`StoreError::NotFound`].
//! The interface speaks in domain terms and in batches; no statement of a database leaves a backend.

use std::future::Future;
use std::pin::Pin;

use uuid::Uuid;

use crate::domain::{
    Agent, AgentKey, EmbeddingState, Imported, McpTask, McpTaskChange, Memory, MemoryPatch,
    MemoryStats, Model, NewAgent, NewMcpTask, NewMemory, NewVector, Page, Recall, Record,
    Retention, Revision, Search, SearchPage, Share, Unembedded, UpkeepReport, Violation,
};

mod cursor;
mod idempotency;
pub mod index;
mod mcp_tasks;
mod message_rules;
mod messages;
pub mod postgres;
pub mod ranking;
pub mod redis;
mod rights;
pub mod sqlite;
pub mod vectors;

pub use idempotency::{Idempotent, Posted};
pub use messages::{Looked, Messages, Queue, Settled};
pub use rights::{GRANTS_MAX, reads_by_level};

/// A store operation under way. It lives on the shard that asked and needs no `Send`.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>>>>;

/// Who reads or writes.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// The acting agent.
    pub key: AgentKey,
    /// May write memories of level `system`.
    pub admin: bool,
}

/// Why a store operation failed. Nothing was changed unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No such thing, or the viewer may not see it.
    #[error("{what} not found")]
    NotFound {
        /// `memory`, `agent`, `MCP task` or `dead letter`.
        what: &'static str,
    },
    /// The viewer sees it but may not do this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// A compare-and-set found another version, or the state forbids the change.
    #[error("{message}")]
    Conflict {
        /// What collided, in a sentence.
        message: String,
        /// The version that is stored, where there is one.
        current_version: Option<u64>,
    },
    /// A rule that only the store can check.
    #[error(transparent)]
    Invalid(#[from] Violation),
    /// The idempotency key was used for another call.
    #[error("the idempotency key was used for another call; take a new key for a new call")]
    Mismatch,
    /// The store cannot answer now; the same call may succeed later.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The request queue of the store is full; the same call may succeed shortly.
    #[error("the store is busy")]
    Busy,
}

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStatus {
    /// `sqlite` or `postgres`.
    pub backend: &'static str,
    /// Version of the schema in use.
    pub schema_version: u32,
    /// Memories that are neither deleted nor superseded, over all namespaces.
    pub memories: u64,
    /// Registered agents over all namespaces.
    pub agents: u64,
    /// Size on disk.
    pub bytes: u64,
}

/// What waits for the store at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Writes.
    pub writes: u64,
    /// Reads and searches.
    pub reads: u64,
    /// All handles of the process share these queues; otherwise each has its own.
    pub shared: bool,
}

/// What every backend offers. Reads and writes are futures of the calling shard; none blocks it.
pub trait Store: Messages + Idempotent {
    /// Stores each memory in one transaction with its neighbours of the moment. One failure harms
    /// no other entry; the results stand in the order of the entries.
    fn create_memories(&self, new: Vec<NewMemory>) -> Answer<Vec<Result<Memory, StoreError>>>;

    /// One memory, and counts the access.
    fn get_memory(&self, viewer: &Viewer, id: Uuid) -> Answer<Memory>;

    /// Changes a memory, if `expected_version` is absent or still the stored one.
    fn update_memory(
        &self,
        viewer: &Viewer,
        id: Uuid,
        patch: MemoryPatch,
        expected_version: Option<u64>,
    ) -> Answer<Memory>;

    /// Hides a memory (history stays), or with `purge` removes it, its history and its grants.
    /// Returns the version that was deleted.
    fn delete_memory(
        &self,
        viewer: &Viewer,
        id: Uuid,
        purge: bool,
        expected_version: Option<u64>,
    ) -> Answer<u64>;

    /// Grants or takes back permissions; only the owner may. A private memory that is granted to
    /// somebody becomes `shared`.
    fn share_memory(&self, viewer: &Viewer, share: Share) -> Answer<Memory>;

    /// Every recorded version, oldest first; also of a deleted memory for those who could write it.
    fn memory_history(&self, viewer: &Viewer, id: Uuid) -> Answer<Vec<Revision>>;

    /// The memories that answer a question best, among those that the viewer may read: by
    /// [`ranking`], so in the same order on every backend. A search by meaning with a vector of
    /// another model than the active one is [`StoreError::Conflict`].
    fn search_memories(&self, viewer: &Viewer, search: Search) -> Answer<SearchPage>;

    /// Memories by criteria, in pages.
    fn recall_memories(&self, viewer: &Viewer, recall: Recall) -> Answer<Page<Memory>>;

    /// Counts for one agent.
    fn memory_stats(&self, viewer: &Viewer) -> Answer<MemoryStats>;

    /// Attaches vectors of `model` to memories whose text is still the one they were computed
    /// from; returns how many were. Without an active model, `model` becomes it.
    fn attach_vectors(&self, model: &Model, vectors: Vec<NewVector>) -> Answer<u64>;

    /// Memories without a vector of `model`, newest first, at most `limit`.
    fn unembedded(&self, model: &Model, limit: u32) -> Answer<Vec<Unembedded>>;

    /// The models in use and how far their vectors are.
    fn embedding_state(&self) -> Answer<EmbeddingState>;

    /// Makes `model` the one that searches compare, if no memory lacks a vector of it; returns
    /// false, and notes it as the target, as long as some do. The cut-over is atomic. Vectors of
    /// the model before it are kept.
    fn activate_model(&self, model: &Model) -> Answer<bool>;

    /// Removes what has expired, prunes what nobody uses, writes down which MCP tasks have lost their
    /// server, gives up messages that expired with nobody to see to them and closes queues that nobody
    /// came back for, a bounded number at a time; called again until a run reports nothing.
    fn upkeep(&self, retention: Retention) -> Answer<UpkeepReport>;

    /// Memories of every agent with all that hangs on them, in the order of their creation, for
    /// the operator; in pages.
    fn export(&self, limit: u32, cursor: Option<String>) -> Answer<Page<Record>>;

    /// Stores exported memories as they were, all of them or, on an error, none.
    fn import(&self, records: Vec<Record>) -> Answer<Imported>;

    /// Registers an agent or updates its registration.
    fn register_agent(&self, agent: NewAgent) -> Answer<Agent>;

    /// One registration.
    fn get_agent(&self, key: &AgentKey) -> Answer<Agent>;

    /// Registrations of a namespace by id, in pages; `capability` keeps those that have it.
    fn list_agents(
        &self,
        namespace: &str,
        capability: Option<String>,
        limit: u32,
        cursor: Option<String>,
    ) -> Answer<Page<Agent>>;

    /// Records an MCP task, which is working from then on. [`StoreError::Conflict`] if there is one
    /// of that id, or if its owner has as many open as an agent may have.
    fn create_mcp_task(&self, new: NewMcpTask) -> Answer<McpTask>;

    /// One MCP task of `owner` as it is now; a task of another agent is [`StoreError::NotFound`],
    /// and so is one whose time to live has ended. One that has lost its server has failed.
    fn get_mcp_task(&self, owner: &AgentKey, id: Uuid) -> Answer<McpTask>;

    /// Changes an MCP task of `owner`, if `expected_version` is absent or still the stored one. One
    /// that has come to its end, by losing its server too, is [`StoreError::Conflict`].
    fn update_mcp_task(
        &self,
        owner: &AgentKey,
        id: Uuid,
        expected_version: Option<u64>,
        change: McpTaskChange,
    ) -> Answer<McpTask>;

    /// Renews the leases of the MCP tasks `ids`, of whatever owners, for the server that runs them;
    /// makes no version. What has ended, by the end of its lease too, stays so, and unknown ids are
    /// ignored.
    fn renew_mcp_tasks(&self, ids: Vec<Uuid>, lease_ms: u64) -> Answer<()>;

    /// How much waits in the queues of this handle. Never blocks.
    fn waiting(&self) -> Waiting;

    /// Asks the store for its state; an error means that it cannot serve.
    fn status(&self) -> Answer<StoreStatus>;
}
