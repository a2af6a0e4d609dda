//! Reads that were counted but not yet written.
//!
//! Invariants: readers add, the writer subtracts what it has committed; the map is bounded, and
//! what does not fit is not counted. A crash loses the counts of the last half second: they are
//! no acknowledged data. For the moment between a commit and its subtraction a count may be
//! seen twice or not at all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};

use super::rows::{optional_time, time};
use crate::domain::Timestamp;
use crate::domain::memory::{RELEVANCE_HALF_LIFE, RELEVANCE_NEW, decayed, reinforced};
use crate::store::StoreError;

/// Memories with unwritten counts: half a second at more reads than the reader threads manage.
const PENDING_MAX: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct AccessCounts(Mutex<HashMap<i64, u64>>);

impl AccessCounts {
    /// Counts one read of `seq`; returns how many are not yet written, this one included.
    pub(super) fn add(&self, seq: i64) -> u64 {
        let mut pending = self.0.lock();
        let room = pending.len() < PENDING_MAX;
        match pending.entry(seq) {
            Entry::Occupied(mut entry) => {
                *entry.get_mut() += 1;
                *entry.get()
            }
            Entry::Vacant(entry) if room => *entry.insert(1),
            Entry::Vacant(_) => 1,
        }
    }

    /// Everything that waits, by row, so that the writer walks the table once.
    pub(super) fn snapshot(&self) -> Vec<(i64, u64)> {
        let mut counts: Vec<_> = self
            .0
            .lock()
            .iter()
            .map(|(seq, count)| (*seq, *count))
            .collect();
        counts.sort_unstable();
        counts
    }

    /// Forgets what was written.
    pub(super) fn subtract(&self, written: &[(i64, u64)]) {
        let mut pending = self.0.lock();
        for (seq, count) in written {
            if let Entry::Occupied(mut entry) = pending.entry(*seq) {
                *entry.get_mut() -= count;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
    }

    /// Adds `counts` to the stored ones, and the reads to the relevance, as of `now`; a memory
    /// that is gone is passed over.
    pub(super) fn write(
        connection: &Connection,
        counts: &[(i64, u64)],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut known = connection.prepare_cached(
            "SELECT m.created_at, a.relevance, a.accessed_at
             FROM memory m LEFT JOIN memory_access a ON a.memory = m.seq WHERE m.seq = ?1",
        )?;
        let mut add = connection.prepare_cached(
            "INSERT INTO memory_access (memory, count, relevance, accessed_at)
             VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (memory) DO UPDATE SET count = count + excluded.count,
                 relevance = excluded.relevance, accessed_at = excluded.accessed_at",
        )?;
        for (seq, count) in counts {
            let before = known
                .query_row([seq], |row| {
                    let relevance = row.get::<_, Option<f64>>(1)?.unwrap_or(RELEVANCE_NEW);
                    let since = optional_time(row, 2)?.map_or_else(|| time(row, 0), Ok)?;
                    Ok(decayed(relevance, since, now, RELEVANCE_HALF_LIFE))
                })
                .optional()?;
            if let Some(before) = before {
                let relevance = reinforced(before, *count);
                add.execute((seq, *count as i64, relevance, now.as_micros()))?;
            }
        }
        Ok(())
    }
}
