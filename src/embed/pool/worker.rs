//! What a compute thread runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvError, select};

use super::state::State;
use super::{Request, Shared};
use crate::embed::provider::{self, Preparation, Provider, ProviderError, backoff};

/// The wait before the first retry of a failed installation, and the longest one: a network that
/// comes back mends it without a restart.
const RETRY_FIRST: Duration = Duration::from_secs(60);
const RETRY_LAST: Duration = Duration::from_secs(3600);
/// A log line on the progress of an installation comes no more often.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// A worker of the pool: run it on a thread of its own.
pub struct Worker {
    prepares: bool,
    queries: Receiver<Request>,
    texts: Receiver<Request>,
    shared: Arc<Shared>,
}

impl Worker {
    pub(super) fn new(
        prepares: bool,
        queries: Receiver<Request>,
        texts: Receiver<Request>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            prepares,
            queries,
            texts,
            shared,
        }
    }

    /// Works until the embedder is closed or gone. Blocks.
    pub fn run(self) {
        if self.prepares {
            self.prepare();
        }
        while let Ok(first) = self.next() {
            if self.shared.stop.is_set() {
                break;
            }
            if let Some(provider) = self.shared.provider.get() {
                self.serve(first, provider.as_ref());
            }
        }
    }

    /// Queries first; then whichever comes first.
    fn next(&self) -> Result<Request, RecvError> {
        if let Ok(request) = self.queries.try_recv() {
            return Ok(request);
        }
        select! {
            recv(self.queries) -> request => request,
            recv(self.texts) -> request => request,
        }
    }

    fn serve(&self, first: Request, provider: &dyn Provider) {
        let mut requests = vec![first];
        while requests.len() < provider.batch_max()
            && let Ok(more) = self.queries.try_recv().or_else(|_| self.texts.try_recv())
        {
            requests.push(more);
        }
        requests.retain(|request| !request.reply.is_closed());
        if requests.is_empty() {
            return;
        }
        // A panic drops the requests, which tells those who wait for them.
        let work = AssertUnwindSafe(|| self.answer(requests, provider));
        if catch_unwind(work).is_err() {
            self.shared.counters.failures.add(1);
            tracing::error!("a text could not be embedded: the provider panicked");
        }
    }

    fn answer(&self, requests: Vec<Request>, provider: &dyn Provider) {
        let texts: Vec<&str> = requests.iter().map(|request| &*request.text).collect();
        match self.shared.ask(provider, &texts) {
            Ok(vectors) => {
                for (request, vector) in requests.into_iter().zip(vectors) {
                    if request.query {
                        self.shared.cache.put(&request.text, &vector);
                    }
                    // Whoever has gone meanwhile needs no answer.
                    let _ = request.reply.send(Ok(vector));
                }
            }
            Err(error) => {
                for request in requests {
                    let _ = request.reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Makes the provider ready, however often it takes.
    fn prepare(&self) {
        let shared = &self.shared;
        for attempt in 0.. {
            if shared.stop.is_set() {
                return;
            }
            let reason = match catch_unwind(AssertUnwindSafe(|| self.prepare_once())) {
                Ok(Ok(provider)) => {
                    if shared.provider.set(provider).is_ok() && !shared.stop.is_set() {
                        shared.state.set(State::Ready);
                        tracing::info!(model = &*shared.model.name, "the embedding model is ready");
                    }
                    return;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "loading it panicked".to_owned(),
            };
            if shared.stop.is_set() {
                return;
            }
            let wait = backoff(attempt, RETRY_FIRST, RETRY_LAST);
            tracing::error!(
                reason,
                retry_seconds = wait.as_secs(),
                "there is no embedding model; memories are found by their words"
            );
            shared.state.set(State::Failed(reason.into()));
            if shared.stop.wait(wait) {
                return;
            }
        }
    }

    fn prepare_once(&self) -> Result<Arc<dyn Provider>, ProviderError> {
        let shared = &self.shared;
        let mut said: Option<Instant> = None;
        provider::prepare(&shared.settings, &shared.stop, &mut |preparation| {
            let state = match preparation {
                Preparation::Loading => State::Loading,
                Preparation::Installing(stage) => {
                    if said.is_none_or(|said| said.elapsed() >= PROGRESS_INTERVAL) {
                        said = Some(Instant::now());
                        tracing::info!(%stage, "installing the embedding model");
                    }
                    State::Installing(stage)
                }
            };
            if !shared.stop.is_set() {
                shared.state.set(state);
            }
        })
    }
}
