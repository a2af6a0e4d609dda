//! Answers that local tasks have finished, on their way to their connections.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::{Notify, Semaphore};

use crate::config::limits::{DEFLATES_MAX, INLINE_DEFLATE_BYTES_MAX};
use crate::dispatch::Answer;
use crate::framing::websocket::OpCode;
use crate::framing::websocket::deflate::{Deflater, Params};
use crate::net::Token;

/// A finished answer.
#[derive(Debug)]
pub(super) enum Finished {
    /// A message, to be framed; empty if no answer is due.
    Message(Vec<u8>),
    /// A whole frame.
    Frame(Vec<u8>),
    /// The call broke an invariant of ours and panicked.
    Failed,
}

/// A finished answer, its connection, and whether nothing else ran beside it.
pub(super) type Delivered = (Token, Finished, bool);

/// Where tasks leave answers, and what wakes the shard to take them.
#[derive(Debug)]
pub(super) struct Outbox {
    finished: RefCell<Vec<Delivered>>,
    wake: Arc<Notify>,
    deflates: Semaphore,
}

impl Outbox {
    pub(super) fn new(wake: Arc<Notify>) -> Self {
        Self {
            finished: RefCell::default(),
            wake,
            deflates: Semaphore::new(DEFLATES_MAX),
        }
    }

    /// Takes what has finished, into an empty vector.
    pub(super) fn take(&self, into: &mut Vec<Delivered>) {
        std::mem::swap(&mut *self.finished.borrow_mut(), into);
    }

    fn push(&self, token: Token, finished: Finished, alone: bool) {
        self.finished.borrow_mut().push((token, finished, alone));
        self.wake.notify_one();
    }

    /// Waits for an answer in a task of its own.
    pub(super) fn spawn(
        self: &Rc<Self>,
        token: Token,
        answer: Answer,
        deflate: Option<Params>,
        alone: bool,
    ) {
        let outbox = Rc::clone(self);
        tokio::task::spawn_local(async move {
            // A panic costs this connection, not the shard.
            let finished = match AssertUnwindSafe(answer).catch_unwind().await {
                Ok(message) => outbox.compressed(message, deflate).await,
                Err(_) => Finished::Failed,
            };
            outbox.push(token, finished, alone);
        });
    }

    /// Compresses a message that is too large for the shard's own thread.
    async fn compressed(&self, message: Vec<u8>, deflate: Option<Params>) -> Finished {
        let Some(params) = deflate.filter(|_| message.len() > INLINE_DEFLATE_BYTES_MAX) else {
            return Finished::Message(message);
        };
        let Ok(_permit) = self.deflates.acquire().await else {
            return Finished::Message(message);
        };
        let work = move || {
            let mut frame = Vec::new();
            Deflater::new(params).write(OpCode::Text, &message, &mut frame);
            frame
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_or(Finished::Failed, Finished::Frame)
    }
}
