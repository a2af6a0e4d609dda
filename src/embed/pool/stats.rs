//! What the pool has done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EmbedStats {
    /// Queries asked for.
    pub queries: u64,
    /// Memories asked for.
    pub texts: u64,
    /// Queries answered from the cache; the others missed it.
    pub cache_hits: u64,
    /// Refused because a queue was full.
    pub busy: u64,
    /// Texts that got an error instead of a vector.
    pub failures: u64,
    /// Time spent making vectors, over all threads.
    pub time: Duration,
}

/// What waits at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Busyness {
    /// Queries.
    pub queries: usize,
    /// Memories.
    pub texts: usize,
}

/// A count that several threads raise.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) queries: Count,
    pub(super) texts: Count,
    pub(super) cache_hits: Count,
    pub(super) busy: Count,
    pub(super) failures: Count,
    time_ns: Count,
}

impl Counters {
    pub(super) fn time(&self, spent: Duration) {
        self.time_ns.add(spent.as_nanos() as u64);
    }

    pub(super) fn snapshot(&self) -> EmbedStats {
        EmbedStats {
            queries: self.queries.get(),
            texts: self.texts.get(),
            cache_hits: self.cache_hits.get(),
            busy: self.busy.get(),
            failures: self.failures.get(),
            time: Duration::from_nanos(self.time_ns.get()),
        }
    }
}
