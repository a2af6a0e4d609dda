//! What clients say of deliveries, on its way to the courier of their session.

use std::rc::Rc;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::directory::Home;
use super::letters::Letter;
use super::{Courier, Place};
use crate::delivery::queue::{Acked, Answered, BeyondSent};
use crate::domain::Timestamp;
use crate::store::StoreError;

/// What a client says.
#[derive(Debug)]
pub enum Said {
    /// It is done with deliveries.
    Ack(Acked),
    /// It wants a delivery again.
    Nack {
        /// Its place.
        seq: u64,
        /// The delivery that is meant.
        delivery: Option<u32>,
        /// After so long.
        delay_ms: u64,
    },
    /// It needs more time.
    Extend {
        /// Its place.
        seq: u64,
        /// The delivery that is meant.
        delivery: Option<u32>,
    },
    /// It never wants the message again.
    Term {
        /// Its place.
        seq: u64,
        /// The delivery that is meant.
        delivery: Option<u32>,
        /// Why.
        reason: Option<Box<str>>,
    },
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Deliveries that it was for and that were open.
    pub accepted: u64,
    /// Places that were delivered again since.
    pub stale: Vec<u64>,
    /// Places that are not open.
    pub unknown: Vec<u64>,
}

/// Why it could not be taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SayError {
    /// The connection takes no deliveries, or its session goes on elsewhere.
    #[error("this connection has no session that takes deliveries")]
    NoSession,
    /// It settles what was not sent.
    #[error(transparent)]
    Beyond(#[from] BeyondSent),
    /// The store could not settle it: it is open still.
    #[error(transparent)]
    Store(StoreError),
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl Courier {
    /// Takes what a client says, wherever its session is.
    pub(super) async fn say(
        self: Rc<Self>,
        session: Uuid,
        place: Place,
        said: Said,
    ) -> Result<Told, SayError> {
        let home = self.post.directory.lock().home(session);
        let Some(Home::Shard(home)) = home else {
            return Err(SayError::NoSession);
        };
        if home == self.shard {
            return self.say_here(session, place, said).await;
        }
        let (reply, heard) = oneshot::channel();
        let letter = Letter::Said {
            session,
            place,
            said,
            reply,
        };
        self.post.leave(home, letter);
        heard.await.map_err(|_| SayError::Stopping)?
    }

    /// The same for a session of this shard. What has to be settled is answered when it is durable.
    pub(super) async fn say_here(
        self: &Rc<Self>,
        session: Uuid,
        place: Place,
        said: Said,
    ) -> Result<Told, SayError> {
        let now = Timestamp::now();
        let (answered, epoch) = {
            let mut hub = self.hub.borrow_mut();
            let answered = match said {
                Said::Ack(acked) => hub.ack(session, place, acked).transpose()?,
                Said::Nack {
                    seq,
                    delivery,
                    delay_ms,
                } => hub.nack(session, place, (seq, delivery), delay_ms, now),
                Said::Extend { seq, delivery } => hub.extend(session, place, (seq, delivery), now),
                Said::Term {
                    seq,
                    delivery,
                    reason,
                } => hub.term(session, place, (seq, delivery), reason, now),
            };
            let answered = answered.ok_or(SayError::NoSession)?;
            (answered, hub.get(session).map_or(0, |held| held.epoch()))
        };
        self.turn();
        let Answered {
            accepted,
            keys,
            stale,
            unknown,
        } = answered;
        if !keys.is_empty() {
            let settled = self.settle(keys.clone()).await;
            let done = settled.is_ok();
            let now = Timestamp::now();
            self.hub
                .borrow_mut()
                .settled(session, epoch, &keys, done, now);
            self.turn();
            settled?;
        }
        Ok(Told {
            accepted,
            stale,
            unknown,
        })
    }
}
