//! Records of MCP tasks.

use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::rows::{agent_key, foreign, time};
use super::writer::Batch;
use crate::domain::mcp_task::{GONE_ERROR, GONE_MESSAGE, lease_end};
use crate::domain::{
    AgentKey, JsonObject, McpTask, McpTaskChange, McpTaskStatus, NewMcpTask, Timestamp,
};
use crate::store::{StoreError, mcp_tasks as rules};

/// The statuses that are no end, in the words of the indexes.
macro_rules! open {
    () => {
        "status IN ('working', 'input_required')"
    };
}

/// Records a task.
pub(super) fn create(batch: &mut Batch<'_>, new: NewMcpTask) -> Result<McpTask, StoreError> {
    let task = new.begin(batch.now)?;
    rules::check_open(open(batch, &task.owner)?)?;
    let mut statement = batch.connection.prepare_cached(
        "INSERT INTO mcp_task (id, namespace, agent, tool, status, version, created_at, updated_at,
             expires_at, lease_until)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (id) DO NOTHING",
    )?;
    let stored = statement.execute(rusqlite::params![
        task.id.as_bytes(),
        &*task.owner.namespace,
        &*task.owner.agent,
        task.tool,
        task.status.as_str(),
        task.version as i64,
        task.created_at.as_micros(),
        task.updated_at.as_micros(),
        task.expires_at.as_micros(),
        task.lease_until.as_micros(),
    ])?;
    if stored == 0 {
        return Err(rules::taken(task.id));
    }
    Ok(task)
}

/// How many tasks of `owner` a reader would see that have not ended.
fn open(batch: &Batch<'_>, owner: &AgentKey) -> Result<i64, StoreError> {
    let sql = concat!(
        "SELECT count(*) FROM mcp_task WHERE namespace = ?1 AND agent = ?2 AND ",
        open!(),
        " AND lease_until > ?3 AND expires_at > ?3"
    );
    let key = (&*owner.namespace, &*owner.agent, batch.now.as_micros());
    Ok(batch
        .connection
        .prepare_cached(sql)?
        .query_row(key, |row| row.get(0))?)
}

/// One task as it is now.
pub(super) fn get(
    connection: &Connection,
    owner: &AgentKey,
    id: Uuid,
    now: Timestamp,
) -> Result<McpTask, StoreError> {
    stored(connection, owner, id)?
        .as_of(now)
        .ok_or_else(rules::not_found)
}

/// One record as it was written.
fn stored(connection: &Connection, owner: &AgentKey, id: Uuid) -> Result<McpTask, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, namespace, agent, tool, status, version, created_at, updated_at, expires_at,
             lease_until, message, inputs, payload
         FROM mcp_task WHERE id = ?1 AND namespace = ?2 AND agent = ?3",
    )?;
    statement
        .query_row((id.as_bytes(), &*owner.namespace, &*owner.agent), task)
        .optional()?
        .ok_or_else(rules::not_found)
}

/// Applies `change`.
pub(super) fn update(
    batch: &mut Batch<'_>,
    owner: &AgentKey,
    id: Uuid,
    expected_version: Option<u64>,
    change: McpTaskChange,
) -> Result<McpTask, StoreError> {
    let stored = stored(batch.connection, owner, id)?;
    let task = rules::changed(stored, expected_version, change, batch.now)?;
    let mut statement = batch.connection.prepare_cached(
        "UPDATE mcp_task SET status = ?2, version = ?3, updated_at = ?4, lease_until = ?5,
             message = ?6, inputs = ?7, payload = ?8
         WHERE id = ?1",
    )?;
    statement.execute(rusqlite::params![
        id.as_bytes(),
        task.status.as_str(),
        task.version as i64,
        task.updated_at.as_micros(),
        task.lease_until.as_micros(),
        task.message,
        task.inputs.as_ref().map(JsonObject::as_str),
        task.payload.as_ref().map(JsonObject::as_str),
    ])?;
    Ok(task)
}

/// Renews leases that are not over.
pub(super) fn renew(batch: &mut Batch<'_>, ids: &[Uuid], lease_ms: u64) -> Result<(), StoreError> {
    let until = lease_end(batch.now, lease_ms)?;
    let mut statement = batch.connection.prepare_cached(concat!(
        "UPDATE mcp_task SET lease_until = ?2 WHERE id = ?1 AND ",
        open!(),
        " AND lease_until > ?3"
    ))?;
    for id in ids {
        let values = (id.as_bytes(), until.as_micros(), batch.now.as_micros());
        statement.execute(values)?;
    }
    Ok(())
}

/// Removes tasks whose time is over, and writes down which others have lost their server, as
/// [`McpTask::as_of`] tells it already; at most `limit` of each. Returns how many.
pub(super) fn sweep(batch: &mut Batch<'_>, limit: usize) -> Result<u64, StoreError> {
    let (now, limit) = (batch.now.as_micros(), limit as i64);
    let removed = batch
        .connection
        .prepare_cached(
            "DELETE FROM mcp_task WHERE id IN (
                 SELECT id FROM mcp_task WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
        )?
        .execute((now, limit))?;
    let failed = batch
        .connection
        .prepare_cached(concat!(
            "UPDATE mcp_task SET status = 'failed', version = version + 1,
                 updated_at = lease_until, message = ?3, payload = ?4
             WHERE id IN (
                 SELECT id FROM mcp_task WHERE ",
            open!(),
            " AND lease_until <= ?1 AND expires_at > ?1 ORDER BY lease_until LIMIT ?2)"
        ))?
        .execute((now, limit, GONE_MESSAGE, GONE_ERROR))?;
    Ok((removed + failed) as u64)
}

fn task(row: &Row<'_>) -> rusqlite::Result<McpTask> {
    let object = |column: usize| {
        let text = row.get_ref(column)?.as_str_or_null()?;
        text.map(|text| JsonObject::parse(text).ok_or_else(|| foreign(column)))
            .transpose()
    };
    let (created_at, expires_at) = (time(row, 6)?, time(row, 8)?);
    Ok(McpTask {
        id: Uuid::from_bytes(row.get(0)?),
        owner: agent_key(row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?),
        tool: row.get(3)?,
        status: McpTaskStatus::parse(row.get_ref(4)?.as_str()?).ok_or_else(|| foreign(4))?,
        version: row.get::<_, i64>(5)? as u64,
        created_at,
        updated_at: time(row, 7)?,
        ttl_ms: created_at.millis_until(expires_at),
        expires_at,
        lease_until: time(row, 9)?,
        message: row.get(10)?,
        inputs: object(11)?,
        payload: object(12)?,
    })
}
