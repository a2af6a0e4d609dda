//! What the main thread does for the store: vectors for memories that have none, changes of the
//! embedding model, and the regular upkeep.
//!
//! Invariants: nothing of it holds a request up; each piece of work is small, so that a stop waits
//! for none; whatever fails is tried again later.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::{ServerError, boot};
use crate::config;
use crate::config::limits::{NODE_SIGN_SECONDS, NODE_SILENT_SECONDS};
use crate::delivery::courier::Post;
use crate::domain::memory::RELEVANCE_HALF_LIFE;
use crate::domain::{NewVector, Retention};
use crate::embed::{Embedder, State};
use crate::operations::{Meaning, Switch, Upkeep};
use crate::store::{Store, StoreError};

/// Memories of one step of the backfill: at a millisecond or two each, a step is short.
const STEP: u32 = 32;
/// Wait after a step that got nowhere: a model that is not ready, a store that is down.
const RETRY: Duration = Duration::from_secs(1);
/// Look for memories without a vector this often although nobody told of any.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Runs of the upkeep in a row; each removes a bounded number.
const UPKEEP_RUNS_MAX: usize = 100;

/// How far a step of the backfill came.
#[derive(PartialEq)]
enum Step {
    /// Every memory has its vector.
    Complete,
    /// Some more have.
    Progress,
    /// Nothing could be done.
    Stuck,
}

/// Looks after the store.
pub(super) struct Keeper {
    pub(super) store: Rc<dyn Store>,
    pub(super) meaning: Arc<Meaning>,
    pub(super) upkeep: Arc<Upkeep>,
    pub(super) post: Arc<Post>,
    pub(super) switches: mpsc::UnboundedReceiver<Switch>,
    pub(super) settings: config::Upkeep,
    /// Time for which a session may be taken up again.
    pub(super) session_window: Duration,
    pub(super) cores: usize,
    /// The embedder that a switch leads to.
    pub(super) target: Option<Embedder>,
}

/// Says again and again that this node lives, so that others leave its sessions alone, and has sessions
/// see to what nodes have left that are gone; a store that cannot answer is asked at the next turn.
pub(super) async fn keep_node(store: Rc<dyn Store>, post: Arc<Post>) {
    let mut gone = HashSet::new();
    loop {
        sleep(Duration::from_secs(NODE_SIGN_SECONDS)).await;
        if let Err(error) = store.keep_node().await {
            tracing::debug!(%error, "the store did not note that this node lives");
        }
        match store.left_agents(gone.iter().copied().collect()).await {
            Ok(left) => {
                let agents: Vec<_> = left.iter().map(|(_, agent)| agent.clone()).collect();
                post.ring(&agents);
                gone.extend(left.into_iter().map(|(node, _)| node));
            }
            Err(error) => tracing::debug!(%error, "nobody knows what other nodes have left"),
        }
    }
}

