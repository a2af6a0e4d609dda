//! Memories as rows: reading them back into the domain.
//!
//! Invariant: an expired memory is not read at all, whoever asks.

use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use super::failure::Failure;
use super::query::Query;
use crate::domain::memory::{RELEVANCE_NEW, relevance_at};
use crate::domain::{Access, AgentKey, JsonObject, Memory, Permission, Timestamp};
use crate::store::StoreError;

/// A memory with what the store alone knows of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    pub(super) seq: i64,
    pub(super) memory: Memory,
    pub(super) change: String,
    pub(super) changed_by: Arc<str>,
    pub(super) deleted: bool,
    /// What the viewer was granted on it.
    pub(super) granted: Option<Permission>,
}

impl Stored {
    pub(super) fn owner(&self) -> AgentKey {
        AgentKey {
            namespace: self.memory.namespace.clone(),
            agent: self.memory.agent_id.clone(),
        }
    }
}

/// The order of the columns is the order in which [`stored`] reads them. The first three values
/// are the time and the viewer.
macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT m.seq, m.id, m.namespace, m.agent, m.content, m.kind, m.tags, m.importance,
                 m.access, m.metadata, m.source, m.session, m.trust, m.version, m.created_at,
                 m.updated_at, m.valid_from, m.valid_to, m.expires_at, m.supersedes,
                 m.superseded_by, coalesce(a.count, 0), m.change, m.changed_by,
                 m.deleted_at IS NOT NULL, a.relevance, a.accessed_at,
                 (SELECT g.permission FROM memory_grant g
                  WHERE g.memory = m.seq AND g.namespace = $2 AND g.agent = $3)
             FROM memory m LEFT JOIN memory_access a ON a.memory = m.seq
             WHERE (m.expires_at IS NULL OR m.expires_at > $1) AND ",
            $condition
        )
    };
}

/// The memory of one id, deleted or not; the fourth value.
pub(super) const BY_ID: &str = select!("m.id = $4");

/// The memory `id`, deleted or not.
pub(super) fn by_id(viewer: &AgentKey, id: Uuid, now: Timestamp) -> Query {
    for_viewer(BY_ID, viewer, now).with(id)
}

/// The memories in the rows `seqs`, in any order.
pub(super) fn by_seqs(viewer: &AgentKey, seqs: Vec<i64>, now: Timestamp) -> Query {
    for_viewer(select!("m.seq = ANY ($4)"), viewer, now)
        .with(seqs)
        .kept()
}

fn for_viewer(sql: &'static str, viewer: &AgentKey, now: Timestamp) -> Query {
    Query::new(sql)
        .with(now.as_micros())
        .with(viewer.namespace.to_string())
        .with(viewer.agent.to_string())
}

/// Reads a row of [`BY_ID`] or [`by_seqs`].
pub(super) fn stored(row: &Row, now: Timestamp) -> Result<Stored, Failure> {
    let created_at = time(row, 14)?;
    let last_accessed_at = optional_time(row, 26)?;
    let relevance = column::<Option<f64>>(row, 25)?.unwrap_or(RELEVANCE_NEW);
    let since = last_accessed_at.unwrap_or(created_at);
    Ok(Stored {
        seq: column(row, 0)?,
        memory: Memory {
            id: column(row, 1)?,
            namespace: column::<&str>(row, 2)?.into(),
            agent_id: column::<&str>(row, 3)?.into(),
            content: column(row, 4)?,
            kind: column(row, 5)?,
            tags: column(row, 6)?,
            importance: column(row, 7)?,
            access_level: Access::from_name(column(row, 8)?).ok_or_else(foreign)?,
            metadata: JsonObject::parse(column(row, 9)?).ok_or_else(foreign)?,
            source: column(row, 10)?,
            session_id: column(row, 11)?,
            trust: column(row, 12)?,
            version: column::<i64>(row, 13)? as u64,
            created_at,
            updated_at: time(row, 15)?,
            valid_from: optional_time(row, 16)?,
            valid_to: optional_time(row, 17)?,
            expires_at: optional_time(row, 18)?,
            supersedes: column(row, 19)?,
            superseded_by: column(row, 20)?,
            access_count: column::<i64>(row, 21)? as u64,
            relevance: relevance_at(relevance, since, now),
            last_accessed_at,
        },
        change: column(row, 22)?,
        changed_by: column::<&str>(row, 23)?.into(),
        deleted: column(row, 24)?,
        granted: column::<Option<&str>>(row, 27)?.and_then(Permission::from_name),
    })
}

/// Reads a column.
pub(super) fn column<'r, T: FromSql<'r>>(row: &'r Row, place: usize) -> Result<T, Failure> {
    Ok(row.try_get(place)?)
}

/// Reads a column of type time.
pub(super) fn time(row: &Row, place: usize) -> Result<Timestamp, Failure> {
    Timestamp::from_micros(column(row, place)?).ok_or_else(foreign)
}

/// Reads a column of type time that may be NULL.
pub(super) fn optional_time(row: &Row, place: usize) -> Result<Option<Timestamp>, Failure> {
    column::<Option<i64>>(row, place)?
        .map(|micros| Timestamp::from_micros(micros).ok_or_else(foreign))
        .transpose()
}

/// A row was not written by this program.
pub(super) fn foreign() -> Failure {
    let reason = "a row holds what is no value of this schema";
    StoreError::Unavailable(reason.into()).into()
}
