//! Changing what is stored: update, delete and share, each with its entry in the history.
//!
//! Invariants: rights are checked before versions, so a conflict tells nothing to who may not
//! write; the version that a change replaces moves to `revision` in the same savepoint.

use uuid::Uuid;

use super::create::present;
use super::rows::{Stored, by_id, join_list};
use super::writer::Batch;
use super::{documents, grants, upkeep, vectors};
use crate::domain::{Access, Memory, MemoryPatch, Share, Timestamp};
use crate::store::rights::{self, Right};
use crate::store::{StoreError, Viewer, ranking};

/// Applies `patch`; a patch that changes nothing makes no version.
pub(super) fn update(
    batch: &mut Batch<'_>,
    viewer: &Viewer,
    id: Uuid,
    patch: MemoryPatch,
    expected_version: Option<u64>,
) -> Result<Memory, StoreError> {
    let stored = present(batch, id)?;
    let held = grants::right(batch.connection, viewer, &stored)?;
    rights::require(held, Right::Write)?;
    if patch
        .access_level
        .is_some_and(|level| level != stored.memory.access_level)
    {
        rights::require(held, Right::Own)?;
    }
    if patch.access_level == Some(Access::System) {
        rights::require_admin(viewer.admin)?;
    }
    rights::expect_version(&stored.memory, expected_version)?;
    rights::refuse_superseded(&stored.memory)?;
    let mut next = stored.clone();
    patch.apply(&mut next.memory, batch.now)?;
    if next == stored {
        return Ok(stored.memory);
    }
    if next.memory.access_level == Access::Private {
        // Private is the owner alone; a later share must not bring old grants back to life.
        batch
            .connection
            .prepare_cached("DELETE FROM memory_grant WHERE memory = ?1")?
            .execute([stored.seq])?;
    }
    record(batch, &stored, next, "updated", &viewer.key.agent)
}

/// Hides the memory, or with `purge` removes every trace of it.
pub(super) fn delete(
    batch: &mut Batch<'_>,
    viewer: &Viewer,
    id: Uuid,
    purge: bool,
    expected_version: Option<u64>,
) -> Result<u64, StoreError> {
    let stored = by_id(batch.connection, id, batch.now)?.ok_or_else(rights::not_found)?;
    let held = grants::right(batch.connection, viewer, &stored)?;
    if stored.deleted && !(purge && held >= Right::Delete) {
        return Err(rights::not_found());
    }
    rights::require(held, Right::Delete)?;
    rights::expect_version(&stored.memory, expected_version)?;
    let version = stored.memory.version;
    if purge {
        upkeep::remove(batch, stored.seq)?;
        return Ok(version);
    }
    let mut next = stored.clone();
    next.deleted = true;
    record(batch, &stored, next, "deleted", &viewer.key.agent)?;
    Ok(version)
}

/// Grants or takes back permissions. What changes nothing makes no version.
pub(super) fn share(
    batch: &mut Batch<'_>,
    viewer: &Viewer,
    share: Share,
) -> Result<Memory, StoreError> {
    let stored = present(batch, share.id)?;
    rights::require(
        grants::right(batch.connection, viewer, &stored)?,
        Right::Own,
    )?;
    let owner = stored.owner();
    let mut changed = 0;
    for agent in share.agents.iter().filter(|agent| **agent != owner) {
        let key = (stored.seq, &*agent.namespace, &*agent.agent);
        changed += match share.permission {
            None => batch
                .connection
                .prepare_cached(
                    "DELETE FROM memory_grant WHERE memory = ?1 AND namespace = ?2 AND agent = ?3",
                )?
                .execute(key)?,
            Some(permission) => batch
                .connection
                .prepare_cached(
                    "INSERT INTO memory_grant (memory, namespace, agent, permission)
                     VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO UPDATE SET permission = excluded.permission
                     WHERE permission <> excluded.permission",
                )?
                .execute((key.0, key.1, key.2, permission.as_str()))?,
        };
    }
    if changed == 0 {
        return Ok(stored.memory);
    }
    check_grants(batch, stored.seq)?;
    let mut next = stored.clone();
    if share.permission.is_some() && next.memory.access_level == Access::Private {
        next.memory.access_level = Access::Shared;
    }
    record(batch, &stored, next, "shared", &viewer.key.agent)
}

