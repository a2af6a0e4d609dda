//! Removal of what has expired and of what nobody uses.
//!
//! Readers do not see expired memories already; removing them gives their space back, a bounded
//! number at a time. Invariant: of all nodes one works at it at a time.

use std::rc::Rc;
use std::time::Duration;

use super::pool::Transaction;
use super::query::Query;
use super::rows::{column, foreign};
use super::scope::Scope;
use super::{Shard, access, graph, idempotency, mcp_tasks, messages};
use crate::domain::memory::RELEVANCE_NEW;
use crate::domain::{Retention, UpkeepReport};
use crate::store::StoreError;

/// Memories, MCP tasks or messages removed in one transaction.
const SWEEP_MAX: i64 = 500;
/// Access counts and expired memories are seen to this often.
const TURN: Duration = Duration::from_millis(500);
/// Turns between two looks at the graphs.
const GRAPH_TURNS: u32 = 8;
/// Names the lock of whoever does the upkeep, until its transaction ends.
const UPKEEP_LOCK: i64 = 0x746d_7775;
/// The name that the history gives for what the server did by itself.
const SERVER: &str = "server";

const REMOVE_EXPIRED: &str = "WITH turn AS MATERIALIZED (
        SELECT pg_try_advisory_xact_lock($3) AS ours
    ), expired AS MATERIALIZED (
        SELECT seq FROM memory
        WHERE expires_at <= $1 AND (SELECT ours FROM turn)
        ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ), removed AS (
        DELETE FROM memory WHERE seq IN (SELECT seq FROM expired) RETURNING 1
    )
    SELECT count(*), (SELECT ours FROM turn) FROM removed";

/// Writes counts and removes what has expired, turn by turn, for ever.
pub(super) async fn run(shard: Rc<Shard>) {
    let mut turns: u32 = 0;
    loop {
        tokio::time::sleep(TURN).await;
        turns = turns.wrapping_add(1);
        // While PostgreSQL is down each of these fails at once, and the next turn tries again.
        let turn = async {
            access::write(&shard).await?;
            sweep(&shard).await?;
            if turns % GRAPH_TURNS == 1 {
                graph::look(&shard).await?;
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = turn.await {
            tracing::debug!(%error, "upkeep waits");
        }
    }
}

async fn sweep(shard: &Shard) -> Result<(), StoreError> {
    let due = Query::new("SELECT 1 FROM memory WHERE expires_at <= $1 LIMIT 1");
    let due = due.with(shard.now().as_micros());
    let answers = shard.pool.read(&Scope::operator(), vec![due]).await?;
    if answers[0].is_empty() {
        return Ok(());
    }
    let work = async |transaction: &Transaction<'_>| {
        transaction
            .commit(vec![remove_expired(shard)])
            .await
            .map(drop)
    };
    shard.pool.transact(Scope::operator(), work).await
}

fn remove_expired(shard: &Shard) -> Query {
    Query::new(REMOVE_EXPIRED)
        .with(shard.now().as_micros())
        .with(SWEEP_MAX)
        .with(UPKEEP_LOCK)
}

/// One run: removes what has expired, sees to the MCP tasks and to messages, and deletes what nobody
/// uses; its history stays.
pub(super) async fn once(
    shard: &Rc<Shard>,
    retention: Retention,
) -> Result<UpkeepReport, StoreError> {
    let work = async |transaction: &Transaction<'_>| {
        let answers = transaction.run(vec![remove_expired(shard)]).await?;
        let mut report = UpkeepReport::default();
        let Some(row) = answers[0].first() else {
            return Ok(report);
        };
        report.expired = column::<i64>(row, 0)? as u64;
        let ours: bool = column(row, 1)?;
        if !ours {
            return Ok(report);
        }
        let sweeps = vec![
            mcp_tasks::sweep(shard.now(), SWEEP_MAX),
            idempotency::sweep(shard.now(), SWEEP_MAX),
        ];
        let answers = transaction.run(sweeps).await?;
        let row = answers[0].first().ok_or_else(foreign)?;
        report.mcp_tasks = column::<i64>(row, 0)? as u64;
        let row = answers[1].first().ok_or_else(foreign)?;
        report.idempotency_keys = column::<i64>(row, 0)? as u64;
        messages::sweep(
            shard,
            transaction,
            retention.session_window,
            SWEEP_MAX,
            &mut report,
        )
        .await?;
        if retention.prune_below > 0.0 {
            let answers = transaction.run(vec![prune(shard, &retention)]).await?;
            report.pruned = answers[0]
                .first()
                .map_or(Ok(0), |row| column::<i64>(row, 0))? as u64;
        }
        Ok(report)
    };
    let report = shard.pool.transact(Scope::operator(), work).await?;
    graph::tend(shard).await?;
    Ok(report)
}

/// Deletes memories whose relevance times importance has fallen below the bound. System memories
/// are the admins' to remove. Logarithms, since the products of small numbers get too small.
fn prune(shard: &Shard, retention: &Retention) -> Query {
    let sql = "WITH unused AS MATERIALIZED (
            SELECT m.seq FROM memory m LEFT JOIN memory_access a ON a.memory = m.seq
            WHERE m.deleted_at IS NULL AND m.access <> 'system' AND m.created_at <= $1
              AND (m.expires_at IS NULL OR m.expires_at > $3)
              AND coalesce(ln(nullif(coalesce(a.relevance, $2), 0)), '-Infinity')
                + coalesce(ln(nullif(m.importance, 0)), '-Infinity')
                - greatest($3 - coalesce(a.accessed_at, m.created_at), 0) / $4 * ln(2::float8)
                < ln($5::float8)
            ORDER BY m.seq LIMIT $6 FOR UPDATE OF m SKIP LOCKED
        ), kept AS (
            INSERT INTO revision (memory, version, change, changed_by, recorded_at, tags,
                importance, superseded_by, content)
            SELECT seq, version, change, changed_by, updated_at, tags, importance, superseded_by,
                content
            FROM memory JOIN unused USING (seq)
        ), bare AS (
            DELETE FROM memory_vector WHERE memory IN (SELECT seq FROM unused)
        ), pruned AS (
            UPDATE memory SET version = version + 1, change = 'pruned', changed_by = $7,
                updated_at = $3, deleted_at = $3
            WHERE seq IN (SELECT seq FROM unused) RETURNING 1
        )
        SELECT count(*) FROM pruned";
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    let now = shard.now().as_micros();
    Query::new(sql)
        .with(now.saturating_sub(micros(retention.prune_age)))
        .with(RELEVANCE_NEW)
        .with(now)
        .with(micros(retention.half_life).max(1) as f64)
        .with(retention.prune_below)
        .with(SWEEP_MAX)
        .with(SERVER)
}
