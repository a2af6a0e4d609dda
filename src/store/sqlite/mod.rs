//! The embedded store: SQLite with one writer thread and a few readers.
//!
//! ```text
//! shards --> writer queue --> writer thread --\
//!        \-> reader queue --> reader threads --+--> tmws.db (WAL)
//! ```
//!
//! Invariants: no method blocks the calling shard: it puts a request into a bounded queue
//! ([`StoreError::Busy`] if that is full) and awaits the reply; one process holds a data
//! directory; a reader sees everything that was acknowledged before it asked.

mod access;
mod agents;
mod change;
mod changes;
mod create;
mod criteria;
mod documents;
mod functions;
mod grants;
mod idempotency;
mod load;
mod mcp_tasks;
mod messages;
mod reader;
mod recall;
mod rows;
mod schema;
mod search;
mod stats;
mod threads;
mod transfer;
mod upkeep;
mod vectors;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use uuid::Uuid;

pub use schema::{OpenError, SCHEMA_VERSION, inspect, migrate};
pub use writer::WriterStats;

use super::index::IndexSize;
use super::{Answer, Store, StoreError, StoreStatus, Viewer, Waiting};
use crate::domain::{
    Agent, AgentKey, EmbeddingState, Imported, Keyed, McpTask, McpTaskChange, Memory, MemoryPatch,
    MemoryStats, Model, NewAgent, NewMcpTask, NewMemory, NewVector, Page, Recall, Record,
    Retention, Revision, Search, SearchPage, Share, Timestamp, Unembedded, UpkeepReport,
};
use threads::Threads;
use writer::Batch;

/// Where the store takes the time from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How an embedded store is run.
#[derive(Clone)]
pub struct SqliteOptions {
    /// Reader threads: two, so that one slow search does not hold up everybody's reads.
    pub readers: usize,
    /// Requests that wait for the writer; at 5,000 a second a full queue is under a second old.
    pub write_queue: usize,
    /// Requests that wait for a reader.
    pub read_queue: usize,
    /// Longest run of one statement before it is given up.
    pub query_limit: Duration,
    /// Size that the database may reach; a write beyond it is [`StoreError::Unavailable`].
    pub bytes_max: Option<u64>,
    /// The time.
    pub clock: Clock,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            readers: 2,
            write_queue: 4_096,
            read_queue: 4_096,
            query_limit: Duration::from_secs(2),
            bytes_max: None,
            clock: Arc::new(Timestamp::now),
        }
    }
}

/// A handle on the embedded store; clones share its threads. The last one to go closes it.
#[derive(Clone)]
pub struct SqliteStore {
    threads: Arc<Threads>,
    /// Under which its writes happen once (`idempotency.rs`).
    key: Option<Arc<Keyed>>,
}

impl SqliteStore {
    /// Takes the data directory `dir`, creating it if need be, migrates the database and starts
    /// the threads.
    pub fn open(dir: &Path, options: SqliteOptions) -> Result<Self, OpenError> {
        let threads = Arc::new(Threads::start(dir, options)?);
        Ok(Self { threads, key: None })
    }

    /// Finishes what is queued, writes access counts, folds the log into the database and joins
    /// the threads. Later calls on any clone are [`StoreError::Unavailable`]. Blocks.
    pub fn close(&self) {
        self.threads.close();
    }

    /// What the writer has done so far.
    pub fn writer_stats(&self) -> WriterStats {
        self.threads.progress.stats()
    }

    /// How many readers there are, and how long they have worked, all together.
    pub fn reader_stats(&self) -> (usize, Duration) {
        self.threads.reader_stats()
    }

    /// How much the index in memory holds.
    pub fn index_size(&self) -> IndexSize {
        self.threads.index.size()
    }

    /// Has the writer run `work`, which carries about `bytes` of content, in a savepoint.
    fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce(&mut Batch<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let job = writer::Job::new(bytes, reply, work);
        threads::answer(self.threads.submit_write(job), answer)
    }

