//! The store of a fleet: PostgreSQL with pgvector, over connections that live on each shard.
//!
//! ```text
//! shard --> reads, searches: shared connections, one flight per call ------------\
//!      |--> creates: queue --> one transaction for all that wait, one flight -----+--> PostgreSQL
//!      |--> posts and settlements of messages: likewise, on one connection -------+
//!      \--> changes: a few connections, a transaction with row locks each --------/
//! ```
//!
//! Invariants: no method blocks the calling shard and nothing starts a thread; what a caller was
//! told is committed, with `synchronous_commit`; every transaction says for whom it runs, and row
//! security holds it to that; while PostgreSQL is away calls fail at once and work again, without
//! a restart, when it is back.

mod access;
mod address;
mod agents;
mod by_meaning;
mod by_words;
mod candidates;
mod change;
mod counts;
mod create;
mod criteria;
mod failure;
mod flight;
mod gather;
mod graph;
mod idempotency;
mod insert;
mod link;
mod mcp_tasks;
mod messages;
mod pool;
mod query;
mod recall;
mod rows;
mod schema;
mod scope;
mod scope_words;
mod scopes;
mod search;
mod session;
mod sources;
mod stats;
mod tasks;
mod transfer;
mod tsquery;
mod upkeep;
mod vectors;

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use tokio_postgres::Config;
use uuid::Uuid;

pub use candidates::Bounds;
pub use flight::FlightStats;
pub use schema::{OpenError, SCHEMA_VERSION, inspect, migrate};

use super::cursor::CursorKey;
use super::{Answer, Store, StoreError, StoreStatus, Viewer, Waiting};
use crate::domain::{
    Agent, AgentKey, EmbeddingState, Imported, Keyed, McpTask, McpTaskChange, Memory, MemoryPatch,
    MemoryStats, Model, NewAgent, NewMcpTask, NewMemory, NewVector, Page, Recall, Record,
    Retention, Revision, Search, SearchPage, Share, Timestamp, Unembedded, UpkeepReport,
};
use access::AccessCounts;
use flight::Flights;
use graph::Graphs;
use messages::MessageFlights;
use pool::Pool;
use scopes::Scopes;
use tasks::Tasks;

/// Where the store takes the time from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How a store on PostgreSQL is run.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// The time.
    pub clock: Clock,
    /// How scopes are searched, by their size.
    pub bounds: Bounds,
    /// This run of the process: one for all of its shards.
    pub node: Uuid,
}

impl PostgresOptions {
    /// The database at `url`, with the time of the wall clock, for a node of its own.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            clock: Arc::new(Timestamp::now),
            bounds: Bounds::default(),
            node: Uuid::new_v4(),
        }
    }
}

/// One shard's handle on the store; clones share its connections. The last one to go closes them.
#[derive(Clone)]
pub struct PostgresStore {
    shard: Rc<Shard>,
    _tasks: Rc<Tasks>,
    /// Under which its writes happen once (`idempotency.rs`).
    key: Option<Rc<Keyed>>,
}

/// What a shard keeps of the store.
struct Shard {
    pool: Pool,
    flights: Flights,
    message_flights: MessageFlights,
    access: AccessCounts,
    scopes: Scopes,
    graphs: Graphs,
    /// Numbers of the models, which never change.
    models: RefCell<HashMap<Model, i32>>,
    /// Masks the rows in cursors.
    cursor_key: CursorKey,
    config: Config,
    clock: Clock,
    bounds: Bounds,
    node: Uuid,
}

impl Shard {
    fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

impl PostgresStore {
    /// Migrates the database if need be and makes ready to connect. Runs on a shard's `LocalSet`,
    /// and so does everything that is called later.
    pub async fn connect(options: PostgresOptions) -> Result<Self, OpenError> {
        let config = address::parse(&options.url)?;
        let (opening, cursor_key) = schema::prepare(&config).await?;
        let target = link::Target::new(config.clone(), opening);
        let shard = Rc::new(Shard {
            pool: Pool::new(&target),
            flights: Flights::new(&target),
            message_flights: MessageFlights::new(&target, options.node),
            access: AccessCounts::default(),
            scopes: Scopes::default(),
            graphs: Graphs::default(),
            models: RefCell::default(),
            cursor_key,
            config,
            clock: options.clock,
            bounds: options.bounds,
            node: options.node,
        });
        messages::begin_node(&shard)
            .await
            .map_err(|error| OpenError::Database(error.to_string()))?;
        // Without an answer the upkeep looks again.
        let _ = graph::look(&shard).await;
        let tasks = Rc::new(Tasks::start(&shard));
        Ok(Self {
            shard,
            _tasks: tasks,
            key: None,
        })
    }

    /// What this shard's creates have committed so far.
    pub fn flight_stats(&self) -> FlightStats {
        self.shard.flights.stats()
    }

    /// An answer that is worked out where it is awaited; given up with its future.
    fn read<T, F>(&self, work: impl FnOnce(Self) -> F) -> Answer<T>
    where
        F: Future<Output = Result<T, StoreError>> + 'static,
    {
        Box::pin(work(self.clone()))
    }

    /// An answer that is worked out to its end once it was asked for, whether or not the caller
    /// stays: no transaction is left half way.
    fn write<T: 'static, F>(&self, work: impl FnOnce(Self) -> F) -> Answer<T>
    where
        F: Future<Output = Result<T, StoreError>> + 'static,
    {
        let work = work(self.clone());
        Box::pin(async move {
            let done = tokio::task::spawn_local(work).await;
            done.unwrap_or_else(|_| Err(StoreError::Unavailable("the store is closed".into())))
        })
    }
}

impl Store for PostgresStore {
    fn create_memories(&self, new: Vec<NewMemory>) -> Answer<Vec<Result<Memory, StoreError>>> {
        if self.key.is_some() {
            return self.create_once(new);
        }
        let supersedes = new.iter().any(|entry| entry.supersedes.is_some());
        let work = async move |store: Self| create::create_all(&store.shard, new).await;
        // A flight goes its way by itself; what supersedes is a transaction of its own.
        if supersedes {
            self.write(work)
        } else {
            self.read(work)
        }
    }

