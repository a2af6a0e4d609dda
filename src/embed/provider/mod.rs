//! Who makes vectors.

mod http;
mod minilm;
mod words;

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Embedding, EmbeddingProvider};
use crate::domain::Vector;

use super::install::{InstallError, Stage};
use super::pool::Stop;

/// Why there is no provider, or no vector of a text.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProviderError {
    /// The model could not be installed or loaded.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The text could not be turned into tokens.
    #[error(transparent)]
    Tokenizer(#[from] super::TokenizerError),
    /// The service did not give what was asked for.
    #[error("the embedding service {0}")]
    Service(String),
}

/// Makes vectors on the thread that asks; several threads may ask at once.
pub(super) trait Provider: Send + Sync {
    /// The vector of each text, in their order. An error is that of all of them.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vector>, ProviderError>;

    /// Texts that are worth waiting for before asking: more than one only if a call is dear
    /// whatever is in it.
    fn batch_max(&self) -> usize {
        1
    }
}

/// How far the preparation of a provider has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preparation {
    Installing(Stage),
    Loading,
}

/// What can be used without preparation and from any thread: it takes microseconds.
pub(super) fn immediate(settings: &Embedding) -> Option<Arc<dyn Provider>> {
    match settings.provider {
        EmbeddingProvider::Static => Some(Arc::new(words::Words::new(settings.dimension))),
        _ => None,
    }
}

/// Makes the configured provider ready. Blocks; `stop` cuts it short.
pub(super) fn prepare(
    settings: &Embedding,
    stop: &Stop,
    progress: &mut dyn FnMut(Preparation),
) -> Result<Arc<dyn Provider>, ProviderError> {
    match &settings.provider {
        EmbeddingProvider::MiniLm { precise } => Ok(Arc::new(minilm::Local::prepare(
            &settings.model_dir,
            *precise,
            stop,
            progress,
        )?)),
        EmbeddingProvider::Http { url, api, key } => Ok(Arc::new(http::Service::new(
            url,
            *api,
            key.clone(),
            &settings.model,
            settings.dimension,
            stop.clone(),
        ))),
        EmbeddingProvider::Static | EmbeddingProvider::Off => {
            Ok(Arc::new(words::Words::new(settings.dimension)))
        }
    }
}

/// Brings a vector to length 1; `None` if it has no direction.
pub(super) fn normalised(mut vector: Vec<f32>) -> Option<Vector> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if !(length.is_finite() && length > 0.0) {
        return None;
    }
    for x in &mut vector {
        *x /= length;
    }
    Some(vector.into())
}

/// The wait before try number `attempt` (from 0): doubling from `first` to `last`.
pub(super) fn backoff(attempt: u32, first: Duration, last: Duration) -> Duration {
    first.saturating_mul(1 << attempt.min(16)).min(last)
}
