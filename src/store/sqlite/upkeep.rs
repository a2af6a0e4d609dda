//! Removal of what has expired and of what nobody uses.
//!
//! Readers do not see expired memories already; removing them gives their space back, on the writer
//! thread, a bounded number at a time.

use rusqlite::Connection;
use uuid::Uuid;

use super::rows::by_seq;
use super::writer::Batch;
use super::{change, idempotency, mcp_tasks, messages, vectors};
use crate::domain::memory::RELEVANCE_NEW;
use crate::domain::{Retention, Timestamp, UpkeepReport};
use crate::store::StoreError;

/// Memories, MCP tasks or messages removed in one transaction: some 10 ms of the writer's time.
pub(super) const SWEEP_MAX: usize = 500;

/// The name that the history gives for what the server did by itself.
const SERVER: &str = "server";

const EXPIRED: &str = "SELECT seq FROM memory WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2";

/// Is anything to be removed?
pub(super) fn is_due(connection: &Connection, now: Timestamp) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(EXPIRED)?
        .exists((now.as_micros(), 1))?)
}

/// Removes what expired first, with its history, grants and vectors.
pub(super) fn remove_expired(batch: &mut Batch<'_>, limit: usize) -> Result<u64, StoreError> {
    let expired: Vec<i64> = batch
        .connection
        .prepare_cached(EXPIRED)?
        .query_map((batch.now.as_micros(), limit as i64), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for seq in &expired {
        remove(batch, *seq)?;
    }
    Ok(expired.len() as u64)
}

/// Removes one memory and everything that hangs on it.
pub(super) fn remove(batch: &mut Batch<'_>, seq: i64) -> Result<(), StoreError> {
    vectors::remove(batch.connection, seq)?;
    batch
        .connection
        .prepare_cached("DELETE FROM memory WHERE seq = ?1")?
        .execute([seq])?;
    batch.touch(seq);
    Ok(())
}

/// One run for `node`: removes what has expired, sees to the MCP tasks and to messages, and deletes
/// what nobody uses; its history stays.
pub(super) fn run(
    batch: &mut Batch<'_>,
    node: Uuid,
    retention: &Retention,
) -> Result<UpkeepReport, StoreError> {
    let mut report = UpkeepReport {
        expired: remove_expired(batch, SWEEP_MAX)?,
        mcp_tasks: mcp_tasks::sweep(batch, SWEEP_MAX)?,
        idempotency_keys: idempotency::sweep(batch, SWEEP_MAX)?,
        ..UpkeepReport::default()
    };
    messages::sweep(
        batch,
        node,
        retention.session_window,
        SWEEP_MAX,
        &mut report,
    )?;
    if retention.prune_below <= 0.0 {
        return Ok(report);
    }
    for seq in unused(batch, retention)? {
        if let Some(stored) = by_seq(batch.connection, seq, batch.now)? {
            let mut next = stored.clone();
            next.deleted = true;
            change::record(batch, &stored, next, "pruned", SERVER)?;
            report.pruned += 1;
        }
    }
    Ok(report)
}

/// Rows whose relevance times importance has fallen below the bound. System memories are the
/// admins' to remove.
fn unused(batch: &Batch<'_>, retention: &Retention) -> Result<Vec<i64>, StoreError> {
    let sql = "SELECT m.seq FROM memory m LEFT JOIN memory_access a ON a.memory = m.seq
         WHERE m.deleted_at IS NULL AND m.access <> 'system' AND m.created_at <= ?1
           AND m.importance * tmws_decayed(coalesce(a.relevance, ?2),
                   coalesce(a.accessed_at, m.created_at), ?3, ?4) < ?5
         ORDER BY m.seq LIMIT ?6";
    let micros = |duration: std::time::Duration| duration.as_micros() as i64;
    let now = batch.now.as_micros();
    let rows = batch
        .connection
        .prepare_cached(sql)?
        .query_map(
            rusqlite::params![
                now.saturating_sub(micros(retention.prune_age)),
                RELEVANCE_NEW,
                now,
                micros(retention.half_life),
                retention.prune_below,
                SWEEP_MAX as i64,
            ],
            |row| row.get(0),
        )?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}
