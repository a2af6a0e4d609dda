//! Vectors from a service that speaks like OpenAI's or Ollama's.
//!
//! Invariants: an answer is read only up to what the vectors asked for can take; a vector of
//! another dimension is an error, not a vector.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use super::{Provider, ProviderError, backoff, normalised};
use crate::config::{EmbeddingApi, Secret};
use crate::domain::Vector;
use crate::embed::pool::Stop;

/// Texts of one request.
const BATCH: usize = 32;
/// Time for one request, its answer included.
const PATIENCE: Duration = Duration::from_secs(30);
/// Tries of one request.
const TRIES: u32 = 4;
/// Waits between them, unless the service says how long.
const WAIT_FIRST: Duration = Duration::from_millis(250);
const WAIT_LAST: Duration = Duration::from_secs(4);
/// The longest wait that a service may ask for: those who wait for a vector have gone by then.
const WAIT_ASKED_MAX: Duration = Duration::from_secs(20);
/// Bytes of an answer beside its numbers, and of each number in its longest usual form.
const ANSWER_BYTES: u64 = 64 * 1024;
const NUMBER_BYTES: u64 = 32;
/// Characters of a service's own words that go into an error.
const WORDS_MAX: usize = 200;

/// The provider `http`.
pub(super) struct Service {
    agent: Agent,
    url: String,
    api: EmbeddingApi,
    key: Option<Secret>,
    model: String,
    dimension: usize,
    stop: Stop,
}

/// Of both interfaces.
#[derive(Serialize)]
struct Question<'a> {
    model: &'a str,
    input: &'a [&'a str],
}

#[derive(Deserialize)]
struct OpenAiAnswer {
    data: Vec<OpenAiVector>,
}

#[derive(Deserialize)]
struct OpenAiVector {
    /// Place of its text; services that leave it out keep the order.
    index: Option<usize>,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct OllamaAnswer {
    embeddings: Vec<Vec<f32>>,
}

/// A try that failed.
struct Failure {
    what: String,
    /// Whether another try may succeed, and how long the service wants us to wait.
    again: Option<Option<Duration>>,
}

impl Failure {
    fn last(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            again: None,
        }
    }
}

impl Service {
    pub(super) fn new(
        url: &str,
        api: EmbeddingApi,
        key: Option<Secret>,
        model: &str,
        dimension: usize,
        stop: Stop,
    ) -> Self {
        Self::with_patience(PATIENCE, url, api, key, model, dimension, stop)
    }

    fn with_patience(
        patience: Duration,
        url: &str,
        api: EmbeddingApi,
        key: Option<Secret>,
        model: &str,
        dimension: usize,
        stop: Stop,
    ) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(patience))
            .http_status_as_error(false)
            .user_agent(concat!("tmws/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            agent: config.new_agent(),
            url: url.to_owned(),
            api,
            key,
            model: model.to_owned(),
            dimension,
            stop,
        }
    }

    fn ask(&self, texts: &[&str]) -> Result<Vec<Vector>, Failure> {
        let question = Question {
            model: &self.model,
            input: texts,
        };
        let body = sonic_rs::to_vec(&question).map_err(|error| Failure::last(error.to_string()))?;
        let mut request = self
            .agent
            .post(&self.url)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", key.reveal()));
        }
        let mut answer = request.send(&body[..]).map_err(|error| Failure {
            again: match error {
                ureq::Error::Timeout(_) => None,
                _ => Some(None),
            },
            what: format!("cannot be reached: {error}"),
        })?;
        let numbers = (texts.len() * self.dimension) as u64;
        let read = answer
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES + NUMBER_BYTES * numbers)
            .read_to_vec();
        if !answer.status().is_success() {
            return Err(refusal(&answer, &read.unwrap_or_default()));
        }
        let read = read.map_err(|error| Failure::last(format!("broke off its answer: {error}")))?;
        self.vectors(&read, texts.len())
    }

    /// The vectors of an answer, in the order of the texts.
    fn vectors(&self, answer: &[u8], count: usize) -> Result<Vec<Vector>, Failure> {
        let unreadable = |error| Failure::last(format!("gave an answer of another form: {error}"));
        let vectors = match self.api {
            EmbeddingApi::Ollama => {
                let answer: OllamaAnswer = sonic_rs::from_slice(answer).map_err(unreadable)?;
                answer.embeddings
            }
            EmbeddingApi::OpenAi => {
                let answer: OpenAiAnswer = sonic_rs::from_slice(answer).map_err(unreadable)?;
                let mut data = answer.data;
                data.sort_by_key(|vector| vector.index);
                data.into_iter().map(|vector| vector.embedding).collect()
            }
        };
        if vectors.len() != count {
            return Err(Failure::last(format!(
                "gave {} vectors for {count} texts",
                vectors.len()
            )));
        }
        vectors
            .into_iter()
            .map(|vector| self.checked(vector))
            .collect()
    }

    fn checked(&self, vector: Vec<f32>) -> Result<Vector, Failure> {
        if vector.len() != self.dimension {
            return Err(Failure::last(format!(
                "makes vectors of {} numbers, and vector_dimension is {}; \
                 set it to that, or name another model",
                vector.len(),
                self.dimension
            )));
        }
        normalised(vector).ok_or_else(|| Failure::last("gave a vector without a direction"))
    }
}

impl Provider for Service {
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vector>, ProviderError> {
        let mut attempt = 0;
        loop {
            let failure = match self.ask(texts) {
                Ok(vectors) => return Ok(vectors),
                Err(failure) => failure,
            };
            attempt += 1;
            let Some(asked) = failure.again.filter(|_| attempt < TRIES) else {
                return Err(ProviderError::Service(failure.what));
            };
            let wait = asked.unwrap_or_else(|| backoff(attempt - 1, WAIT_FIRST, WAIT_LAST));
            if wait > WAIT_ASKED_MAX || self.stop.wait(wait) {
                return Err(ProviderError::Service(failure.what));
            }
        }
    }

    fn batch_max(&self) -> usize {
        BATCH
    }
}

fn refusal(answer: &Response<Body>, words: &[u8]) -> Failure {
    let status = answer.status();
    let words: String = String::from_utf8_lossy(words)
        .chars()
        .take(WORDS_MAX)
        .collect();
    let seconds = answer
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Failure {
        what: format!("answered {status}: {}", words.trim()),
        again: (status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error())
            .then(|| seconds.map(Duration::from_secs)),
    }
}

#[cfg(test)]
mod tests;
