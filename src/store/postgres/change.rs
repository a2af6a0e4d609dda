//! Changing what is stored: update, delete and share, each with its entry in the history.
//!
//! Invariants: rights are checked before versions, so a conflict tells nothing to who may not
//! write; a row is locked before it is judged; the version that a change replaces moves to
//! `revision` in the same transaction.

use uuid::Uuid;

use super::failure::{Failure, no_nul};
use super::pool::Transaction;
use super::query::Query;
use super::rows::{self, Stored, column};
use super::scope::Scope;
use super::{PostgresStore, scope_words, vectors};
use crate::domain::{Access, Memory, MemoryPatch, Share, Timestamp};
use crate::store::rights::{self, Right};
use crate::store::{StoreError, Viewer};

/// A memory that no other transaction changes until this one ends.
pub(super) struct Held {
    pub(super) stored: Stored,
    pub(super) right: Right,
}

/// Locks the memory `id`, deleted or not, and reads it as it is then. What the viewer sees but may
/// not change, row security does not let it lock; reading follows all the same.
pub(super) async fn held(
    transaction: &Transaction<'_>,
    viewer: &Viewer,
    id: Uuid,
    now: Timestamp,
) -> Result<Held, Failure> {
    let lock = Query::new("SELECT 1 FROM memory WHERE id = $1 FOR NO KEY UPDATE").with(id);
    let read = rows::by_id(&viewer.key, id, now);
    let answers = transaction.run(vec![lock, read]).await?;
    let row = answers[1].first().ok_or_else(rights::not_found)?;
    let stored = rows::stored(row, now)?;
    let right = rights::of(viewer, &stored.memory, stored.granted);
    Ok(Held { stored, right })
}

/// Applies `patch`; a patch that changes nothing makes no version.
pub(super) async fn update(
    store: &PostgresStore,
    viewer: &Viewer,
    id: Uuid,
    patch: MemoryPatch,
    expected_version: Option<u64>,
) -> Result<Memory, StoreError> {
    let now = store.shard.now();
    let labels = patch.kind.iter().chain(&patch.source).flatten();
    if patch
        .content
        .iter()
        .chain(labels)
        .any(|text| text.contains('\0'))
    {
        return Err(no_nul("content").into());
    }
    let work = async |transaction: &Transaction<'_>| {
        let Held { stored, right } = held(transaction, viewer, id, now).await?;
        if stored.deleted {
            return Err(rights::not_found().into());
        }
        rights::require(right, Right::Write)?;
        let level = patch.access_level;
        if level.is_some_and(|level| level != stored.memory.access_level) {
            rights::require(right, Right::Own)?;
        }
        if level == Some(Access::System) {
            rights::require_admin(viewer.admin)?;
        }
        rights::expect_version(&stored.memory, expected_version)?;
        rights::refuse_superseded(&stored.memory)?;
        let mut next = stored.clone();
        patch.clone().apply(&mut next.memory, now)?;
        if next == stored {
            return Ok(stored.memory);
        }
        let private = next.memory.access_level == Access::Private;
        let (memory, mut queries) = record(&stored, next, "updated", &viewer.key.agent, now);
        if private {
            // Private is the owner alone; a later share must not bring old grants back to life.
            queries.push(Query::new("DELETE FROM memory_grant WHERE memory = $1").with(stored.seq));
        }
        transaction.commit(queries).await?;
        Ok(memory)
    };
    store.transact(Scope::of(viewer), work).await
}

/// Hides the memory, or with `purge` removes every trace of it.
pub(super) async fn delete(
    store: &PostgresStore,
    viewer: &Viewer,
    id: Uuid,
    purge: bool,
    expected_version: Option<u64>,
) -> Result<u64, StoreError> {
    let now = store.shard.now();
    let work = async |transaction: &Transaction<'_>| {
        let Held { stored, right } = held(transaction, viewer, id, now).await?;
        if stored.deleted && !(purge && right >= Right::Delete) {
            return Err(rights::not_found().into());
        }
        rights::require(right, Right::Delete)?;
        rights::expect_version(&stored.memory, expected_version)?;
        let queries = if purge {
            vec![Query::new("DELETE FROM memory WHERE seq = $1").with(stored.seq)]
        } else {
            let mut next = stored.clone();
            next.deleted = true;
            record(&stored, next, "deleted", &viewer.key.agent, now).1
        };
        transaction.commit(queries).await?;
        Ok(stored.memory.version)
    };
    store.transact(Scope::of(viewer), work).await
}

/// Grants or takes back permissions. What changes nothing makes no version.
pub(super) async fn share(
    store: &PostgresStore,
    viewer: &Viewer,
    share: Share,
) -> Result<Memory, StoreError> {
    let now = store.shard.now();
    let work = async |transaction: &Transaction<'_>| {
        let Held { stored, right } = held(transaction, viewer, share.id, now).await?;
        if stored.deleted {
            return Err(rights::not_found().into());
        }
        rights::require(right, Right::Own)?;
        let count = Query::new("SELECT count(*) FROM memory_grant WHERE memory = $1");
        let answers = transaction
            .run(vec![grants(&stored, &share), count.with(stored.seq)])
            .await?;
        if answers[0].is_empty() {
            return Ok(stored.memory);
        }
        let total: i64 = answers[1].first().map_or(Ok(0), |row| column(row, 0))?;
        rights::check_grants(total as usize)?;
        let mut next = stored.clone();
        if share.permission.is_some() && next.memory.access_level == Access::Private {
            next.memory.access_level = Access::Shared;
        }
        let (memory, queries) = record(&stored, next, "shared", &viewer.key.agent, now);
        transaction.commit(queries).await?;
        Ok(memory)
    };
    store.transact(Scope::of(viewer), work).await
}

