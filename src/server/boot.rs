//! Start: limits, backend, store, listeners, shards, in that order, so that whatever is wrong is
//! said before anyone can connect.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::backing::Backing;
use super::keeper::{self, Keeper};
use super::nodes;
use super::sampler::Sampler;
use super::shard_thread::{self, Parts};
use super::sockets::Sockets;
use super::takeover::{self, Handover};
use super::{Server, ServerError};
use crate::config::limits::SHARD_STACK_BYTES;
use crate::config::{Config, EmbeddingProvider, Io};
use crate::delivery::courier::Post;
use crate::delivery::{Changes, Registry};
use crate::dispatch::Constants;
use crate::embed::Embedder;
use crate::http::Sessions;
use crate::net::epoll::Epoll;
use crate::net::uring::Uring;
use crate::net::{Backend, affinity, limits};
use crate::operations::{Meaning, Table, Upkeep};
use crate::shard::{Gate, Mailbox};
use crate::telemetry::{Metrics, Process};

/// Descriptors that the process needs besides connections: store, logs, rings, listeners.
const OTHER_DESCRIPTORS: u64 = 256;

pub(super) async fn start(config: Config) -> Result<Server, ServerError> {
    let config = Arc::new(config);
    raise_limits(&config);
    let uring = choose_backend(config.io)?;
    let inherited = inherit(&config);
    let backing = Backing::open_in_time(&config, inherited.is_some()).await?;
    let store = backing.connect().await?;
    let embedder = Embedder::new(&config.embedding);
    keeper::check_model(&*store, &embedder).await?;
    let cores = affinity::cores();
    let shards = config.shards.unwrap_or(cores.len());
    let sockets = Sockets::open(&config, shards, inherited.unwrap_or_default())?;
    let (api_address, ws_address) = (sockets.api, sockets.ws);
    let copies = sockets.copies();
    let table = Arc::new(Table::default());
    let metrics = Arc::new(Metrics::new(shards, table.method_names()));
    let process = Arc::new(Process::new(
        if uring { Uring::NAME } else { Epoll::NAME },
        shards,
        backing.name(),
    ));
    let gate = Arc::new(Gate::default());
    let (meaning, switches) = Meaning::new(embedder);
    let meaning = Arc::new(meaning);
    let upkeep = Arc::new(Upkeep::default());
    let (stopping, stopped) = watch::channel(false);
    let (ended_sender, ended) = mpsc::unbounded_channel();
    let (post, wake) = match &config.redis {
        Some(_) => {
            let post = Post::of_node(shards, store.node());
            let wake = post.wake();
            (Arc::new(post), Some(wake))
        }
        None => (Arc::new(Post::new(shards)), None),
    };
    let registry = Arc::new(Registry::new(Arc::clone(post.events()), wake));
    let changes = Arc::new(Changes::new(shards, Arc::clone(post.events())));
    let mailboxes: Vec<_> = (0..shards).map(|_| Arc::new(Mailbox::default())).collect();
    let sampler = Sampler {
        backing: backing.clone(),
        store: Rc::clone(&store),
        metrics: Arc::clone(&metrics),
        meaning: Arc::clone(&meaning),
        registry: Arc::clone(&registry),
        changes: Arc::clone(&changes),
        post: Arc::clone(&post),
        mailboxes: mailboxes.clone(),
        data_dir: config.data_dir.clone(),
        cores: cores.len(),
    };
    let history = Arc::new(sampler.begin(config.connections_max));
    let constants = Arc::new(Constants::new(&table));
    let shared = shard_thread::Shared {
        constants: Arc::clone(&constants),
        registry: Arc::clone(&registry),
        changes: Arc::clone(&changes),
        post: Arc::clone(&post),
        running: Arc::default(),
        turns: Arc::default(),
        seal: Arc::default(),
        config: Arc::clone(&config),
        metrics: Arc::clone(&metrics),
        history: Arc::clone(&history),
        process: Arc::clone(&process),
        gate: Arc::clone(&gate),
        backing: backing.clone(),
        meaning: Arc::clone(&meaning),
        upkeep: Arc::clone(&upkeep),
        stopping: stopped,
        ended: ended_sender,
        table,
    };
    let mut threads = Vec::with_capacity(shards);
    let sessions = Sessions::for_shards(shards);
    for ((index, listeners), sessions) in sockets.shards.into_iter().enumerate().zip(sessions) {
        let parts = Parts {
            index,
            core: cores[index % cores.len()],
            listeners,
            mailbox: Arc::clone(&mailboxes[index]),
            sessions,
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("shard-{index}"))
            .stack_size(SHARD_STACK_BYTES)
            .spawn(move || {
                if uring {
                    shard_thread::run::<Uring>(parts);
                } else {
                    shard_thread::run::<Epoll>(parts);
                }
            })
            .map_err(ServerError::system("cannot start a shard's thread"))?;
        threads.push(thread);
    }
    // Whoever connects is served from here on, and waits for nothing of what follows. Compute threads would
    // take the cores from shards that start: the first one reads the model.
    start_compute(&meaning.embedder(), cores.len())?;
    let handover = offer(&config, copies);
    let keeper = Keeper {
        store: Rc::clone(&store),
        meaning: Arc::clone(&meaning),
        upkeep,
        post: Arc::clone(&post),
        switches,
        settings: config.upkeep,
        session_window: config.reconnect_window,
        cores: cores.len(),
        target: None,
    };
    drop(tokio::task::spawn_local(keeper::keep_node(
        Rc::clone(&store),
        Arc::clone(&post),
    )));
    let link = match &config.redis {
        Some(url) => {
            let parts = (Arc::clone(&post), registry, changes, Arc::clone(&process));
            nodes::join(url, &*store, parts, config.reconnect_window).await?
        }
        None => None,
    };
    // Ends with the process: what it has not done the next start does.
    drop(tokio::task::spawn_local(keeper.run()));
    drop(tokio::task::spawn_local(sampler.run(Arc::clone(&history))));
    announce(&config, &process, api_address, ws_address);
    drop(tokio::task::spawn_blocking(move || constants.prepare()));
    Ok(Server {
        config,
        backing,
        store,
        meaning,
        process,
        metrics,
        history,
        gate,
        mailboxes,
        threads,
        stopping,
        ended,
        post,
        handover,
        link,
    })
}