    fn get_memory(&self, viewer: &Viewer, id: Uuid) -> Answer<Memory> {
        let viewer = viewer.clone();
        self.read(async move |store: Self| {
            let (seq, mut memory) = recall::get(&store.shard, &viewer, id).await?;
            memory.access_count += store.shard.access.add(seq);
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
        self.write(async move |store: Self| {
            change::update(&store, &viewer, id, patch, expected_version).await
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
        self.write(async move |store: Self| {
            change::delete(&store, &viewer, id, purge, expected_version).await
        })
    }

    fn share_memory(&self, viewer: &Viewer, share: Share) -> Answer<Memory> {
        let viewer = viewer.clone();
        self.write(async move |store: Self| change::share(&store, &viewer, share).await)
    }

    fn memory_history(&self, viewer: &Viewer, id: Uuid) -> Answer<Vec<Revision>> {
        let viewer = viewer.clone();
        self.read(async move |store: Self| recall::history(&store.shard, &viewer, id).await)
    }

    fn search_memories(&self, viewer: &Viewer, search: Search) -> Answer<SearchPage> {
        let viewer = viewer.clone();
        self.read(async move |store: Self| search::search(&store.shard, &viewer, search).await)
    }

    fn recall_memories(&self, viewer: &Viewer, recall: Recall) -> Answer<Page<Memory>> {
        let viewer = viewer.clone();
        self.read(async move |store: Self| {
            let page = recall::recall(&store.shard, &viewer, &recall).await?;
            let count = |(seq, mut memory): (i64, Memory)| {
                if recall.counts_access {
                    memory.access_count += store.shard.access.add(seq);
                }
                memory
            };
            Ok(Page {
                items: page.items.into_iter().map(count).collect(),
                next_cursor: page.next_cursor,
            })
        })
    }

    fn memory_stats(&self, viewer: &Viewer) -> Answer<MemoryStats> {
        let viewer = viewer.clone();
        self.read(async move |store: Self| stats::memory_stats(&store.shard, &viewer).await)
    }

    fn attach_vectors(&self, model: &Model, vectors: Vec<NewVector>) -> Answer<u64> {
        let model = model.clone();
        self.write(async move |store: Self| vectors::attach(&store.shard, &model, vectors).await)
    }

    fn unembedded(&self, model: &Model, limit: u32) -> Answer<Vec<Unembedded>> {
        let model = model.clone();
        self.read(async move |store: Self| vectors::unembedded(&store.shard, &model, limit).await)
    }

    fn embedding_state(&self) -> Answer<EmbeddingState> {
        self.read(async move |store: Self| vectors::state(&store.shard).await)
    }

    fn activate_model(&self, model: &Model) -> Answer<bool> {
        let model = model.clone();
        self.write(async move |store: Self| vectors::activate(&store.shard, &model).await)
    }

    fn upkeep(&self, retention: Retention) -> Answer<UpkeepReport> {
        self.write(async move |store: Self| upkeep::once(&store.shard, retention).await)
    }

    fn export(&self, limit: u32, cursor: Option<String>) -> Answer<Page<Record>> {
        self.read(async move |store: Self| {
            transfer::export(&store.shard, limit, cursor.as_deref()).await
        })
    }

    fn import(&self, records: Vec<Record>) -> Answer<Imported> {
        self.write(async move |store: Self| transfer::import(&store, records).await)
    }

    fn register_agent(&self, agent: NewAgent) -> Answer<Agent> {
        self.write(async move |store: Self| agents::register(&store, &agent).await)
    }

    fn get_agent(&self, key: &AgentKey) -> Answer<Agent> {
        let key = key.clone();
        self.read(async move |store: Self| agents::get(&store.shard, &key).await)
    }

    fn list_agents(
        &self,
        namespace: &str,
        capability: Option<String>,
        limit: u32,
        cursor: Option<String>,
    ) -> Answer<Page<Agent>> {
        let namespace = namespace.to_owned();
        self.read(async move |store: Self| {
            agents::list(
                &store.shard,
                &namespace,
                capability,
                limit,
                cursor.as_deref(),
            )
            .await
        })
    }

    fn create_mcp_task(&self, new: NewMcpTask) -> Answer<McpTask> {
        self.write(async move |store: Self| mcp_tasks::create(&store.shard, new).await)
    }

    fn get_mcp_task(&self, owner: &AgentKey, id: Uuid) -> Answer<McpTask> {
        let owner = owner.clone();
        self.read(async move |store: Self| mcp_tasks::get(&store.shard, &owner, id).await)
    }

    fn update_mcp_task(
        &self,
        owner: &AgentKey,
        id: Uuid,
        expected_version: Option<u64>,
        change: McpTaskChange,
    ) -> Answer<McpTask> {
        let owner = owner.clone();
        self.write(async move |store: Self| {
            mcp_tasks::update(&store.shard, &owner, id, expected_version, change).await
        })
    }

    fn renew_mcp_tasks(&self, ids: Vec<Uuid>, lease_ms: u64) -> Answer<()> {
        self.write(async move |store: Self| mcp_tasks::renew(&store.shard, ids, lease_ms).await)
    }

    fn waiting(&self) -> Waiting {
        self.shard.waiting()
    }

    fn status(&self) -> Answer<StoreStatus> {
        self.read(async move |store: Self| stats::status(&store.shard).await)
    }
}
