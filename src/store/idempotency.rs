//! What stores promise about calls under an idempotency key: that each happens once.
//!
//! Invariants: the record of a key commits together with what it tells of, or neither does; who comes
//! second, also at the same moment and by another node, waits for the first and gets its answer; what
//! failed leaves no record, so that its key can be used again. A key that was used for another call is
//! [`StoreError::Mismatch`]. Records last [`crate::config::limits::IDEMPOTENCY_SECONDS`].

use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Answer, Store, StoreError};
use crate::config::limits::IDEMPOTENCY_SECONDS;
use crate::domain::{Keyed, NewMessage, Timestamp};

/// A message that was posted under a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// The message's id.
    pub id: Uuid,
    /// Agents that it is for.
    pub recipients: u64,
    /// The keys of its deliveries, if it was posted now; none if it was before.
    #[serde(skip)]
    pub keys: Option<Vec<i64>>,
}

/// The part of a store that does things once.
pub trait Idempotent {
    /// A handle for one call under `key`, which makes at most one write. These of its writes happen
    /// once, and answer what they answered: `create_memories` (all of its memories or, on the first
    /// error, none), `update_memory`, `delete_memory`, `share_memory`, `import`, `register_agent`,
    /// `settle_messages`, `retry_dead_letters` and `purge_dead_letters`. The others know of no key.
    fn keyed(&self, key: &Keyed) -> Rc<dyn Store>;

    /// Stores a message with its deliveries as [`super::Messages::post_messages`] does, once, and says
    /// that it is for so many `recipients`. A message without deliveries leaves its record alone.
    fn post_once(&self, key: &Keyed, new: NewMessage, recipients: u64) -> Answer<Posted>;

    /// Does [`Self::post_once`] keep its place among the posts that are asked for before and after it?
    fn orders_keyed_posts(&self) -> bool;

    /// The result that is kept under `key`, as JSON.
    fn kept_result(&self, key: &Keyed) -> Answer<Option<String>>;

    /// Keeps a result under `key` unless one is kept; answers the one that is.
    fn keep_result(&self, key: &Keyed, result: String) -> Answer<String>;
}

/// What is known of a key.
pub(super) struct Known {
    pub(super) digest: String,
    pub(super) answer: Option<String>,
}

impl Known {
    /// What the store answered to the call of this key, if it did.
    pub(super) fn answer<T: DeserializeOwned>(self, key: &Keyed) -> Result<Option<T>, StoreError> {
        if *self.digest != *key.digest {
            return Err(StoreError::Mismatch);
        }
        let Some(answer) = self.answer else {
            return Ok(None);
        };
        let read = sonic_rs::from_str(&answer).map(Some);
        read.map_err(|error| broken("read", &error))
    }
}

/// An answer as its record holds it.
pub(super) fn written<T: Serialize>(answer: &T) -> Result<String, StoreError> {
    sonic_rs::to_string(answer).map_err(|error| broken("written", &error))
}

fn broken(what: &str, error: &sonic_rs::Error) -> StoreError {
    let error = crate::rpc::json::reason(error);
    StoreError::Unavailable(format!("the record of a key cannot be {what}: {error}"))
}

/// Until when a record of `now` lasts, in microseconds.
pub(super) fn until(now: Timestamp) -> i64 {
    let micros = IDEMPOTENCY_SECONDS as i64 * 1_000_000;
    now.as_micros().saturating_add(micros)
}

/// Keeps a result unless one is kept, and tells which is. Its values: namespace, agent, key, digest,
/// result, end and now. It returns nothing if the key was used for another call.
pub(super) const KEEP_RESULT: &str = "INSERT INTO idempotency AS k
        (namespace, agent, key, digest, result, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (namespace, agent, key) DO UPDATE SET
        digest = excluded.digest,
        answer = CASE WHEN k.expires_at > $7 THEN k.answer END,
        result = CASE WHEN k.expires_at > $7 THEN coalesce(k.result, excluded.result)
                      ELSE excluded.result END,
        expires_at = CASE WHEN k.expires_at > $7 THEN k.expires_at ELSE excluded.expires_at END
    WHERE k.expires_at <= $7 OR k.digest = excluded.digest
    RETURNING result";

/// Keeps the store's answer. Its values: namespace, agent, key, digest, answer, end and now.
pub(super) const KEEP_ANSWER: &str = "INSERT INTO idempotency AS k
        (namespace, agent, key, digest, answer, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (namespace, agent, key) DO UPDATE SET
        digest = excluded.digest, answer = excluded.answer, expires_at = excluded.expires_at,
        result = CASE WHEN k.expires_at > $7 THEN k.result END";
