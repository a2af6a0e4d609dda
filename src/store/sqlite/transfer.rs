//! Memories out of the store and into it, with everything that hangs on them.

use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::create::insert;
use super::recall;
use super::rows::{agent_key, by_seq, join_list};
use super::writer::Batch;
use crate::domain::memory::RELEVANCE_NEW;
use crate::domain::{Grant, Imported, Page, Permission, Record, Timestamp};
use crate::store::StoreError;
use crate::store::cursor;

/// Memories in the order of their creation, deleted ones included; what has expired is gone.
pub(super) fn export(
    connection: &Connection,
    limit: u32,
    cursor: Option<&str>,
    now: Timestamp,
) -> Result<Page<Record>, StoreError> {
    let after = cursor.map(cursor::parse_export).transpose()?.unwrap_or(0);
    let sql = "SELECT seq FROM memory
         WHERE seq > ?1 AND (expires_at IS NULL OR expires_at > ?2) ORDER BY seq LIMIT ?3";
    let mut rows: Vec<i64> = connection
        .prepare_cached(sql)?
        .query_map((after, now.as_micros(), i64::from(limit) + 1), |row| {
            row.get(0)
        })?
        .collect::<Result<_, _>>()?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let mut items = Vec::with_capacity(rows.len());
    for seq in &rows {
        items.extend(record(connection, *seq, now)?);
    }
    let next_cursor = rows
        .last()
        .filter(|_| more)
        .map(|seq| cursor::write_export(*seq));
    Ok(Page { items, next_cursor })
}

fn record(connection: &Connection, seq: i64, now: Timestamp) -> Result<Option<Record>, StoreError> {
    let Some(mut stored) = by_seq(connection, seq, now)? else {
        return Ok(None);
    };
    // As it was at the latest read: from there it decays again wherever it is imported.
    let sql = "SELECT relevance FROM memory_access WHERE memory = ?1";
    let relevance = connection
        .prepare_cached(sql)?
        .query_row([seq], |row| row.get(0));
    stored.memory.relevance = relevance.optional()?.unwrap_or(RELEVANCE_NEW);
    let sql = "SELECT namespace, agent, permission FROM memory_grant WHERE memory = ?1
         ORDER BY namespace, agent";
    let mut statement = connection.prepare_cached(sql)?;
    let grants = statement.query_map([seq], |row| {
        let key = agent_key(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
        let permission = Permission::from_name(row.get_ref(2)?.as_str()?);
        Ok(Grant {
            namespace: key.namespace,
            agent_id: key.agent,
            permission: permission.unwrap_or_default(),
        })
    })?;
    Ok(Some(Record {
        grants: grants.collect::<Result<_, _>>()?,
        revisions: recall::revisions(connection, seq)?,
        memory: stored.memory,
        deleted: stored.deleted,
        change: stored.change,
        changed_by: stored.changed_by,
    }))
}

/// Stores records whose ids are not known yet and whose time is not over.
pub(super) fn import(batch: &mut Batch<'_>, records: &[Record]) -> Result<Imported, StoreError> {
    let mut imported = Imported::default();
    for record in records {
        let over = |at: Timestamp| at <= batch.now;
        if record.memory.expires_at.is_some_and(over)
            || is_known(batch.connection, record.memory.id)?
        {
            imported.skipped += 1;
            continue;
        }
        let seq = insert(batch.connection, &record.memory)?;
        restore(batch.connection, seq, record)?;
        batch.touch(seq);
        imported.created += 1;
    }
    Ok(imported)
}

/// True if the id is taken, be it by a memory that has expired and is not removed yet.
fn is_known(connection: &Connection, id: Uuid) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM memory WHERE id = ?1")?;
    Ok(statement.exists([id.as_bytes()])?)
}

/// Writes what a new memory does not have.
fn restore(connection: &Connection, seq: i64, record: &Record) -> Result<(), StoreError> {
    let memory = &record.memory;
    let superseded_by = memory.superseded_by.as_ref().map(Uuid::as_bytes);
    let update = "UPDATE memory SET change = ?2, changed_by = ?3, superseded_by = ?4,
             superseded_at = iif(?4 IS NULL, NULL, ?5), deleted_at = iif(?6, ?5, NULL)
         WHERE seq = ?1";
    connection
        .prepare_cached(update)?
        .execute(rusqlite::params![
            seq,
            record.change,
            &*record.changed_by,
            superseded_by,
            memory.updated_at.as_micros(),
            record.deleted,
        ])?;
    if let Some(at) = memory.last_accessed_at {
        connection
            .prepare_cached(
                "INSERT INTO memory_access (memory, count, relevance, accessed_at)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute((
                seq,
                memory.access_count as i64,
                memory.relevance,
                at.as_micros(),
            ))?;
    }
    for grant in &record.grants {
        connection
            .prepare_cached(
                "INSERT INTO memory_grant (memory, namespace, agent, permission)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute((
                seq,
                &*grant.namespace,
                &*grant.agent_id,
                grant.permission.as_str(),
            ))?;
    }
    for revision in &record.revisions {
        connection
            .prepare_cached(
                "INSERT INTO revision (memory, version, change, changed_by, recorded_at, tags,
                     importance, superseded_by, content)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(rusqlite::params![
                seq,
                revision.version as i64,
                revision.change,
                &*revision.changed_by,
                revision.recorded_at.as_micros(),
                join_list(&revision.tags),
                revision.importance,
                revision.superseded_by.as_ref().map(Uuid::as_bytes),
                revision.content,
            ])?;
    }
    Ok(())
}
