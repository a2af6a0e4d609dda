//! Reads that were counted but not yet written.
//!
//! Invariants: readers add, the writer subtracts what it has committed; the map is bounded, and
//! what does not fit is not counted. A crash loses the counts of the last half second: they are
//! no acknowledged data. For the moment between a commit and its subtraction a count may be
//! seen twice or not at all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use parking_lot::Mutex;
use rusqlite::Connection;

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

    /// Adds `counts` to the stored ones; a memory that is gone is passed over.
    pub(super) fn write(connection: &Connection, counts: &[(i64, u64)]) -> Result<(), StoreError> {
        let mut add = connection.prepare_cached(
            "INSERT INTO memory_access (memory, count)
             SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM memory WHERE seq = ?1)
             ON CONFLICT (memory) DO UPDATE SET count = count + excluded.count",
        )?;
        for (seq, count) in counts {
            add.execute((seq, *count as i64))?;
        }
        Ok(())
    }
}
