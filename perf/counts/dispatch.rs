//! From a message's text to its written answer, through the real dispatcher over an empty store; and the whole
//! way from the bytes of a frame to the bytes of another, as a shard goes it.

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use tmws::config::{self, Config, ToolProfile};
use tmws::delivery::courier::{Courier, Post, ResumeTokens, Terms};
use tmws::delivery::{Changes, Outgoing, Registry, Session, Transport};
use tmws::dispatch::{Constants, Dispatcher, McpConnection, Reply};
use tmws::domain::AgentKey;
use tmws::embed::Embedder;
use tmws::framing::websocket::{Event, OpCode, frame};
use tmws::operations::{Meaning, Services, Table};
use tmws::store::sqlite::{SqliteOptions, SqliteStore};
use tmws::telemetry::{Metrics, Process};

use super::Counter;
use super::codec::{self, HEALTH};

const OPERATIONS: u64 = 2_000;
const INITIALIZE: &str =
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const DISCOVER: &str = r#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;

pub(crate) fn count(counter: &Counter) {
    if !counter.wants("dispatch/") && !counter.wants("connection/") {
        return;
    }
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
    let agent = AgentKey::new("default", "budget").expect("a name");
    let session = Rc::new(Session::open(
        &registry,
        Transport::WebSocket,
        agent,
        Vec::new(),
    ));
    let outlet = Outgoing::of_stream().outlet(0);
    let mut connection = McpConnection::new(session, ToolProfile::Core, outlet);
    let mut out = Vec::new();
    let reply = connection.receive(&dispatcher, INITIALIZE, &mut out);
    assert!(matches!(reply, Reply::Written));
    for (name, text, part) in [
        ("dispatch/health_check", HEALTH, "\"status\":\"healthy\""),
        ("dispatch/ping", PING, "\"result\":{}"),
        ("dispatch/tools_list", LIST, "semantic_search"),
    ] {
        answer(counter, name, text, part, &mut connection, &dispatcher);
    }
    whole(counter, &mut connection, &dispatcher);
    let session = Session::of_request(AgentKey::new("default", "budget").expect("a name"));
    let outlet = Outgoing::of_stream().outlet(0);
    let mut modern = McpConnection::modern(Rc::new(session), ToolProfile::Core, outlet);
    let name = "dispatch/server_discover";
    answer(
        counter,
        name,
        DISCOVER,
        "supportedVersions",
        &mut modern,
        &dispatcher,
    );
    store.close();
}

fn answer(
    counter: &Counter,
    name: &str,
    text: &str,
    part: &str,
    connection: &mut McpConnection,
    dispatcher: &Rc<Dispatcher>,
) {
    let mut out = Vec::new();
    counter.count(name, OPERATIONS, || {
        for _ in 0..OPERATIONS {
            out.clear();
            let reply = connection.receive(dispatcher, black_box(text), &mut out);
            assert!(matches!(reply, Reply::Written));
        }
        assert!(String::from_utf8_lossy(&out).contains(part), "{name}");
    });
}

/// The shard's own way needs a socket; this is what it does between two of them.
fn whole(counter: &Counter, connection: &mut McpConnection, dispatcher: &Rc<Dispatcher>) {
    let frame = codec::client_frame(HEALTH);
    let (mut input, mut decoder, mut pool) = (frame.clone(), codec::decoder(), codec::pool());
    let mut out = Vec::new();
    counter.count("connection/health_check", OPERATIONS, || {
        for _ in 0..OPERATIONS {
            input.copy_from_slice(&frame);
            out.clear();
            let mut consumed = 0;
            let event = decoder.decode(black_box(&mut input), &mut consumed, &mut pool);
            let Ok(Some(Event::Text(text))) = event else {
                panic!("{event:?}");
            };
            let mark = frame::begin(&mut out, OpCode::Text);
            let reply = connection.receive(dispatcher, text, &mut out);
            assert!(matches!(reply, Reply::Written));
            mark.finish(&mut out);
        }
        assert_eq!(out[0], 0x81);
    });
}
