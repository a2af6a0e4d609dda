//! Records of MCP tasks.

use tokio_postgres::Row;
use uuid::Uuid;

use super::Shard;
use super::failure::Failure;
use super::pool::Transaction;
use super::query::Query;
use super::rows::{column, foreign, time};
use super::scope::Scope;
use crate::domain::mcp_task::{GONE_ERROR, GONE_MESSAGE, OPEN_MAX, lease_end};
use crate::domain::{
    AgentKey, JsonObject, McpTask, McpTaskChange, McpTaskStatus, NewMcpTask, Timestamp,
};
use crate::store::{StoreError, mcp_tasks as rules};

/// The first half of the locks under which an agent's open tasks are counted: "mcpt" in ASCII.
const OPEN_LOCK: i32 = 0x6d63_7074;

/// The statuses that are no end, in the words of the indexes.
macro_rules! open {
    () => {
        "status IN ('working', 'input_required')"
    };
}

/// The order of the columns is the order in which [`task`] reads them.
macro_rules! select {
    ($lock:literal) => {
        concat!(
            "SELECT id, namespace, agent, tool, status, version, created_at, updated_at,
                 expires_at, lease_until, message, inputs, payload
             FROM mcp_task WHERE id = $1 AND namespace = $2 AND agent = $3",
            $lock
        )
    };
}

/// Records a task, in one flight. Creations of one agent wait for each other, whatever node they
/// come from: each must count what the others have stored.
pub(super) async fn create(shard: &Shard, new: NewMcpTask) -> Result<McpTask, StoreError> {
    let task = new.begin(shard.now())?;
    let work = async |transaction: &Transaction<'_>| {
        let answers = transaction
            .commit(vec![turn(&task.owner), insertion(&task)])
            .await?;
        let row = answers[1].first().ok_or_else(foreign)?;
        rules::check_open(column(row, 0)?)?;
        if !column::<bool>(row, 1)? {
            return Err(rules::taken(task.id).into());
        }
        Ok(())
    };
    let scope = Scope::namespace(task.owner.namespace.clone());
    shard.pool.transact(scope, work).await?;
    Ok(task)
}

fn turn(owner: &AgentKey) -> Query {
    Query::new("SELECT pg_advisory_xact_lock($1, hashtext($2))")
        .with(OPEN_LOCK)
        .with(format!("{} {}", owner.namespace, owner.agent))
}

/// Stores the task if its owner has room and its id is free; tells how many are open, and whether
/// it was stored.
fn insertion(task: &McpTask) -> Query {
    let sql = concat!(
        "WITH open AS MATERIALIZED (
            SELECT count(*) AS tasks FROM mcp_task WHERE namespace = $2 AND agent = $3 AND ",
        open!(),
        " AND lease_until > $8 AND expires_at > $8
        ), stored AS (
            INSERT INTO mcp_task (id, namespace, agent, tool, status, version, created_at,
                updated_at, expires_at, lease_until)
            SELECT $1, $2, $3, $4, $5, $6, $8, $8, $9, $10 FROM open WHERE tasks < $7
            ON CONFLICT (id) DO NOTHING RETURNING 1
        )
        SELECT tasks, EXISTS (SELECT 1 FROM stored) FROM open"
    );
    Query::new(sql)
        .with(task.id)
        .with(task.owner.namespace.to_string())
        .with(task.owner.agent.to_string())
        .with(task.tool.clone())
        .with(task.status.as_str())
        .with(task.version as i64)
        .with(OPEN_MAX as i64)
        .with(task.created_at.as_micros())
        .with(task.expires_at.as_micros())
        .with(task.lease_until.as_micros())
}

/// One task as it is now.
pub(super) async fn get(shard: &Shard, owner: &AgentKey, id: Uuid) -> Result<McpTask, StoreError> {
    let scope = Scope::namespace(owner.namespace.clone());
    let query = of_owner(select!(""), owner, id);
    let answers = shard.pool.read(&scope, vec![query]).await?;
    let row = answers[0].first().ok_or_else(rules::not_found)?;
    task(row)?.as_of(shard.now()).ok_or_else(rules::not_found)
}

fn of_owner(sql: &'static str, owner: &AgentKey, id: Uuid) -> Query {
    Query::new(sql)
        .with(id)
        .with(owner.namespace.to_string())
        .with(owner.agent.to_string())
}

