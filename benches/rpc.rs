//! Parsing a message, and the way from its text to its answer.

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use tmws::config::{self, Config, ToolProfile};
use tmws::delivery::courier::{Courier, Post, ResumeTokens, Terms};
use tmws::delivery::{Changes, Outgoing, Registry, Session, Transport};
use tmws::dispatch::{Constants, Dispatcher, McpConnection, Reply};
use tmws::domain::AgentKey;
use tmws::embed::Embedder;
use tmws::operations::{Meaning, Services, Table};
use tmws::rpc::jsonrpc::{self, Message};
use tmws::store::sqlite::{SqliteOptions, SqliteStore};
use tmws::telemetry::{Metrics, Process};

const HEALTH: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"health_check","arguments":{}}}"#;

/// Parsing of requests of three sizes.
pub(crate) fn parse(c: &mut Criterion) {
    let create = |bytes: usize| {
        format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"memory/create","params":{{"content":"{}","tags":["a","b"]}}}}"#,
            "x".repeat(bytes)
        )
    };
    let mut group = c.benchmark_group("rpc/parse");
    for (name, text) in [
        ("health", HEALTH.to_owned()),
        ("304B", create(220)),
        ("8KiB", create(8192)),
    ] {
        assert!(matches!(jsonrpc::parse(&text), Ok(Message::Request { .. })));
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| black_box(jsonrpc::parse(black_box(&text)).is_ok()))
        });
    }
    group.finish();
}

const DISCOVER: &str = r#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;

/// From a message's text to its written answer, on the shard's thread.
pub(crate) fn dispatch(c: &mut Criterion) {
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
    let agent = AgentKey::new("default", "bench").expect("a name");
    let session = Rc::new(Session::open(
        &registry,
        Transport::WebSocket,
        agent,
        Vec::new(),
    ));
    let outlet = Outgoing::of_stream().outlet(0);
    let mut connection = McpConnection::new(session, ToolProfile::Core, outlet);
    let mut out = Vec::new();
    let initialize = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
    assert!(matches!(
        connection.receive(&dispatcher, initialize, &mut out),
        Reply::Written
    ));
    let mut group = c.benchmark_group("dispatch");
    for (name, text, part) in [
        ("tools_call/health_check", HEALTH, "\"status\":\"healthy\""),
        (
            "direct/health",
            r#"{"jsonrpc":"2.0","id":1,"method":"system/health"}"#,
            "\"status\":\"healthy\"",
        ),
        (
            "tools_list/core",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
            "semantic_search",
        ),
        (
            "ping",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            "\"result\":{}",
        ),
        (
            "prompts_list",
            r#"{"jsonrpc":"2.0","id":1,"method":"prompts/list"}"#,
            "plan_task",
        ),
        ("malformed", r#"{"jsonrpc":"2.0","id":1"#, "-32700"),
    ] {
        out.clear();
        connection.receive(&dispatcher, text, &mut out);
        assert!(String::from_utf8_lossy(&out).contains(part), "{name}");
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                black_box(connection.receive(&dispatcher, black_box(text), &mut out));
            });
        });
    }
    let agent = AgentKey::new("default", "bench").expect("a name");
    let session = Session::of_request(agent);
    let outlet = Outgoing::of_stream().outlet(0);
    let mut modern = McpConnection::modern(Rc::new(session), ToolProfile::Core, outlet);
    group.bench_function("server_discover", |b| {
        b.iter(|| {
            out.clear();
            black_box(modern.receive(&dispatcher, black_box(DISCOVER), &mut out));
        });
    });
    assert!(String::from_utf8_lossy(&out).contains("supportedVersions"));
    group.finish();
    store.close();
}
