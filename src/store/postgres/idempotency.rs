//! Writes that happen once under a key: its row is taken first and written last, in one transaction.
//!
//! ```text
//! BEGIN, insert the key or find its row --> the write --> write the answer, COMMIT
//! ```
//!
//! Who comes second waits at the row for as long as the transaction of the first takes, on whatever
//! node; if that fails, the second is the first.

use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::failure::Failure;
use super::messages;
use super::pool::Transaction;
use super::query::Query;
use super::rows::column;
use super::scope::Scope;
use super::session::Step;
use super::{PostgresStore, create};
use crate::domain::{Keyed, Memory, NewMemory, NewMessage, Timestamp};
use crate::store::idempotency::{KEEP_ANSWER, KEEP_RESULT, Known, until, written};
use crate::store::{Answer, Idempotent, Posted, Store, StoreError};

/// Takes a key that is free, or whose record is over; its row stays locked until the transaction ends.
const TAKE: &str = "INSERT INTO idempotency AS k (namespace, agent, key, digest, expires_at)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (namespace, agent, key) DO UPDATE SET
        digest = excluded.digest, answer = NULL, result = NULL, expires_at = excluded.expires_at
    WHERE k.expires_at <= $6
    RETURNING 1";

impl PostgresStore {
    /// Runs `work` in a transaction as the pool does; once, if this handle has a key.
    pub(super) async fn transact<T: Serialize + DeserializeOwned>(
        &self,
        scope: Scope,
        work: impl AsyncFn(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let pool = &self.shard.pool;
        let Some(key) = self.key.as_deref() else {
            return pool.transact(scope, work).await;
        };
        let now = self.shard.now();
        let work = async |transaction: &Transaction<'_>| once(transaction, key, now, &work).await;
        pool.transact(scope, work).await
    }

    /// Stores memories once, all of them or none.
    pub(super) fn create_once(
        &self,
        new: Vec<NewMemory>,
    ) -> Answer<Vec<Result<Memory, StoreError>>> {
        self.write(async move |store: Self| {
            let created = create::create_together(&store, new).await?;
            Ok(created.into_iter().map(Ok).collect())
        })
    }

    fn with_key(&self, key: &Keyed) -> Self {
        Self {
            key: Some(Rc::new(key.clone())),
            ..self.clone()
        }
    }
}

impl Idempotent for PostgresStore {
    fn keyed(&self, key: &Keyed) -> Rc<dyn Store> {
        Rc::new(self.with_key(key))
    }

    fn post_once(&self, key: &Keyed, new: NewMessage, recipients: u64) -> Answer<Posted> {
        self.with_key(key)
            .write(async move |store: Self| messages::post_once(&store, new, recipients).await)
    }

    fn orders_keyed_posts(&self) -> bool {
        // A transaction of its own, beside the flights of the others.
        false
    }

    fn kept_result(&self, key: &Keyed) -> Answer<Option<String>> {
        let key = key.clone();
        self.read(async move |store: Self| {
            let sql = "SELECT digest, result FROM idempotency
                 WHERE namespace = $1 AND agent = $2 AND key = $3 AND expires_at > $4";
            let query = named(sql, &key).with(store.shard.now().as_micros());
            let answers = store.shard.pool.read(&scope(&key), vec![query]).await?;
            let Some(row) = answers[0].first() else {
                return Ok(None);
            };
            if *column::<&str>(row, 0)? != *key.digest {
                return Err(StoreError::Mismatch);
            }
            Ok(column(row, 1)?)
        })
    }

    fn keep_result(&self, key: &Keyed, result: String) -> Answer<String> {
        let key = key.clone();
        self.write(async move |store: Self| {
            let now = store.shard.now();
            let work = async |transaction: &Transaction<'_>| {
                let keep = kept(KEEP_RESULT, &key, result.clone(), now);
                let answers = transaction.commit(vec![keep]).await?;
                let row = answers[0].first().ok_or(StoreError::Mismatch)?;
                column(row, 0)
            };
            store.shard.pool.transact(scope(&key), work).await
        })
    }
}

/// Runs `work` unless it was run under `key` before, and keeps its answer.
async fn once<T: Serialize + DeserializeOwned>(
    transaction: &Transaction<'_>,
    key: &Keyed,
    now: Timestamp,
    work: &impl AsyncFn(&Transaction<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let take = named(TAKE, key)
        .with(key.digest.to_string())
        .with(until(now))
        .with(now.as_micros());
    let look = "SELECT digest, answer FROM idempotency
         WHERE namespace = $1 AND agent = $2 AND key = $3 FOR UPDATE";
    let steps = vec![
        Step::Enter(scope(key)),
        take.into(),
        named(look, key).into(),
        Step::Enter(transaction.scope().clone()),
    ];
    let answers = transaction.run_steps(steps).await?;
    if answers[1].is_empty() {
        // The upkeep may have removed it just now; then the same call may be made again.
        let row = answers[2].first().ok_or(StoreError::Busy)?;
        let known = Known {
            digest: column(row, 0)?,
            answer: column(row, 1)?,
        };
        if let Some(answer) = known.answer(key)? {
            return Ok(answer);
        }
    }
    let answer = transaction.part(work).await?;
    let keep = kept(KEEP_ANSWER, key, written(&answer)?, now);
    transaction
        .commit_steps(vec![Step::Enter(scope(key)), keep.into()])
        .await?;
    Ok(answer)
}

/// The scope of whom a key belongs to.
fn scope(key: &Keyed) -> Scope {
    Scope::namespace(key.owner.namespace.clone())
}

/// A statement whose first values name a key.
fn named(sql: &'static str, key: &Keyed) -> Query {
    Query::new(sql)
        .with(key.owner.namespace.to_string())
        .with(key.owner.agent.to_string())
        .with(key.key.to_string())
}

/// [`KEEP_ANSWER`] or [`KEEP_RESULT`] with its values.
fn kept(sql: &'static str, key: &Keyed, text: String, now: Timestamp) -> Query {
    named(sql, key)
        .with(key.digest.to_string())
        .with(text)
        .with(until(now))
        .with(now.as_micros())
}

/// Removes the records that ended first; answers how many.
pub(super) fn sweep(now: Timestamp, limit: i64) -> Query {
    Query::new(
        "WITH over AS MATERIALIZED (
             SELECT namespace, agent, key FROM idempotency
             WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
         ), removed AS (
             DELETE FROM idempotency k USING over o
             WHERE k.namespace = o.namespace AND k.agent = o.agent AND k.key = o.key
             RETURNING 1
         )
         SELECT count(*) FROM removed",
    )
    .with(now.as_micros())
    .with(limit)
}