    /// Has a reader run `work` at the time it begins.
    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, Timestamp) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let clock = self.threads.clock.clone();
        let job = reader::Job::new(reply, move |connection| work(connection, clock()));
        threads::answer(self.threads.submit_read(job), answer)
    }
}

impl From<rusqlite::Error> for StoreError {
    /// Whatever SQLite refuses is a matter of the disk, a lock or time: a later call may succeed.
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::OperationInterrupted;
        if error.sqlite_error_code() == Some(OperationInterrupted) {
            return Self::Unavailable("the query took too long".into());
        }
        Self::Unavailable(error.to_string())
    }
}

impl Store for SqliteStore {
    fn create_memories(&self, new: Vec<NewMemory>) -> Answer<Vec<Result<Memory, StoreError>>> {
        let bytes = new.iter().map(|entry| entry.content.len()).sum();
        match self.key {
            Some(_) => self.create_once(bytes, new),
            None => self.write(bytes, move |batch| create::create_all(batch, new)),
        }
    }

    fn get_memory(&self, viewer: &Viewer, id: Uuid) -> Answer<Memory> {
        let viewer = viewer.clone();
        let access = self.threads.access.clone();
        self.read(move |connection, now| {
            let (seq, mut memory) = recall::get(connection, &viewer, id, now)?;
            memory.access_count += access.add(seq);
            Ok(memory)
        })
    }

    fn update_memory(
        &self,
        viewer: &Viewer,
        id: Uuid,
        patch: MemoryPatch,
        expected_version: Option<u64>,
    ) -> Answer<Memory> {
        let viewer = viewer.clone();
        let bytes = patch.content.as_ref().map_or(0, String::len);
        self.once(bytes, move |batch| {
            change::update(batch, &viewer, id, patch, expected_version)
        })
    }

    fn delete_memory(
        &self,
        viewer: &Viewer,
        id: Uuid,
        purge: bool,
        expected_version: Option<u64>,
    ) -> Answer<u64> {
        let viewer = viewer.clone();
        self.once(0, move |batch| {
            change::delete(batch, &viewer, id, purge, expected_version)
        })
    }

    fn share_memory(&self, viewer: &Viewer, share: Share) -> Answer<Memory> {
        let viewer = viewer.clone();
        self.once(0, move |batch| change::share(batch, &viewer, share))
    }

    fn memory_history(&self, viewer: &Viewer, id: Uuid) -> Answer<Vec<Revision>> {
        let viewer = viewer.clone();
        self.read(move |connection, now| recall::history(connection, &viewer, id, now))
    }

    fn search_memories(&self, viewer: &Viewer, search: Search) -> Answer<SearchPage> {
        let viewer = viewer.clone();
        let (access, index) = (self.threads.access.clone(), self.threads.index.clone());
        self.read(move |connection, now| {
            let answered = search::search(connection, &index, &viewer, &search, now)?;
            Ok(answered.into_page(|seq, hit| {
                if search.counts_access {
                    hit.memory.access_count += access.add(seq);
                }
            }))
        })
    }

    fn recall_memories(&self, viewer: &Viewer, recall: Recall) -> Answer<Page<Memory>> {
        let viewer = viewer.clone();
        let access = self.threads.access.clone();
        self.read(move |connection, now| {
            let Page { items, next_cursor } = recall::recall(connection, &viewer, &recall, now)?;
            let count = |(seq, mut memory): (i64, Memory)| {
                if recall.counts_access {
                    memory.access_count += access.add(seq);
                }
                memory
            };
            Ok(Page {
                items: items.into_iter().map(count).collect(),
                next_cursor,
            })
        })
    }

    fn memory_stats(&self, viewer: &Viewer) -> Answer<MemoryStats> {
        let viewer = viewer.clone();
        self.read(move |connection, now| stats::memory_stats(connection, &viewer, now))
    }