/// The statement that gives or takes; it returns a row for each grant that changed.
fn grants(stored: &Stored, share: &Share) -> Query {
    let owner = stored.owner();
    let mut receivers: Vec<_> = share
        .agents
        .iter()
        .filter(|agent| **agent != owner)
        .collect();
    receivers.sort_unstable();
    receivers.dedup();
    let namespaces: Vec<_> = receivers
        .iter()
        .map(|key| key.namespace.to_string())
        .collect();
    let agents: Vec<_> = receivers.iter().map(|key| key.agent.to_string()).collect();
    let query = match share.permission {
        None => Query::new(
            "DELETE FROM memory_grant g USING unnest($2, $3) AS r (namespace, agent)
             WHERE g.memory = $1 AND g.namespace = r.namespace AND g.agent = r.agent
             RETURNING 1",
        ),
        Some(_) => Query::new(
            "INSERT INTO memory_grant AS g (memory, namespace, agent, permission, owner_namespace)
             SELECT $1, r.namespace, r.agent, $4, $5 FROM unnest($2, $3) AS r (namespace, agent)
             ON CONFLICT (memory, namespace, agent) DO UPDATE SET permission = excluded.permission
             WHERE g.permission <> excluded.permission
             RETURNING 1",
        ),
    };
    let query = query.with(stored.seq).with(namespaces).with(agents);
    match share.permission {
        None => query,
        Some(permission) => query
            .with(permission.as_str())
            .with(owner.namespace.to_string()),
    }
}

/// The statements that write `next` over `before` as the next version, and `before` into the
/// history; with the memory as it will be.
pub(super) fn record(
    before: &Stored,
    mut next: Stored,
    change: &'static str,
    changed_by: &str,
    now: Timestamp,
) -> (Memory, Vec<Query>) {
    next.memory.version += 1;
    next.memory.updated_at = now;
    let mut queries = vec![keep_revision(before.seq), write(&next, change, changed_by)];
    let memory = &next.memory;
    if memory.content != before.memory.content {
        queries.push(
            Query::new(
                "UPDATE memory SET content = $2, content_bytes = octet_length($2),
                     text_version = version
                 WHERE seq = $1",
            )
            .with(before.seq)
            .with(memory.content.clone()),
        );
    }
    if memory.access_level != before.memory.access_level {
        let sql = "UPDATE memory_vector SET access = $2 WHERE memory = $1";
        let level = memory.access_level.as_str();
        queries.push(Query::new(sql).with(before.seq).with(level));
    }
    // A new text has no vector until one is computed for it; a deleted one needs none any more.
    if memory.content != before.memory.content || next.deleted {
        queries.push(vectors::removal(before.seq));
    }
    (next.memory, queries)
}

/// Copies the present version into the history.
fn keep_revision(seq: i64) -> Query {
    Query::new(
        "INSERT INTO revision (memory, version, change, changed_by, recorded_at, tags, importance,
             superseded_by, content)
         SELECT seq, version, change, changed_by, updated_at, tags, importance, superseded_by,
             content
         FROM memory WHERE seq = $1",
    )
    .with(seq)
}

fn write(next: &Stored, change: &'static str, changed_by: &str) -> Query {
    let memory = &next.memory;
    let micros = |time: Option<Timestamp>| time.map(Timestamp::as_micros);
    let terms = scope_words::of_memory(memory);
    Query::new(
        "UPDATE memory SET access = $2, version = $3, change = $4, changed_by = $5,
             updated_at = $6, valid_from = $7, valid_to = $8, expires_at = $9,
             deleted_at = CASE WHEN $10 THEN coalesce(deleted_at, $6) END,
             superseded_at = CASE WHEN $11::uuid IS NOT NULL THEN coalesce(superseded_at, $6) END,
             superseded_by = $11, kind = $12, tags = $13, importance = $14, trust = $15,
             source = $16, words = $17, terms = array_to_tsvector($18), metadata = $19
         WHERE seq = $1",
    )
    .with(next.seq)
    .with(memory.access_level.as_str())
    .with(memory.version as i64)
    .with(change)
    .with(changed_by.to_owned())
    .with(memory.updated_at.as_micros())
    .with(micros(memory.valid_from))
    .with(micros(memory.valid_to))
    .with(micros(memory.expires_at))
    .with(next.deleted)
    .with(memory.superseded_by)
    .with(memory.kind.clone())
    .with(memory.tags.clone())
    .with(memory.importance)
    .with(memory.trust)
    .with(memory.source.clone())
    .with(terms.words as i32)
    .with(terms.terms)
    .with(memory.metadata.as_str().to_owned())
}
