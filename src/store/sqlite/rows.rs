//! Memories as rows: reading them back into the domain.
//!
//! Invariant: an expired memory is not read at all, whoever asks.

use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row};
use uuid::Uuid;

use crate::domain::memory::{RELEVANCE_NEW, relevance_at};
use crate::domain::{Access, AgentKey, JsonObject, Memory, Timestamp};
use crate::store::StoreError;

/// A memory with what the store alone knows of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    pub(super) seq: i64,
    pub(super) memory: Memory,
    pub(super) change: String,
    pub(super) changed_by: Arc<str>,
    pub(super) deleted: bool,
}

impl Stored {
    pub(super) fn owner(&self) -> AgentKey {
        AgentKey {
            namespace: self.memory.namespace.clone(),
            agent: self.memory.agent_id.clone(),
        }
    }
}

/// The order of the columns is the order in which [`stored`] reads them.
macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT m.seq, m.id, m.namespace, m.agent, c.content, m.kind, m.tags, m.importance,
                    m.access, c.metadata, m.source, m.session, m.trust, m.version, m.created_at,
                    m.updated_at, m.valid_from, m.valid_to, m.expires_at, m.supersedes,
                    m.superseded_by, coalesce(a.count, 0), m.change, m.changed_by,
                    m.deleted_at IS NOT NULL, a.relevance, a.accessed_at
             FROM memory m JOIN memory_content c ON c.memory = m.seq
             LEFT JOIN memory_access a ON a.memory = m.seq
             WHERE (m.expires_at IS NULL OR m.expires_at > ?2) AND ",
            $condition
        )
    };
}

/// The memory `id`, deleted or not, whoever may see it.
pub(super) fn by_id(
    connection: &Connection,
    id: Uuid,
    now: Timestamp,
) -> Result<Option<Stored>, StoreError> {
    let mut statement = connection.prepare_cached(select!("m.id = ?1"))?;
    Ok(statement
        .query_row((id.as_bytes(), now.as_micros()), |row| stored(row, now))
        .optional()?)
}

/// The memory in row `seq`, deleted or not, whoever may see it.
pub(super) fn by_seq(
    connection: &Connection,
    seq: i64,
    now: Timestamp,
) -> Result<Option<Stored>, StoreError> {
    BySeq::at(connection, now)?.read(seq)
}

/// Reads memories by their rows, for who reads several: the statement is looked up once.
pub(super) struct BySeq<'c> {
    statement: CachedStatement<'c>,
    now: Timestamp,
}

impl<'c> BySeq<'c> {
    /// Reads what is there at `now`.
    pub(super) fn at(connection: &'c Connection, now: Timestamp) -> Result<Self, StoreError> {
        let statement = connection.prepare_cached(select!("m.seq = ?1"))?;
        Ok(Self { statement, now })
    }

    /// The memory in row `seq`, deleted or not, whoever may see it.
    pub(super) fn read(&mut self, seq: i64) -> Result<Option<Stored>, StoreError> {
        let now = self.now;
        let read = |row: &Row<'_>| stored(row, now);
        let row = self.statement.query_row((seq, now.as_micros()), read);
        Ok(row.optional()?)
    }
}

pub(super) fn stored(row: &Row<'_>, now: Timestamp) -> rusqlite::Result<Stored> {
    let text =
        |column: usize| Ok::<Arc<str>, rusqlite::Error>(row.get_ref(column)?.as_str()?.into());
    let access = row.get_ref(8)?.as_str()?;
    let metadata = row.get_ref(9)?.as_str()?;
    let created_at = time(row, 14)?;
    let last_accessed_at = optional_time(row, 26)?;
    let relevance = row.get::<_, Option<f64>>(25)?.unwrap_or(RELEVANCE_NEW);
    let since = last_accessed_at.unwrap_or(created_at);
    Ok(Stored {
        seq: row.get(0)?,
        memory: Memory {
            id: Uuid::from_bytes(row.get(1)?),
            namespace: text(2)?,
            agent_id: text(3)?,
            content: row.get(4)?,
            kind: row.get(5)?,
            tags: split_list(row.get_ref(6)?.as_str()?),
            importance: row.get(7)?,
            access_level: Access::from_name(access).ok_or_else(|| foreign(8))?,
            metadata: JsonObject::parse(metadata).ok_or_else(|| foreign(9))?,
            source: row.get(10)?,
            session_id: optional_id(row, 11)?,
            trust: row.get(12)?,
            version: row.get::<_, i64>(13)? as u64,
            created_at,
            updated_at: time(row, 15)?,
            valid_from: optional_time(row, 16)?,
            valid_to: optional_time(row, 17)?,
            expires_at: optional_time(row, 18)?,
            supersedes: optional_id(row, 19)?,
            superseded_by: optional_id(row, 20)?,
            access_count: row.get::<_, i64>(21)? as u64,
            relevance: relevance_at(relevance, since, now),
            last_accessed_at,
        },
        change: row.get(22)?,
        changed_by: text(23)?,
        deleted: row.get(24)?,
    })
}

/// Reads a column of type time.
pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_micros(row.get(column)?).ok_or_else(|| foreign(column))
}

/// Reads a column of type time that may be NULL.
pub(super) fn optional_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column)?
        .map(|micros| Timestamp::from_micros(micros).ok_or_else(|| foreign(column)))
        .transpose()
}

/// Reads a column of type id that may be NULL.
pub(super) fn optional_id(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Uuid>> {
    Ok(row
        .get::<_, Option<[u8; 16]>>(column)?
        .map(Uuid::from_bytes))
}

/// What stands in the column was not written by this program.
pub(super) fn foreign(column: usize) -> rusqlite::Error {
    let reason = "not a value of this schema".into();
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, reason)
}

/// Tags or capabilities as one column: `''` or `'\na\nb\n'`; none of them holds a line feed.
pub(super) fn join_list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        items => format!("\n{}\n", items.join("\n")),
    }
}

/// The reverse of [`join_list`].
pub(super) fn split_list(column: &str) -> Vec<String> {
    column
        .lines()
        .filter(|item| !item.is_empty())
        .map(String::from)
        .collect()
}

/// What to look for in a column of [`join_list`] that holds `item`.
pub(super) fn list_item(item: &str) -> String {
    format!("\n{item}\n")
}

/// A key whose names come from the store and were checked on their way in.
pub(super) fn agent_key(namespace: &str, agent: &str) -> AgentKey {
    AgentKey {
        namespace: namespace.into(),
        agent: agent.into(),
    }
}
