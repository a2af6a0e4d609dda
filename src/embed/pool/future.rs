//! The future of a vector.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::EmbedError;
use crate::domain::Vector;

type Answer = Result<Vector, EmbedError>;

/// A vector that is there or on its way. Dropping it takes the request back unless it is being
/// worked on.
#[derive(Debug)]
#[must_use = "a request whose answer nobody awaits is not worked on"]
pub struct Embedding(Inner);

#[derive(Debug)]
enum Inner {
    /// Taken when polled.
    Ready(Option<Answer>),
    Waiting(oneshot::Receiver<Answer>),
}

impl Embedding {
    pub(super) fn ready(answer: Answer) -> Self {
        Self(Inner::Ready(Some(answer)))
    }

    pub(super) fn waiting(answer: oneshot::Receiver<Answer>) -> Self {
        Self(Inner::Waiting(answer))
    }

    /// The answer if it needs no waiting; otherwise the future again.
    pub fn now(self) -> Result<Answer, Self> {
        match self.0 {
            Inner::Ready(Some(answer)) => Ok(answer),
            other => Err(Self(other)),
        }
    }
}

impl Future for Embedding {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        match &mut self.0 {
            Inner::Ready(answer) => Poll::Ready(answer.take().unwrap_or_else(|| Err(lost()))),
            Inner::Waiting(answer) => Pin::new(answer)
                .poll(context)
                .map(|answer| answer.unwrap_or_else(|_| Err(lost()))),
        }
    }
}

/// A worker that drops a request panicked at it or was stopped.
fn lost() -> EmbedError {
    EmbedError::Failed("the worker failed at it or was stopped".into())
}