fn check_grants(batch: &Batch<'_>, seq: i64) -> Result<(), StoreError> {
    let grants: i64 = batch
        .connection
        .prepare_cached("SELECT count(*) FROM memory_grant WHERE memory = ?1")?
        .query_row([seq], |row| row.get(0))?;
    rights::check_grants(grants as usize)
}

/// Writes `next` over `before` as the next version, and `before` into the history.
pub(super) fn record(
    batch: &mut Batch<'_>,
    before: &Stored,
    mut next: Stored,
    change: &str,
    changed_by: &str,
) -> Result<Memory, StoreError> {
    next.change = change.into();
    next.changed_by = changed_by.into();
    next.memory.version += 1;
    next.memory.updated_at = batch.now;
    keep_revision(batch, before)?;
    write(batch, &next)?;
    if next.memory.content != before.memory.content {
        write_text(batch, &next)?;
    }
    batch.touch(before.seq);
    Ok(next.memory)
}

fn keep_revision(batch: &Batch<'_>, before: &Stored) -> Result<(), StoreError> {
    let memory = &before.memory;
    let mut statement = batch.connection.prepare_cached(
        "INSERT INTO revision (memory, version, change, changed_by, recorded_at, tags, importance,
             superseded_by, content)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    statement.execute(rusqlite::params![
        before.seq,
        memory.version as i64,
        before.change,
        &*before.changed_by,
        memory.updated_at.as_micros(),
        join_list(&memory.tags),
        memory.importance,
        memory.superseded_by.as_ref().map(Uuid::as_bytes),
        memory.content,
    ])?;
    Ok(())
}

fn write(batch: &Batch<'_>, next: &Stored) -> Result<(), StoreError> {
    let memory = &next.memory;
    let micros = |time: Option<Timestamp>| time.map(Timestamp::as_micros);
    let terms = ranking::of_memory(&memory.content, memory.kind.as_deref(), &memory.tags);
    let mut statement = batch.connection.prepare_cached(
        "UPDATE memory SET access = ?2, version = ?3, change = ?4, changed_by = ?5,
             updated_at = ?6, valid_from = ?7, valid_to = ?8, expires_at = ?9,
             deleted_at = iif(?10, coalesce(deleted_at, ?6), NULL),
             superseded_at = iif(?11 IS NULL, NULL, coalesce(superseded_at, ?6)),
             superseded_by = ?11, kind = ?12, tags = ?13, importance = ?14, trust = ?15,
             source = ?16, words = ?17, content_bytes = ?18, terms = ?19
         WHERE seq = ?1",
    )?;
    statement.execute(rusqlite::params![
        next.seq,
        memory.access_level.as_str(),
        memory.version as i64,
        next.change,
        &*next.changed_by,
        memory.updated_at.as_micros(),
        micros(memory.valid_from),
        micros(memory.valid_to),
        micros(memory.expires_at),
        next.deleted,
        memory.superseded_by.as_ref().map(Uuid::as_bytes),
        memory.kind,
        join_list(&memory.tags),
        memory.importance,
        memory.trust,
        memory.source,
        terms.words,
        memory.content.len() as i64,
        documents::terms_blob(&terms),
    ])?;
    batch
        .connection
        .prepare_cached("UPDATE memory_content SET metadata = ?2 WHERE memory = ?1")?
        .execute((next.seq, memory.metadata.as_str()))?;
    Ok(())
}

/// A new text has no vector until one is computed for it.
fn write_text(batch: &Batch<'_>, next: &Stored) -> Result<(), StoreError> {
    let connection = batch.connection;
    connection
        .prepare_cached("UPDATE memory_content SET content = ?2 WHERE memory = ?1")?
        .execute((next.seq, &next.memory.content))?;
    connection
        .prepare_cached("UPDATE memory SET text_version = version WHERE seq = ?1")?
        .execute([next.seq])?;
    vectors::remove(connection, next.seq)
}
