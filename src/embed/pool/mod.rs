//! The compute pool: texts in, vectors out, queries before memories.
//!
//! Invariants: asking never blocks and never waits for a place in a queue; a request whose caller
//! has gone costs nothing; a panic costs one request; when the last [`Embedder`] is gone or
//! [`Embedder::close`] is called, the workers end.

mod cache;
mod future;
mod state;
mod stats;
mod stop;
mod worker;

use std::sync::{Arc, OnceLock};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::oneshot;

use crate::config::limits::{QUERIES_WAITING_MAX, TEXTS_WAITING_MAX};
use crate::config::{self, EmbeddingProvider};
use crate::domain::{Model, Vector};

use super::provider::{self, Provider};
use cache::Cache;
use state::StateCell;
use stats::Counters;

pub use future::Embedding;
pub use state::State;
pub use stats::{Busyness, EmbedStats};
pub(super) use stop::Stop;
pub use worker::Worker;

/// Why a text has no vector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// Too many wait already; try again later.
    #[error("too many texts wait for their vectors")]
    Busy,
    /// There is no model, or not yet.
    #[error("no embedding model: {0}")]
    Unavailable(Arc<str>),
    /// This text could not be embedded.
    #[error("the text could not be embedded: {0}")]
    Failed(Arc<str>),
}

/// Makes vectors of texts; clones share one pool.
#[derive(Clone)]
pub struct Embedder {
    queues: Arc<Queues>,
}

/// What the askers hold; when it is gone the workers' queues are at their end.
struct Queues {
    queries: Sender<Request>,
    texts: Sender<Request>,
    waiting_queries: Receiver<Request>,
    waiting_texts: Receiver<Request>,
    shared: Arc<Shared>,
}

/// What askers and workers share.
struct Shared {
    settings: config::Embedding,
    model: Model,
    /// Answers on the asking thread, without the pool.
    immediate: Option<Arc<dyn Provider>>,
    provider: OnceLock<Arc<dyn Provider>>,
    state: StateCell,
    cache: Cache,
    counters: Counters,
    stop: Stop,
}

/// One text and who waits for its vector.
struct Request {
    text: Arc<str>,
    /// Keep the vector for the next one who asks.
    query: bool,
    reply: oneshot::Sender<Result<Vector, EmbedError>>,
}

impl Embedder {
    /// A pool that is to work as configured; nothing runs before its workers do.
    pub fn new(settings: &config::Embedding) -> Self {
        let (queries, waiting_queries) = bounded(QUERIES_WAITING_MAX);
        let (texts, waiting_texts) = bounded(TEXTS_WAITING_MAX);
        let immediate = provider::immediate(settings);
        let state = match settings.provider {
            EmbeddingProvider::Off => State::Off,
            _ if immediate.is_some() => State::Ready,
            _ => State::Loading,
        };
        let shared = Shared {
            model: Model {
                name: settings.model.as_str().into(),
                dimension: settings.dimension,
            },
            immediate,
            provider: OnceLock::new(),
            state: StateCell::new(state),
            cache: Cache::new(settings.cache_size),
            counters: Counters::default(),
            stop: Stop::default(),
            settings: settings.clone(),
        };
        Self {
            queues: Arc::new(Queues {
                queries,
                texts,
                waiting_queries,
                waiting_texts,
                shared: Arc::new(shared),
            }),
        }
    }

    /// The model whose vectors these are.
    pub fn model(&self) -> &Model {
        &self.queues.shared.model
    }

    /// Whether vectors can be had, and if not, why. Never blocks.
    pub fn state(&self) -> State {
        self.queues.shared.state.get()
    }

    /// What has been asked and answered so far.
    pub fn stats(&self) -> EmbedStats {
        self.queues.shared.counters.snapshot()
    }

    /// How much waits at the moment.
    pub fn busyness(&self) -> Busyness {
        Busyness {
            queries: self.queues.queries.len(),
            texts: self.queues.texts.len(),
        }
    }

