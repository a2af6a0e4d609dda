//! What one shard's thread runs: the shard's turns, and HTTP beside them.

use std::cell::Cell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use super::backing::Backing;
use crate::auth::Seal;
use crate::config::Config;
use crate::delivery::courier::{Courier, Post, ResumeTokens, Terms};
use crate::delivery::{Changes, Registry, Running};
use crate::dispatch::{Constants, Dispatcher};
use crate::http::{Http, Letters, Sessions, serve_sessions};
use crate::net::{Backend, Settings, affinity};
use crate::operations::{Meaning, Services, Table, Turns, Upkeep};
use crate::shard::{Gate, Listener, Mailbox, Next, Shard};
use crate::telemetry::performance::History;
use crate::telemetry::{Metrics, Process};

/// What all shards are made from.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) config: Arc<Config>,
    pub(super) table: Arc<Table>,
    pub(super) constants: Arc<Constants>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) history: Arc<History>,
    pub(super) process: Arc<Process>,
    pub(super) registry: Arc<Registry>,
    pub(super) changes: Arc<Changes>,
    pub(super) post: Arc<Post>,
    pub(super) running: Arc<Running>,
    pub(super) turns: Arc<Turns>,
    pub(super) seal: Arc<Seal>,
    pub(super) gate: Arc<Gate>,
    pub(super) backing: Backing,
    pub(super) meaning: Arc<Meaning>,
    pub(super) upkeep: Arc<Upkeep>,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) ended: mpsc::UnboundedSender<(usize, bool)>,
}

/// What one shard is made from.
pub(super) struct Parts {
    pub(super) index: usize,
    pub(super) core: usize,
    pub(super) listeners: Vec<(TcpListener, Listener)>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) sessions: (Sessions, Letters),
    pub(super) shared: Shared,
}

/// Tells the main thread that a shard is gone, even if it panicked.
struct Farewell {
    index: usize,
    asked: bool,
    ended: mpsc::UnboundedSender<(usize, bool)>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // The receiver is gone only if the process ends anyway.
        let _ = self.ended.send((self.index, self.asked));
    }
}

/// Runs a shard until it is stopped.
pub(super) fn run<B: Backend>(parts: Parts) {
    let index = parts.index;
    let mut farewell = Farewell {
        index,
        asked: false,
        ended: parts.shared.ended.clone(),
    };
    if let Err(error) = affinity::pin(parts.core) {
        tracing::warn!(index, core = parts.core, %error, "a shard could not be pinned");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(index, %error, "a shard has no runtime");
            return;
        }
    };
    match LocalSet::new().block_on(&runtime, serve::<B>(parts)) {
        Ok(()) => farewell.asked = true,
        Err(error) => tracing::error!(index, %error, "a shard failed"),
    }
}

async fn serve<B: Backend>(parts: Parts) -> io::Result<()> {
    let shared = parts.shared;
    let config = shared.config;
    let mut backend = B::open(Settings {
        buffers: config.buffers,
        buffer_bytes: config.buffer_bytes,
    })?;
    for (listener, number) in parts.listeners {
        backend.listen(listener, number as u8)?;
    }
    let store = shared.backing.connect().await.map_err(io::Error::other)?;
    let outgoing = parts.mailbox.outgoing();
    let terms = Terms {
        ping_interval_ms: config.ping_interval.as_millis() as u64,
        message_bytes_max: config.message_bytes_max,
        reconnect_window_ms: config.reconnect_window.as_millis() as u64,
    };
    let courier = Courier::new(
        parts.index,
        Rc::clone(&store),
        Arc::clone(&shared.post),
        Rc::clone(&outgoing),
        terms,
        Arc::clone(&shared.metrics.shards[parts.index]),
    );
    let secret = store.session_secret().await.map_err(io::Error::other)?;
    let delivering = tokio::task::spawn_local(Rc::clone(&courier).run());
    let telling = tokio::task::spawn_local(Rc::clone(&courier).tell_events());
    // Ends by itself, when the shard is sealed.
    drop(tokio::task::spawn_local(keep_when_stopping(
        Rc::clone(&courier),
        shared.stopping.clone(),
    )));
    let services = Rc::new(Services {
        store,
        courier: Rc::clone(&courier),
        tokens: Arc::new(ResumeTokens::new(&secret)),
        embedding: Arc::new(config.embedding.clone()),
        upkeep: shared.upkeep,
        meaning: shared.meaning,
        looks: Cell::new(0),
        registry: shared.registry,
        running: shared.running,
        turns: shared.turns,
        seal: shared.seal,
        inbox: shared.changes.inbox(parts.index),
        changes: shared.changes,
        metrics: Arc::clone(&shared.metrics),
        history: shared.history,
        process: shared.process,
        content_chars_max: Cell::new(config.content_chars_max),
        batch_max: Cell::new(config.batch_max),
    });
    let counts = Arc::clone(&shared.metrics.shards[parts.index]);
    let dispatcher = Rc::new(Dispatcher::new(
        shared.table,
        shared.constants,
        services,
        counts,
    ));
    let (sessions, letters) = parts.sessions;
    let serving_sessions = tokio::task::spawn_local(serve_sessions(
        letters,
        Rc::clone(&dispatcher),
        Arc::clone(&config),
        shared.stopping.clone(),
    ));
    let http = |config| {
        let dispatcher = Rc::clone(&dispatcher);
        Rc::new(Http::new(
            dispatcher,
            config,
            Arc::clone(&shared.gate),
            sessions.clone(),
            shared.stopping.clone(),
        ))
    };
    let mut serving = http(Arc::clone(&config));
    let mut shard = Shard::new(
        backend,
        Rc::clone(&dispatcher),
        config,
        Arc::clone(&shared.gate),
        parts.mailbox,
        outgoing,
    );
    loop {
        match shard.next().await? {
            Next::HandOver(handed) => serving.serve(handed),
            Next::Reloaded(config) => serving = http(config),
            Next::Stopped => break,
        }
    }
    // Requests that HTTP is still answering.
    while Rc::strong_count(&serving) > 1 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // What is told after this would be in memory only, and lost.
    telling.abort();
    courier.seal().await;
    serving_sessions.abort();
    delivering.abort();
    Ok(())
}

/// Once the server stops, stores what sessions whose connections are closed have in memory only.
async fn keep_when_stopping(courier: Rc<Courier>, mut stopping: watch::Receiver<bool>) {
    // An error means that the server is gone.
    if stopping.wait_for(|stopping| *stopping).await.is_ok() {
        courier.keep_absent().await;
    }
}
