//! The embedding model: which one it is, how far it is, and changing it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arguments::{Nothing, arguments};
use super::operation::{Operation, Pending, Scope};
use super::services::{Context, Services};
use crate::domain::{Model, ModelProgress, Violation};
use crate::embed::State;
use crate::rpc::{Condition, Fault};

pub(super) fn rows() -> Vec<Operation> {
    vec![
        Operation::later("embedding/status", status)
            .tool("embedding_status", "Show the embedding model")
            .describe(
                "Tell which model makes meanings comparable, whether it is ready, and how many \
                 memories have a vector of it, or of the model that a switch leads to.",
            )
            .scope(Scope::Admin),
        Operation::later("embedding/switch", switch)
            .tool("switch_embedding", "Change the embedding model")
            .describe(
                "Change to another embedding model while the server serves: vectors of it are \
                 computed in the background, and searches change over when all are there. Set the \
                 configuration to the same model for the next start.",
            )
            .scope(Scope::Admin)
            .cost(100)
            .writes(true)
            .keeps_result()
            .whole(switch_over),
    ]
}

/// Of embedding/status.
#[derive(Debug, Serialize, JsonSchema)]
struct Status {
    /// ready, loading, installing, failed or off.
    state: &'static str,
    /// More about the state.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The model that makes vectors now.
    model: Arc<str>,
    /// Length of its vectors.
    dimension: usize,
    /// Memories that can have a vector.
    memories: u64,
    /// The model that searches compare.
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<Progress>,
    /// The model that a switch leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Progress>,
    /// Texts embedded since the start.
    texts: u64,
    /// Queries embedded or found in the cache since the start.
    queries: u64,
    /// Queries whose vector was in the cache.
    cache_hits: u64,
    /// Requests that found no place in the queue.
    busy: u64,
    /// Requests that failed.
    failures: u64,
}

/// How far a model is.
#[derive(Debug, Serialize, JsonSchema)]
struct Progress {
    /// Its name.
    model: Arc<str>,
    /// Length of its vectors.
    dimension: usize,
    /// Memories that have a vector of it.
    embedded: u64,
}

impl From<ModelProgress> for Progress {
    fn from(progress: ModelProgress) -> Self {
        Self {
            model: progress.model.name,
            dimension: progress.model.dimension,
            embedded: progress.embedded,
        }
    }
}

fn status(context: &Context<'_>, _: Nothing) -> Result<Pending<Status>, Fault> {
    let services = Rc::clone(context.services);
    Ok(Box::pin(async move { status_of(&services).await }))
}

async fn status_of(services: &Services) -> Result<Status, Fault> {
    let stored = services.store.embedding_state().await?;
    let embedder = services.meaning.embedder();
    let stats = embedder.stats();
    let state = embedder.state();
    Ok(Status {
        state: name_of(&state),
        detail: (state != State::Ready).then(|| state.to_string()),
        model: Arc::clone(&embedder.model().name),
        dimension: embedder.model().dimension,
        memories: stored.memories,
        active: stored.active.map(Progress::from),
        target: stored.target.map(Progress::from),
        texts: stats.texts,
        queries: stats.queries,
        cache_hits: stats.cache_hits,
        busy: stats.busy,
        failures: stats.failures,
    })
}

/// The state in a word.
pub(super) fn name_of(state: &State) -> &'static str {
    match state {
        State::Off => "off",
        State::Installing(_) => "installing",
        State::Loading => "loading",
        State::Ready => "ready",
        State::Failed(_) => "failed",
    }
}

/// Who makes vectors.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Provider {
    /// The model inside the server.
    Minilm,
    /// A service.
    Http,
    /// Hashed words.
    Static,
}

impl Provider {
    fn as_str(self) -> &'static str {
        match self {
            Self::Minilm => "minilm",
            Self::Http => "http",
            Self::Static => "static",
        }
    }
}

arguments! {
    /// Of embedding/switch.
    SwitchEmbedding {
        /// Who makes vectors: minilm, http or static
        provider: Provider,
        /// Name of the model, for http
        model: Option<String>,
        /// Address of the service, for http
        url: Option<String>,
        /// What the service speaks: openai or ollama (default: by its address)
        api: Option<String>,
        /// Length of its vectors (default 384)
        dimension: Option<u32>,
    }
}

fn switch(context: &Context<'_>, arguments: SwitchEmbedding) -> Result<Pending<Status>, Fault> {
    let services = Rc::clone(context.services);
    let begun = begin(&services, arguments)?;
    Ok(Box::pin(async move {
        begun.await?;
        status_of(&services).await
    }))
}

/// Begins a switch to the model that this answers with.
fn begin(
    services: &Services,
    arguments: SwitchEmbedding,
) -> Result<impl Future<Output = Result<Model, Fault>> + use<>, Fault> {
    let mut settings = vec![("embedding_provider", arguments.provider.as_str().to_owned())];
    let optional = [
        ("embedding_model", arguments.model),
        ("embedding_url", arguments.url),
        ("embedding_api", arguments.api),
        (
            "vector_dimension",
            arguments.dimension.map(|n| n.to_string()),
        ),
    ];
    settings.extend(
        optional
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?))),
    );
    let to = services
        .embedding
        .switched(&settings)
        .map_err(|problem| Violation::new("provider", problem))?;
    let begun = services.meaning.switch(to);
    Ok(async move {
        match begun.await {
            Ok(Ok(model)) => Ok(model),
            Ok(Err(reason)) => Err(Fault::new(Condition::Conflict, reason)),
            Err(_) => Err(Fault::new(Condition::Unavailable, "the server is stopping")),
        }
    })
}

/// The same, and waits until searches compare vectors of the new model.
fn switch_over(
    context: &Context<'_>,
    arguments: SwitchEmbedding,
) -> Result<Pending<Status>, Fault> {
    /// Pause between two looks: a switch takes about a millisecond for each memory.
    const LOOK_EVERY: Duration = Duration::from_millis(500);
    let services = Rc::clone(context.services);
    let begun = begin(&services, arguments)?;
    Ok(Box::pin(async move {
        let model = begun.await?;
        while services.meaning.heads_for(&model) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        if *services.meaning.embedder().model() != model {
            let message = "a switch to another model has taken the place of this one";
            return Err(Fault::new(Condition::Conflict, message));
        }
        status_of(&services).await
    }))
}
