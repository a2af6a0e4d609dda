//! The real dispatcher over an empty store, and connections of it that are initialised. `perf/counts` counts with
//! the same that `benches` time.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use tmws::config::{self, Config, ToolProfile};
use tmws::delivery::courier::{Courier, Post, ResumeTokens, Terms};
use tmws::delivery::{Changes, Outgoing, Registry, Session, Transport};
use tmws::dispatch::{Constants, Dispatcher, McpConnection, Reply};
use tmws::domain::AgentKey;
use tmws::embed::Embedder;
use tmws::operations::{Meaning, Services, Table};
use tmws::store::sqlite::{SqliteOptions, SqliteStore};
use tmws::telemetry::{Metrics, Process};

/// A call of the cheapest tool.
pub(crate) const HEALTH: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"health_check","arguments":{}}}"#;
/// A request of the modern era.
pub(crate) const DISCOVER: &str = r#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
const INITIALIZE: &str =
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;

/// A dispatcher and what it stands on.
pub(crate) struct Dispatching {
    pub(crate) dispatcher: Rc<Dispatcher>,
    registry: Arc<Registry>,
    store: SqliteStore,
    _data: tempfile::TempDir,
}

impl Dispatching {
    pub(crate) fn new() -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(data.path(), SqliteOptions::default()).expect("a store");
        let table = Arc::new(Table::default());
        let metrics = Arc::new(Metrics::new(1, table.method_names()));
        let registry = Arc::new(Registry::default());
        let flags = [("embedding_model".to_owned(), "none".to_owned())];
        let settings = config::gather(None, &[], &flags).expect("valid settings");
        let embedding = Config::from_settings(&settings)
            .expect("a configuration")
            .embedding;
        let (meaning, _switches) = Meaning::new(Embedder::new(&embedding));
        let post = Arc::new(Post::new(1));
        let changes = Arc::new(Changes::new(1, Arc::clone(post.events())));
        let terms = Terms {
            ping_interval_ms: 20_000,
            message_bytes_max: 1 << 20,
            reconnect_window_ms: 300_000,
        };
        let outgoing = Outgoing::of_stream();
        let counts = Arc::clone(&metrics.shards[0]);
        let courier = Courier::new(0, Rc::new(store.clone()), post, outgoing, terms, counts);
        let services = Rc::new(Services {
            store: Rc::new(store.clone()),
            courier,
            tokens: Arc::new(ResumeTokens::new(b"a secret")),
            embedding: Arc::new(embedding),
            upkeep: Arc::default(),
            meaning: Arc::new(meaning),
            looks: Cell::new(0),
            registry: Arc::clone(&registry),
            running: Arc::default(),
            turns: Arc::default(),
            seal: Arc::default(),
            inbox: changes.inbox(0),
            changes,
            metrics: Arc::clone(&metrics),
            history: Arc::default(),
            process: Arc::new(Process::new("none", 1, "sqlite")),
            content_chars_max: Cell::new(10_000),
            batch_max: Cell::new(100),
        });
        let constants = Arc::new(Constants::new(&table));
        let counts = Arc::clone(&metrics.shards[0]);
        let dispatcher = Rc::new(Dispatcher::new(table, constants, services, counts));
        Self {
            dispatcher,
            registry,
            store,
            _data: data,
        }
    }

    /// A connection of the legacy era, initialised.
    pub(crate) fn connection(&self) -> McpConnection {
        let session = Rc::new(Session::open(
            &self.registry,
            Transport::WebSocket,
            agent(),
            Vec::new(),
        ));
        let mut connection = McpConnection::new(session, ToolProfile::Core, outlet());
        let reply = connection.receive(&self.dispatcher, INITIALIZE, &mut Vec::new());
        assert!(matches!(reply, Reply::Written));
        connection
    }

    /// A connection of the modern era.
    pub(crate) fn modern() -> McpConnection {
        let session = Rc::new(Session::of_request(agent()));
        McpConnection::modern(session, ToolProfile::Core, outlet())
    }
}

impl Drop for Dispatching {
    fn drop(&mut self) {
        self.store.close();
    }
}

fn agent() -> AgentKey {
    AgentKey::new("default", "bench").expect("a name")
}

fn outlet() -> tmws::delivery::Outlet {
    Outgoing::of_stream().outlet(0)
}