impl Keeper {
    /// Works until it is dropped.
    pub(super) async fn run(mut self) {
        let mut upkeep_at = Instant::now() + self.settings.every;
        loop {
            let wait = match self.fill().await {
                Step::Progress => Duration::ZERO,
                Step::Stuck => RETRY,
                Step::Complete => LOOK_EVERY,
            };
            if Instant::now() >= upkeep_at {
                self.keep_up().await;
                upkeep_at = Instant::now() + self.settings.every;
            }
            let wait = wait.min(upkeep_at.saturating_duration_since(Instant::now()));
            tokio::select! {
                switch = self.switches.recv() => match switch {
                    Some(switch) => self.begin(switch),
                    None => return,
                },
                () = self.meaning.missed() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// One step towards vectors for all: of the model in use first, then of the next one.
    async fn fill(&mut self) -> Step {
        let embedder = self.meaning.embedder();
        let own = match self.fill_for(&embedder).await {
            Ok(Step::Complete) => self.activate(&embedder).await,
            other => other,
        };
        let own = own.unwrap_or(Step::Stuck);
        if own != Step::Complete {
            return own;
        }
        let Some(target) = self.target.clone() else {
            return Step::Complete;
        };
        match self.fill_for(&target).await {
            Ok(Step::Complete) => {}
            Ok(step) => return step,
            Err(_) => return Step::Stuck,
        }
        match self.activate(&target).await {
            Ok(Step::Complete) => {
                self.target = None;
                let old = self.meaning.replace(target);
                let (from, to) = (
                    &old.model().name,
                    &self.meaning.embedder().model().name.clone(),
                );
                tracing::info!(%from, %to, "searches compare vectors of another model now");
                old.close();
                Step::Complete
            }
            Ok(step) => step,
            Err(_) => Step::Stuck,
        }
    }

    async fn fill_for(&self, embedder: &Embedder) -> Result<Step, StoreError> {
        match embedder.state() {
            State::Ready => {}
            State::Off => return Ok(Step::Complete),
            _ => return Ok(Step::Stuck),
        }
        let missing = self.store.unembedded(embedder.model(), STEP).await?;
        if missing.is_empty() {
            return Ok(Step::Complete);
        }
        let texts = missing
            .iter()
            .map(|memory| embedder.embed_text(memory.content.as_str().into()));
        let vectors = join_all(texts).await;
        let new: Vec<_> = missing
            .iter()
            .zip(vectors)
            .filter_map(|(memory, vector)| {
                Some(NewVector {
                    id: memory.id,
                    text_version: memory.text_version,
                    vector: vector.ok()?,
                })
            })
            .collect();
        if new.is_empty() {
            return Ok(Step::Stuck);
        }
        self.store.attach_vectors(embedder.model(), new).await?;
        Ok(Step::Progress)
    }

    /// Has searches compare vectors of the embedder's model, if none is missing.
    async fn activate(&self, embedder: &Embedder) -> Result<Step, StoreError> {
        if embedder.state() != State::Ready {
            return Ok(Step::Complete);
        }
        let active = self.store.activate_model(embedder.model()).await?;
        Ok(if active {
            Step::Complete
        } else {
            Step::Progress
        })
    }

    fn begin(&mut self, switch: Switch) {
        let to = Embedder::new(&switch.to);
        if self.meaning.embedder().model() == to.model() {
            // Nobody hears it only if the caller has gone.
            let _ = switch
                .reply
                .send(Err("this model is in use already".into()));
            return;
        }
        let model = to.model().clone();
        let begun = boot::start_compute(&to, self.cores).map_err(|error| error.to_string());
        if begun.is_ok() {
            self.meaning.head_for(&model);
            tracing::info!(model = %to.model().name, "changing to another embedding model");
            if let Some(abandoned) = self.target.replace(to) {
                abandoned.close();
            }
        }
        let _ = switch.reply.send(begun.map(|()| model));
    }

    async fn keep_up(&self) {
        let retention = Retention {
            half_life: RELEVANCE_HALF_LIFE,
            prune_below: f64::from(self.settings.prune_below_percent) / 100.0,
            prune_age: self.settings.prune_age,
            session_window: self
                .session_window
                .max(Duration::from_secs(NODE_SILENT_SECONDS)),
        };
        let mut sum = Some(crate::domain::UpkeepReport::default());
        for _ in 0..UPKEEP_RUNS_MAX {
            match self.store.upkeep(retention).await {
                Ok(report) if report == Default::default() => break,
                Ok(report) => {
                    if let Some(sum) = &mut sum {
                        sum.expired += report.expired;
                        sum.pruned += report.pruned;
                        sum.mcp_tasks += report.mcp_tasks;
                        sum.deliveries += report.deliveries;
                        sum.queues += report.queues;
                        sum.dead_letters += report.dead_letters;
                        sum.idempotency_keys += report.idempotency_keys;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the store's upkeep did not end");
                    sum = None;
                    break;
                }
            }
        }
        if sum.is_some_and(|report| report.queues > 0) {
            // Nobody else knows what has come into the inboxes.
            self.post.catch_up();
        }
        self.upkeep.add(sum);
        if let Some(report) = sum.filter(|report| *report != Default::default()) {
            tracing::info!(
                expired = report.expired,
                pruned = report.pruned,
                mcp_tasks = report.mcp_tasks,
                deliveries = report.deliveries,
                queues = report.queues,
                dead_letters = report.dead_letters,
                idempotency_keys = report.idempotency_keys,
                "the upkeep has removed what was over"
            );
        }
    }
}

/// Refuses to serve when the store's vectors cannot be compared with those of the configured model.
pub(super) async fn check_model(store: &dyn Store, embedder: &Embedder) -> Result<(), ServerError> {
    if embedder.state() == State::Off {
        return Ok(());
    }
    let state = store.embedding_state().await.map_err(ServerError::State)?;
    match state.active {
        Some(active)
            if active.embedded > 0 && active.model.dimension != embedder.model().dimension =>
        {
            Err(ServerError::Dimension {
                stored: active.model,
                configured: embedder.model().clone(),
            })
        }
        Some(active) if active.embedded > 0 && active.model != *embedder.model() => {
            let (from, to) = (&active.model.name, &embedder.model().name);
            tracing::warn!(
                %from, %to,
                "the store has vectors of another model: searching by words until it has them of this one"
            );
            Ok(())
        }
        _ => Ok(()),
    }
}
