//! The process: what it opens, which threads it starts, and how it stops.
//!
//! Only this module starts threads of the server; each shard's thread is described in `shard`.

mod backing;
mod boot;
mod keeper;
mod lifecycle;
mod nodes;
mod sampler;
mod shard_thread;
mod sockets;
mod takeover;

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;

use crate::config::{Config, Problems};
use crate::delivery::courier::Post;
use crate::domain::Model;
use crate::operations::Meaning;
use crate::shard::{Gate, Mail, Mailbox};
use crate::store::{Store, postgres, sqlite};
use crate::telemetry::log::Log;
use crate::telemetry::performance::History;
use crate::telemetry::{Metrics, Process};
use backing::Backing;
use takeover::Handover;

/// Why the server did not start, or ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address could not be bound.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The embedded store could not be opened.
    #[error(transparent)]
    Store(#[from] sqlite::OpenError),
    /// The database could not be used.
    #[error(transparent)]
    Database(#[from] postgres::OpenError),
    /// The address of Redis is none.
    #[error("redis_url: {0}")]
    Bus(#[from] crate::store::redis::BusError),
    /// io_uring was demanded and is not to be had.
    #[error("io_uring was asked for and the system refuses it: {0}; --io auto falls back to epoll")]
    Uring(std::io::Error),
    /// The system refused something else.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        error: std::io::Error,
    },
    /// The store does not answer.
    #[error("cannot read the state of the store: {0}")]
    State(crate::store::StoreError),
    /// The store's vectors are not those of the configured model.
    #[error(
        "the store's vectors are of {} with {} dimensions, and the configuration asks for {} with {}; \
         start with the model of the store and change with `tmws call embedding/switch`, \
         or set embedding_model = \"none\" to search by words",
        stored.name, stored.dimension, configured.name, configured.dimension
    )]
    Dimension {
        /// The model of the vectors in the store.
        stored: Model,
        /// The model that the configuration asks for.
        configured: Model,
    },
    /// A shard's thread ended.
    #[error("shard {0} failed; its log tells why")]
    Shard(usize),
}

impl ServerError {
    fn system(what: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |error| Self::System { what, error }
    }
}

/// Reads the configuration again, for a reload.
pub type Reload = Box<dyn Fn() -> Result<Config, Problems>>;

/// The parts of a running server that its main thread holds.
struct Server {
    config: Arc<Config>,
    backing: Backing,
    /// The store as the main thread sees it.
    store: Rc<dyn Store>,
    meaning: Arc<Meaning>,
    process: Arc<Process>,
    metrics: Arc<Metrics>,
    history: Arc<History>,
    gate: Arc<Gate>,
    mailboxes: Vec<Arc<Mailbox>>,
    threads: Vec<std::thread::JoinHandle<()>>,
    stopping: watch::Sender<bool>,
    /// What couriers share, which knows whether messages in memory are lost.
    post: Arc<Post>,
    /// Where another process can take the listeners over.
    handover: Option<Handover>,
    /// A shard says here that it has ended, and whether it was asked to.
    ended: tokio::sync::mpsc::UnboundedReceiver<(usize, bool)>,
    /// The link to other nodes, if there may be any.
    link: Option<nodes::Joined>,
}

/// Serves until a signal stops the process. Blocks.
pub fn run(config: Config, reload: &Reload, log: &Log) -> Result<(), ServerError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServerError::system("cannot start the main runtime"))?;
    // Before anyone can connect: from then on a signal must drain.
    let signals = {
        let _inside = runtime.enter();
        lifecycle::Signals::new()?
    };
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let server = boot::start(config).await?;
        lifecycle::run(server, signals, reload, log).await
    })
}

impl Server {
    fn post(&self, mail: impl Fn() -> Mail) {
        for (shard, mailbox) in self.mailboxes.iter().enumerate() {
            if mailbox.post(mail()).is_err() {
                tracing::error!(shard, "the mailbox is full");
            }
        }
    }
}