/// Applies `change` to the record as it is when its row is locked.
pub(super) async fn update(
    shard: &Shard,
    owner: &AgentKey,
    id: Uuid,
    expected_version: Option<u64>,
    change: McpTaskChange,
) -> Result<McpTask, StoreError> {
    let work = async |transaction: &Transaction<'_>| {
        let lock = of_owner(select!(" FOR NO KEY UPDATE"), owner, id);
        let answers = transaction.run(vec![lock]).await?;
        let stored = task(answers[0].first().ok_or_else(rules::not_found)?)?;
        let task = rules::changed(stored, expected_version, change.clone(), shard.now())?;
        transaction.commit(vec![write(&task)]).await?;
        Ok(task)
    };
    let scope = Scope::namespace(owner.namespace.clone());
    shard.pool.transact(scope, work).await
}

fn write(task: &McpTask) -> Query {
    let text = |object: &Option<JsonObject>| object.as_ref().map(|json| json.as_str().to_owned());
    Query::new(
        "UPDATE mcp_task SET status = $2, version = $3, updated_at = $4, lease_until = $5,
             message = $6, inputs = $7, payload = $8
         WHERE id = $1",
    )
    .with(task.id)
    .with(task.status.as_str())
    .with(task.version as i64)
    .with(task.updated_at.as_micros())
    .with(task.lease_until.as_micros())
    .with(task.message.clone())
    .with(text(&task.inputs))
    .with(text(&task.payload))
}

/// Renews leases that are not over.
pub(super) async fn renew(shard: &Shard, ids: Vec<Uuid>, lease_ms: u64) -> Result<(), StoreError> {
    let now = shard.now();
    let until = lease_end(now, lease_ms)?;
    let sql = concat!(
        "UPDATE mcp_task SET lease_until = $2 WHERE id = ANY ($1) AND ",
        open!(),
        " AND lease_until > $3"
    );
    let work = async |transaction: &Transaction<'_>| {
        let query = Query::new(sql)
            .with(ids.clone())
            .with(until.as_micros())
            .with(now.as_micros());
        transaction.commit(vec![query]).await.map(drop)
    };
    // The server renews for all whose tasks it runs.
    shard.pool.transact(Scope::operator(), work).await
}

/// The statement that removes tasks whose time is over, and writes down which others have lost
/// their server, as [`McpTask::as_of`] tells it already; at most `limit` of each. It tells how many.
pub(super) fn sweep(now: Timestamp, limit: i64) -> Query {
    let sql = concat!(
        "WITH over AS MATERIALIZED (
            SELECT id FROM mcp_task WHERE expires_at <= $1
            ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ), removed AS (
            DELETE FROM mcp_task WHERE id IN (SELECT id FROM over) RETURNING 1
        ), lost AS MATERIALIZED (
            SELECT id FROM mcp_task WHERE ",
        open!(),
        " AND lease_until <= $1 AND expires_at > $1
            ORDER BY lease_until LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
        ), failed AS (
            UPDATE mcp_task SET status = 'failed', version = version + 1,
                updated_at = lease_until, message = $3, payload = $4
            WHERE id IN (SELECT id FROM lost) RETURNING 1
        )
        SELECT (SELECT count(*) FROM removed) + (SELECT count(*) FROM failed)"
    );
    Query::new(sql)
        .with(now.as_micros())
        .with(limit)
        .with(GONE_MESSAGE)
        .with(GONE_ERROR)
}

fn task(row: &Row) -> Result<McpTask, Failure> {
    let object = |place: usize| {
        column::<Option<&str>>(row, place)?
            .map(|text| JsonObject::parse(text).ok_or_else(foreign))
            .transpose()
    };
    let (created_at, expires_at) = (time(row, 6)?, time(row, 8)?);
    Ok(McpTask {
        id: column(row, 0)?,
        owner: AgentKey {
            namespace: column::<&str>(row, 1)?.into(),
            agent: column::<&str>(row, 2)?.into(),
        },
        tool: column(row, 3)?,
        status: McpTaskStatus::parse(column(row, 4)?).ok_or_else(foreign)?,
        version: column::<i64>(row, 5)? as u64,
        created_at,
        updated_at: time(row, 7)?,
        ttl_ms: created_at.millis_until(expires_at),
        expires_at,
        lease_until: time(row, 9)?,
        message: column(row, 10)?,
        inputs: object(11)?,
        payload: object(12)?,
    })
}
