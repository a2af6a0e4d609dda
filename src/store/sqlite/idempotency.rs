//! Writes that happen once under a key: record and write are one savepoint of the writer's transaction.
//!
//! The writer is one thread, so whoever comes second finds the record of the first.

use std::rc::Rc;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::messages::post;
use super::writer::Batch;
use super::{SqliteStore, create};
use crate::domain::{Keyed, Memory, NewMemory, NewMessage, Timestamp};
use crate::store::idempotency::{KEEP_ANSWER, KEEP_RESULT, Known, until, written};
use crate::store::{Answer, Idempotent, Posted, Store, StoreError};

impl SqliteStore {
    /// Has the writer run `work`, which carries about `bytes` of content, in a savepoint; once, if
    /// this handle has a key.
    pub(super) fn once<T: Serialize + DeserializeOwned + Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce(&mut Batch<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        let key = self.key.clone();
        self.write(bytes, move |batch| {
            batch.isolated(|batch| match key {
                Some(key) => once(batch, &key, work),
                None => work(batch),
            })
        })
    }

    /// Stores memories once, all of them or none.
    pub(super) fn create_once(
        &self,
        bytes: usize,
        new: Vec<NewMemory>,
    ) -> Answer<Vec<Result<Memory, StoreError>>> {
        let created = self.once(bytes, move |batch| {
            let create = |entry| create::create(batch, entry);
            new.into_iter().map(create).collect::<Result<Vec<_>, _>>()
        });
        Box::pin(async move { Ok(created.await?.into_iter().map(Ok).collect()) })
    }
}

impl Idempotent for SqliteStore {
    fn keyed(&self, key: &Keyed) -> Rc<dyn Store> {
        Rc::new(Self {
            threads: Arc::clone(&self.threads),
            key: Some(Arc::new(key.clone())),
        })
    }

    fn post_once(&self, key: &Keyed, new: NewMessage, recipients: u64) -> Answer<Posted> {
        let (key, node) = (key.clone(), self.threads.node);
        self.write(new.message.body.as_str().len(), move |batch| {
            let mut keys = None;
            let posted = batch.isolated(|batch| {
                once(batch, &key, |batch| {
                    keys = Some(post(batch, node, &new)?);
                    let id = new.message.id;
                    Ok(Posted {
                        id,
                        recipients,
                        keys: None,
                    })
                })
            })?;
            Ok(Posted { keys, ..posted })
        })
    }

    fn orders_keyed_posts(&self) -> bool {
        // One writer does all in turn.
        true
    }

    fn kept_result(&self, key: &Keyed) -> Answer<Option<String>> {
        let key = key.clone();
        self.read(move |connection, now| kept_result(connection, &key, now))
    }

    fn keep_result(&self, key: &Keyed, result: String) -> Answer<String> {
        let key = key.clone();
        self.write(result.len(), move |batch| {
            batch.isolated(|batch| {
                let mut statement = batch.connection.prepare_cached(KEEP_RESULT)?;
                let kept = statement.query_row(values(&key, &result, batch.now), |row| row.get(0));
                kept.optional()?.ok_or(StoreError::Mismatch)
            })
        })
    }
}

/// Runs `work` unless it was run under `key` before, and keeps its answer.
fn once<T: Serialize + DeserializeOwned>(
    batch: &mut Batch<'_>,
    key: &Keyed,
    work: impl FnOnce(&mut Batch<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let sql = "SELECT digest, answer FROM idempotency
         WHERE namespace = ?1 AND agent = ?2 AND key = ?3 AND expires_at > ?4";
    let known = batch
        .connection
        .prepare_cached(sql)?
        .query_row(name(key, batch.now), |row| {
            Ok(Known {
                digest: row.get(0)?,
                answer: row.get(1)?,
            })
        })
        .optional()?;
    if let Some(known) = known
        && let Some(answer) = known.answer(key)?
    {
        return Ok(answer);
    }
    let answer = work(batch)?;
    let text = written(&answer)?;
    batch
        .connection
        .prepare_cached(KEEP_ANSWER)?
        .execute(values(key, &text, batch.now))?;
    Ok(answer)
}

fn kept_result(
    connection: &Connection,
    key: &Keyed,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let sql = "SELECT digest, result FROM idempotency
         WHERE namespace = ?1 AND agent = ?2 AND key = ?3 AND expires_at > ?4";
    let mut statement = connection.prepare_cached(sql)?;
    let kept: Option<(String, Option<String>)> = statement
        .query_row(name(key, now), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match kept {
        Some((digest, _)) if *digest != *key.digest => Err(StoreError::Mismatch),
        kept => Ok(kept.and_then(|(_, result)| result)),
    }
}

fn name(key: &Keyed, now: Timestamp) -> (&str, &str, &str, i64) {
    let owner = &key.owner;
    (&owner.namespace, &owner.agent, &key.key, now.as_micros())
}

/// The values of [`KEEP_ANSWER`] and [`KEEP_RESULT`].
fn values<'k>(
    key: &'k Keyed,
    text: &'k str,
    now: Timestamp,
) -> (&'k str, &'k str, &'k str, &'k str, &'k str, i64, i64) {
    let (namespace, agent, name, micros) = name(key, now);
    (
        namespace,
        agent,
        name,
        &key.digest,
        text,
        until(now),
        micros,
    )
}

/// Removes the records that ended first; answers how many.
pub(super) fn sweep(batch: &mut Batch<'_>, limit: usize) -> Result<u64, StoreError> {
    let sql = "DELETE FROM idempotency WHERE rowid IN (
             SELECT rowid FROM idempotency WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";
    let removed = batch
        .connection
        .prepare_cached(sql)?
        .execute((batch.now.as_micros(), limit as i64))?;
    Ok(removed as u64)
}