    fn attach_vectors(&self, model: &Model, vectors: Vec<NewVector>) -> Answer<u64> {
        let model = model.clone();
        let bytes = vectors.len() * model.dimension * size_of::<f32>();
        self.write(bytes, move |batch| {
            batch.isolated(|batch| vectors::attach(batch, &model, &vectors))
        })
    }

    fn unembedded(&self, model: &Model, limit: u32) -> Answer<Vec<Unembedded>> {
        let model = model.clone();
        self.read(move |connection, _| vectors::unembedded(connection, &model, limit))
    }

    fn embedding_state(&self) -> Answer<EmbeddingState> {
        self.read(|connection, _| vectors::state(connection))
    }

    fn activate_model(&self, model: &Model) -> Answer<bool> {
        let model = model.clone();
        self.write(0, move |batch| {
            batch.isolated(|batch| vectors::activate(batch, &model))
        })
    }

    fn upkeep(&self, retention: Retention) -> Answer<UpkeepReport> {
        let node = self.threads.node;
        self.write(0, move |batch| {
            batch.isolated(|batch| upkeep::run(batch, node, &retention))
        })
    }

    fn export(&self, limit: u32, cursor: Option<String>) -> Answer<Page<Record>> {
        self.read(move |connection, now| {
            transfer::export(connection, limit, cursor.as_deref(), now)
        })
    }

    fn import(&self, records: Vec<Record>) -> Answer<Imported> {
        let bytes = records
            .iter()
            .map(|record| record.memory.content.len())
            .sum();
        self.once(bytes, move |batch| transfer::import(batch, &records))
    }

    fn register_agent(&self, agent: NewAgent) -> Answer<Agent> {
        self.once(0, move |batch| agents::register(batch, &agent))
    }

    fn get_agent(&self, key: &AgentKey) -> Answer<Agent> {
        let key = key.clone();
        self.read(move |connection, _| agents::get(connection, &key))
    }

    fn list_agents(
        &self,
        namespace: &str,
        capability: Option<String>,
        limit: u32,
        cursor: Option<String>,
    ) -> Answer<Page<Agent>> {
        let namespace = namespace.to_owned();
        self.read(move |connection, _| {
            agents::list(
                connection,
                &namespace,
                capability.as_deref(),
                limit,
                cursor.as_deref(),
            )
        })
    }

    fn create_mcp_task(&self, new: NewMcpTask) -> Answer<McpTask> {
        self.write(0, move |batch| {
            batch.isolated(|batch| mcp_tasks::create(batch, new))
        })
    }

    fn get_mcp_task(&self, owner: &AgentKey, id: Uuid) -> Answer<McpTask> {
        let owner = owner.clone();
        self.read(move |connection, now| mcp_tasks::get(connection, &owner, id, now))
    }

    fn update_mcp_task(
        &self,
        owner: &AgentKey,
        id: Uuid,
        expected_version: Option<u64>,
        change: McpTaskChange,
    ) -> Answer<McpTask> {
        let owner = owner.clone();
        self.write(change.bytes(), move |batch| {
            batch.isolated(|batch| mcp_tasks::update(batch, &owner, id, expected_version, change))
        })
    }

    fn renew_mcp_tasks(&self, ids: Vec<Uuid>, lease_ms: u64) -> Answer<()> {
        self.write(0, move |batch| {
            batch.isolated(|batch| mcp_tasks::renew(batch, &ids, lease_ms))
        })
    }

    fn waiting(&self) -> Waiting {
        self.threads.waiting()
    }

    fn status(&self) -> Answer<StoreStatus> {
        let threads = &self.threads;
        if threads.progress.failing() {
            let reason = "writes fail; the store tries again by itself".into();
            return Box::pin(std::future::ready(Err(StoreError::Unavailable(reason))));
        }
        let database = threads.database.clone();
        self.read(move |connection, _| stats::status(connection, &database))
    }
}
