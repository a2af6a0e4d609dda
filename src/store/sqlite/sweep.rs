//! Removal of memories whose time to live has ended. Readers do not see them already; the sweep
//! gives their space back, on the writer thread, a bounded number at a time.

use rusqlite::Connection;

use super::writer::Batch;
use crate::domain::Timestamp;
use crate::store::StoreError;

/// Memories removed in one transaction: some 10 ms of the writer's time.
const SWEEP_MAX: usize = 500;

const EXPIRED: &str = "SELECT seq FROM memory WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2";

/// Is anything to be removed?
pub(super) fn is_due(connection: &Connection, now: Timestamp) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(EXPIRED)?
        .exists((now.as_micros(), 1))?)
}

/// Removes what expired first, with its history, grants and index entries.
pub(super) fn remove_expired(batch: &mut Batch<'_>) -> Result<(), StoreError> {
    let expired: Vec<i64> = batch
        .connection
        .prepare_cached(EXPIRED)?
        .query_map((batch.now.as_micros(), SWEEP_MAX as i64), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for seq in expired {
        remove(batch, seq)?;
    }
    Ok(())
}

/// Removes one memory and everything that hangs on it.
pub(super) fn remove(batch: &mut Batch<'_>, seq: i64) -> Result<(), StoreError> {
    batch
        .connection
        .prepare_cached("DELETE FROM memory WHERE seq = ?1")?
        .execute([seq])?;
    batch.touch(seq);
    Ok(())
}