/// Compute threads are not pinned: they take whatever the shards leave of any core.
pub(super) fn start_compute(embedder: &Embedder, cores: usize) -> Result<(), ServerError> {
    let workers = embedder.workers(embedder.worker_count(cores));
    for (index, worker) in workers.into_iter().enumerate() {
        std::thread::Builder::new()
            .name(format!("compute-{index}"))
            .spawn(move || worker.run())
            .map_err(ServerError::system("cannot start a compute thread"))?;
    }
    Ok(())
}

fn raise_limits(config: &Config) {
    if let Err(error) = limits::refuse_huge_pages() {
        tracing::debug!(%error, "huge pages could not be refused");
    }
    let wanted = config.connections_max as u64
        + crate::config::limits::HTTP_CONNECTIONS_MAX as u64
        + OTHER_DESCRIPTORS;
    match limits::raise_open_files() {
        Ok(limit) if limit < wanted => tracing::warn!(
            limit,
            wanted,
            "fewer open files are allowed than connections are configured; raise ulimit -n"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}

/// True for io_uring.
fn choose_backend(io: Io) -> Result<bool, ServerError> {
    match io {
        Io::Epoll => Ok(false),
        Io::Uring => Uring::probe().map(|()| true).map_err(ServerError::Uring),
        Io::Auto => match Uring::probe() {
            Ok(()) => Ok(true),
            Err(error) => {
                tracing::warn!(%error, "io_uring is refused here; sockets are driven by epoll");
                Ok(false)
            }
        },
    }
}

/// The listeners of the server that runs, if they are to be taken over and one runs.
fn inherit(config: &Config) -> Option<Vec<(TcpListener, u8)>> {
    if !config.take_over {
        return None;
    }
    match takeover::take(&config.data_dir) {
        Ok(Some(listeners)) => {
            let count = listeners.len();
            tracing::info!(
                listeners = count,
                "took the listeners over from the server that ran"
            );
            Some(listeners)
        }
        Ok(None) => {
            tracing::info!("no server runs on the data directory; there is nothing to take over");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "the listeners could not be taken over");
            None
        }
    }
}

/// Offers the listeners to the server that follows. Without it a restart has a gap, and no more.
fn offer(config: &Config, listeners: io::Result<Vec<(TcpListener, u8)>>) -> Option<Handover> {
    match listeners.and_then(|listeners| Handover::offer(&config.data_dir, listeners)) {
        Ok(handover) => Some(handover),
        Err(error) => {
            tracing::warn!(%error, "no other server will be able to take the listeners over");
            None
        }
    }
}

fn announce(config: &Config, process: &Process, api: SocketAddr, ws: Option<SocketAddr>) {
    if config.insecure {
        tracing::warn!(
            "authentication is off and --insecure is set: whoever reaches the server may use it"
        );
    } else {
        tracing::info!("authentication is off; only this machine can connect");
    }
    if config.embedding.provider == EmbeddingProvider::Off {
        tracing::info!("no embedding model is wanted; memories are found by their words");
    }
    let ws = ws.map_or_else(|| "off".to_owned(), |address| address.to_string());
    tracing::info!(
        %api,
        ws,
        io = process.io,
        shards = process.shards,
        store = process.store,
        data_dir = %config.data_dir.display(),
        "listening"
    );
}
