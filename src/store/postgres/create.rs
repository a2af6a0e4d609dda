//! Storing memories, with what a new one supersedes.

use futures_util::future::join_all;
use uuid::Uuid;

use super::change::{self, Held};
use super::failure::{Failure, no_nul};
use super::insert::{self, New};
use super::pool::Transaction;
use super::scope::Scope;
use super::session::Step;
use super::{PostgresStore, Shard, vectors};
use crate::domain::memory::{RELEVANCE_NEW, expiry};
use crate::domain::{Access, Embedded, Memory, NewMemory, Timestamp};
use crate::store::rights::{self, Right};
use crate::store::{StoreError, Viewer};

/// Stores each entry by itself; the flights join them, also with those of other callers.
pub(super) async fn create_all(
    shard: &Shard,
    new: Vec<NewMemory>,
) -> Result<Vec<Result<Memory, StoreError>>, StoreError> {
    let now = shard.now();
    // Ids are given in the order of the entries, so that neighbours sort as they came.
    let entries: Vec<_> = new
        .into_iter()
        .map(|entry| (Uuid::now_v7(), entry))
        .collect();
    Ok(join_all(
        entries
            .into_iter()
            .map(|(id, entry)| create(shard, id, entry, now)),
    )
    .await)
}

async fn create(
    shard: &Shard,
    id: Uuid,
    entry: NewMemory,
    now: Timestamp,
) -> Result<Memory, StoreError> {
    let viewer = Viewer {
        key: entry.owner.clone(),
        admin: entry.admin,
    };
    let (new, embedded) = checked(id, entry, now)?;
    let model = match &embedded {
        Some(embedded) => Some(vectors::enrolled(shard, &embedded.model).await?),
        None => None,
    };
    let memory = new.memory.clone();
    if let Some(old) = memory.supersedes {
        replace(shard, &viewer, old, &new, model, now).await?;
        return Ok(memory);
    }
    let answer = shard.flights.board(new, model)?;
    let closed = |_| StoreError::Unavailable("the store is closed".into());
    answer.await.map_err(closed)??;
    Ok(memory)
}

/// What will be stored, if nothing speaks against it that can be known here.
fn checked(
    id: Uuid,
    entry: NewMemory,
    now: Timestamp,
) -> Result<(New, Option<Embedded>), StoreError> {
    if entry.access_level == Access::System {
        rights::require_admin(entry.admin)?;
    }
    let expires_at = entry.ttl_seconds.map(|ttl| expiry(now, ttl)).transpose()?;
    if let Some(Embedded { model, vector }) = &entry.vector {
        vectors::check_dimension(model, vector)?;
    }
    let NewMemory { owner, vector, .. } = entry;
    let changed_by = owner.agent.to_string();
    let memory = Memory {
        id,
        namespace: owner.namespace,
        agent_id: owner.agent,
        content: entry.content,
        kind: entry.kind,
        tags: entry.tags,
        importance: entry.importance,
        access_level: entry.access_level,
        metadata: entry.metadata,
        source: entry.source,
        session_id: entry.session_id,
        trust: entry.trust,
        version: 1,
        created_at: now,
        updated_at: now,
        valid_from: entry.valid_from,
        valid_to: entry.valid_to,
        expires_at,
        supersedes: entry.supersedes,
        superseded_by: None,
        access_count: 0,
        relevance: RELEVANCE_NEW,
        last_accessed_at: None,
    };
    let new = New {
        memory,
        change: "created".into(),
        changed_by,
        deleted: false,
        vector: vector.as_ref().map(|embedded| embedded.vector.clone()),
    };
    if !new.is_storable() {
        return Err(no_nul("content").into());
    }
    Ok((new, vector))
}

/// Stores `new` and marks the memory `old` as replaced by it, both or neither.
async fn replace(
    shard: &Shard,
    viewer: &Viewer,
    old: Uuid,
    new: &New,
    model: Option<i32>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let work = async |transaction: &Transaction<'_>| {
        let steps = replacing(transaction, viewer, old, new, model, now).await?;
        transaction.commit_steps(steps).await?;
        Ok::<_, Failure>(())
    };
    shard.pool.transact(Scope::of(viewer), work).await
}

/// The steps that store `new` and mark the memory `old`, which is held, as replaced by it.
async fn replacing(
    transaction: &Transaction<'_>,
    viewer: &Viewer,
    old: Uuid,
    new: &New,
    model: Option<i32>,
    now: Timestamp,
) -> Result<Vec<Step>, Failure> {
    let Held { stored, right } = change::held(transaction, viewer, old, now).await?;
    if stored.deleted {
        return Err(rights::not_found().into());
    }
    rights::require(right, Right::Write)?;
    rights::refuse_superseded(&stored.memory)?;
    let mut next = stored.clone();
    next.memory.superseded_by = Some(new.memory.id);
    let (_, queries) = change::record(&stored, next, "superseded", &viewer.key.agent, now);
    let insertion = transaction
        .prepared(insert::SQL, insert::values(&[new], model))
        .await?;
    let mut steps: Vec<_> = queries.into_iter().map(Step::from).collect();
    steps.push(insertion);
    Ok(steps)
}

/// Stores memories of one agent in one transaction, all of them or none; once, if `store` has a key.
pub(super) async fn create_together(
    store: &PostgresStore,
    new: Vec<NewMemory>,
) -> Result<Vec<Memory>, StoreError> {
    let shard = &*store.shard;
    let now = shard.now();
    let mut entries = Vec::with_capacity(new.len());
    for entry in new {
        let viewer = Viewer {
            key: entry.owner.clone(),
            admin: entry.admin,
        };
        let (new, embedded) = checked(Uuid::now_v7(), entry, now)?;
        // Enrolling a model is a transaction of its own, so it comes before.
        let model = match &embedded {
            Some(embedded) => Some(vectors::enrolled(shard, &embedded.model).await?),
            None => None,
        };
        entries.push((viewer, new, model));
    }
    let Some((viewer, ..)) = entries.first() else {
        return Ok(Vec::new());
    };
    let work = async |transaction: &Transaction<'_>| {
        for (viewer, new, model) in &entries {
            let steps = match new.memory.supersedes {
                Some(old) => replacing(transaction, viewer, old, new, *model, now).await?,
                None => {
                    let values = insert::values(&[new], *model);
                    vec![transaction.prepared(insert::SQL, values).await?]
                }
            };
            transaction.run_steps(steps).await?;
        }
        Ok(entries
            .iter()
            .map(|(_, new, _)| new.memory.clone())
            .collect())
    };
    store.transact(Scope::of(viewer), work).await
}