    /// Threads that the settings ask for: none if there is nothing for them to do.
    pub fn worker_count(&self, cores: usize) -> usize {
        let shared = &self.queues.shared;
        match self.state() {
            State::Off => 0,
            _ if shared.immediate.is_some() => 0,
            _ => shared.settings.threads.unwrap_or(cores).max(1),
        }
    }

    /// So many workers; the server runs each on a thread of its own. The first one also installs
    /// and loads the model.
    pub fn workers(&self, count: usize) -> Vec<Worker> {
        (0..count)
            .map(|index| {
                Worker::new(
                    index == 0,
                    self.queues.waiting_queries.clone(),
                    self.queues.waiting_texts.clone(),
                    Arc::clone(&self.queues.shared),
                )
            })
            .collect()
    }

    /// Ends the workers, an installation that is under way as well. What waits is not answered.
    pub fn close(&self) {
        self.queues.shared.stop.set();
        self.queues.shared.state.set(State::Off);
        // A worker that waits looks up at any request; one that works finds the stop afterwards.
        for _ in 0..self.queues.shared.settings.threads.unwrap_or(64) {
            let (reply, _) = oneshot::channel();
            let wake = Request {
                text: "".into(),
                query: false,
                reply,
            };
            if self.queues.texts.try_send(wake).is_err() {
                break;
            }
        }
    }

    /// The vector of what someone searches for: at once if it was asked for lately, otherwise
    /// before any memory's.
    pub fn embed_query(&self, text: &str) -> Embedding {
        let shared = &self.queues.shared;
        if let Err(error) = shared.available() {
            return Embedding::ready(Err(error));
        }
        shared.counters.queries.add(1);
        if let Some(vector) = shared.cache.get(text) {
            shared.counters.cache_hits.add(1);
            return Embedding::ready(Ok(vector));
        }
        if let Some(provider) = &shared.immediate {
            let answer = shared.ask_one(provider.as_ref(), text);
            if let Ok(vector) = &answer {
                shared.cache.put(text, vector);
            }
            return Embedding::ready(answer);
        }
        self.submit(&self.queues.queries, text.into(), true)
    }

    /// The vector of what someone stores.
    pub fn embed_text(&self, text: Arc<str>) -> Embedding {
        let shared = &self.queues.shared;
        if let Err(error) = shared.available() {
            return Embedding::ready(Err(error));
        }
        shared.counters.texts.add(1);
        if let Some(provider) = &shared.immediate {
            return Embedding::ready(shared.ask_one(provider.as_ref(), &text));
        }
        self.submit(&self.queues.texts, text, false)
    }

    fn submit(&self, queue: &Sender<Request>, text: Arc<str>, query: bool) -> Embedding {
        let (reply, waiting) = oneshot::channel();
        let request = Request { text, query, reply };
        match queue.try_send(request) {
            Ok(()) => Embedding::waiting(waiting),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.queues.shared.counters.busy.add(1);
                Embedding::ready(Err(EmbedError::Busy))
            }
        }
    }
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedder")
            .field("model", self.model())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn available(&self) -> Result<(), EmbedError> {
        match self.state.get() {
            State::Ready => Ok(()),
            other => Err(EmbedError::Unavailable(other.to_string().into())),
        }
    }

    /// Asks for one vector on this thread, and counts it.
    fn ask_one(&self, provider: &dyn Provider, text: &str) -> Result<Vector, EmbedError> {
        let mut answers = self.ask(provider, &[text])?;
        answers
            .pop()
            .ok_or_else(|| EmbedError::Failed("no vector came back".into()))
    }

    fn ask(&self, provider: &dyn Provider, texts: &[&str]) -> Result<Vec<Vector>, EmbedError> {
        let started = std::time::Instant::now();
        let answer = provider.embed(texts);
        self.counters.time(started.elapsed());
        answer.map_err(|error| {
            self.counters.failures.add(texts.len() as u64);
            EmbedError::Failed(error.to_string().into())
        })
    }
}

#[cfg(test)]
mod tests;
