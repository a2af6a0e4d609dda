//! Storing memories, with what a new one supersedes.

use rusqlite::Connection;
use uuid::Uuid;

use super::rows::{Stored, by_id, join_list};
use super::writer::Batch;
use super::{change, documents, grants, vectors};
use crate::domain::memory::{RELEVANCE_NEW, expiry};
use crate::domain::{Access, Embedded, Memory, NewMemory, Timestamp};
use crate::store::rights::{self, Right};
use crate::store::{StoreError, Viewer, ranking};

/// Stores each entry in a savepoint of its own.
pub(super) fn create_all(
    batch: &mut Batch<'_>,
    new: Vec<NewMemory>,
) -> Result<Vec<Result<Memory, StoreError>>, StoreError> {
    Ok(new
        .into_iter()
        .map(|entry| batch.isolated(|batch| create(batch, entry)))
        .collect())
}

/// Stores one memory.
pub(super) fn create(batch: &mut Batch<'_>, new: NewMemory) -> Result<Memory, StoreError> {
    if new.access_level == Access::System {
        rights::require_admin(new.admin)?;
    }
    let expires_at = new
        .ttl_seconds
        .map(|ttl| expiry(batch.now, ttl))
        .transpose()?;
    let id = Uuid::now_v7();
    if let Some(old) = new.supersedes {
        let viewer = Viewer {
            key: new.owner.clone(),
            admin: new.admin,
        };
        supersede(batch, &viewer, old, id)?;
    }
    let NewMemory {
        owner,
        tags,
        vector,
        ..
    } = new;
    let memory = Memory {
        id,
        namespace: owner.namespace,
        agent_id: owner.agent,
        content: new.content,
        kind: new.kind,
        tags,
        importance: new.importance,
        access_level: new.access_level,
        metadata: new.metadata,
        source: new.source,
        session_id: new.session_id,
        trust: new.trust,
        version: 1,
        created_at: batch.now,
        updated_at: batch.now,
        valid_from: new.valid_from,
        valid_to: new.valid_to,
        expires_at,
        supersedes: new.supersedes,
        superseded_by: None,
        access_count: 0,
        relevance: RELEVANCE_NEW,
        last_accessed_at: None,
    };
    let seq = insert(batch.connection, &memory)?;
    if let Some(Embedded { model, vector }) = vector {
        vectors::put(batch, &model, seq, &vector)?;
    }
    batch.touch(seq);
    Ok(memory)
}

/// Writes a memory that is not stored yet, as it is; returns its row.
pub(super) fn insert(connection: &Connection, memory: &Memory) -> Result<i64, StoreError> {
    let micros = |time: Option<Timestamp>| time.map(Timestamp::as_micros);
    let terms = ranking::of_memory(&memory.content, memory.kind.as_deref(), &memory.tags);
    let mut statement = connection.prepare_cached(
        "INSERT INTO memory (id, namespace, agent, access, version, change, changed_by, created_at,
             updated_at, valid_from, valid_to, expires_at, supersedes, kind, tags, importance,
             trust, source, session, words, content_bytes, text_version, terms)
         VALUES (?1, ?2, ?3, ?4, ?5, 'created', ?3, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,
             ?16, ?17, ?18, ?19, ?5, ?20)",
    )?;
    let seq = statement.insert(rusqlite::params![
        memory.id.as_bytes(),
        &*memory.namespace,
        &*memory.agent_id,
        memory.access_level.as_str(),
        memory.version as i64,
        memory.created_at.as_micros(),
        memory.updated_at.as_micros(),
        micros(memory.valid_from),
        micros(memory.valid_to),
        micros(memory.expires_at),
        memory.supersedes.as_ref().map(Uuid::as_bytes),
        memory.kind,
        join_list(&memory.tags),
        memory.importance,
        memory.trust,
        memory.source,
        memory.session_id.as_ref().map(Uuid::as_bytes),
        terms.words,
        memory.content.len() as i64,
        documents::terms_blob(&terms),
    ])?;
    connection
        .prepare_cached(
            "INSERT INTO memory_content (memory, metadata, content) VALUES (?1, ?2, ?3)",
        )?
        .execute((seq, memory.metadata.as_str(), &memory.content))?;
    Ok(seq)
}

/// Marks the memory `old` as replaced by `new`.
fn supersede(
    batch: &mut Batch<'_>,
    viewer: &Viewer,
    old: Uuid,
    new: Uuid,
) -> Result<(), StoreError> {
    let stored = present(batch, old)?;
    rights::require(
        grants::right(batch.connection, viewer, &stored)?,
        Right::Write,
    )?;
    rights::refuse_superseded(&stored.memory)?;
    let mut next = stored.clone();
    next.memory.superseded_by = Some(new);
    change::record(batch, &stored, next, "superseded", &viewer.key.agent)?;
    Ok(())
}

/// The memory `id` unless it is deleted or expired.
pub(super) fn present(batch: &Batch<'_>, id: Uuid) -> Result<Stored, StoreError> {
    by_id(batch.connection, id, batch.now)?
        .filter(|stored| !stored.deleted)
        .ok_or_else(rights::not_found)
}
