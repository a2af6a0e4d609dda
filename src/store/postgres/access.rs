//! Reads that were counted but not yet written.
//!
//! Invariants: what waits is bounded, and what does not fit is not counted; a crash loses the
//! counts of the last half second: they are no acknowledged data. For the moment between a commit
//! and its subtraction a count may be seen twice or not at all.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::Shard;
use super::pool::Transaction;
use super::query::Query;
use super::scope::Scope;
use crate::domain::memory::{RELEVANCE_HALF_LIFE, RELEVANCE_NEW, reinforced};
use crate::store::StoreError;

/// Memories with unwritten counts.
const PENDING_MAX: usize = 65_536;
/// Half-lives beyond which nothing is left worth counting; more would be too small a number.
pub(super) const HALVINGS_MAX: f64 = 200.0;

/// The counts that wait, by row.
#[derive(Debug, Default)]
pub(super) struct AccessCounts(RefCell<HashMap<i64, i64>>);

impl AccessCounts {
    /// Counts one read of `seq`; returns how many are not yet written, this one included.
    pub(super) fn add(&self, seq: i64) -> u64 {
        let mut pending = self.0.borrow_mut();
        let room = pending.len() < PENDING_MAX;
        match pending.entry(seq) {
            Entry::Occupied(mut entry) => {
                *entry.get_mut() += 1;
                *entry.get() as u64
            }
            Entry::Vacant(entry) if room => *entry.insert(1) as u64,
            Entry::Vacant(_) => 1,
        }
    }

    /// Everything that waits, in the order of the rows, so that nodes lock them in one order.
    fn snapshot(&self) -> Vec<(i64, i64)> {
        let mut counts: Vec<_> = self
            .0
            .borrow()
            .iter()
            .map(|(seq, count)| (*seq, *count))
            .collect();
        counts.sort_unstable();
        counts
    }

    /// Forgets what was written.
    fn subtract(&self, written: &[(i64, i64)]) {
        let mut pending = self.0.borrow_mut();
        for (seq, count) in written {
            if let Entry::Occupied(mut entry) = pending.entry(*seq) {
                *entry.get_mut() -= count;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
    }
}

/// `relevance` decayed from `since` to `$3` and raised by `count` reads, as SQL; the rules of
/// `domain::memory::relevance`.
macro_rules! reinforced_sql {
    ($relevance:literal, $since:literal, $count:literal) => {
        concat!(
            "1 - (1 - ",
            $relevance,
            " * power(0.5::float8, least(greatest($3 - ",
            $since,
            ", 0) / $4, $5))) * power($6, least(",
            $count,
            ", 1000))"
        )
    };
}

/// Adds what waits to the stored counts and to the relevance.
pub(super) async fn write(shard: &Shard) -> Result<(), StoreError> {
    let counts = shard.access.snapshot();
    if counts.is_empty() {
        return Ok(());
    }
    let now = shard.now();
    let sql = concat!(
        "INSERT INTO memory_access AS a (memory, count, relevance, accessed_at)
         SELECT m.seq, g.count, ",
        reinforced_sql!("$7", "m.created_at", "g.count"),
        ", $3
         FROM unnest($1, $2) AS g (seq, count) JOIN memory m ON m.seq = g.seq
         ORDER BY m.seq FOR KEY SHARE OF m
         ON CONFLICT (memory) DO UPDATE SET count = a.count + excluded.count,
             relevance = ",
        reinforced_sql!("a.relevance", "a.accessed_at", "excluded.count"),
        ",
             accessed_at = greatest(a.accessed_at, excluded.accessed_at)"
    );
    // The part of the way to 1 that a read leaves.
    let left = 1.0 - reinforced(0.0, 1);
    let work = async |transaction: &Transaction<'_>| {
        let query = Query::new(sql)
            .with(counts.iter().map(|(seq, _)| *seq).collect::<Vec<i64>>())
            .with(counts.iter().map(|(_, count)| *count).collect::<Vec<i64>>())
            .with(now.as_micros())
            .with(RELEVANCE_HALF_LIFE.as_micros() as f64)
            .with(HALVINGS_MAX)
            .with(left)
            .with(RELEVANCE_NEW);
        transaction.commit(vec![query]).await.map(drop)
    };
    shard.pool.transact(Scope::operator(), work).await?;
    shard.access.subtract(&counts);
    Ok(())
}
