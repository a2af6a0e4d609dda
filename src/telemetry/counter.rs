//! Numbers that one thread writes and any thread reads.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that only grows. One thread writes, so an increment is a plain load and store, without
/// a locked instruction; a second writer would lose counts, not safety.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(amount),
            Ordering::Relaxed,
        );
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A value that rises and falls, written by one thread.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Replaces the value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value at present.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Durations in buckets of powers of two: from 1.024 us to 17 s, and one for longer ones.
pub const BUCKETS: usize = 26;

/// How long things took, written by one thread.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum_ns: Counter,
}

impl Histogram {
    /// Records one duration.
    pub fn record_ns(&self, duration_ns: u64) {
        self.buckets[Self::bucket(duration_ns)].add(1);
        self.sum_ns.add(duration_ns);
    }

    /// Records the same duration several times.
    pub fn record_many_ns(&self, duration_ns: u64, count: u64) {
        self.buckets[Self::bucket(duration_ns)].add(count);
        self.sum_ns.add(duration_ns * count);
    }

    fn bucket(duration_ns: u64) -> usize {
        // Bucket b holds what is at most 1024 << b.
        let units = duration_ns.saturating_sub(1) >> 10;
        ((u64::BITS - units.leading_zeros()) as usize).min(BUCKETS - 1)
    }

    /// The upper bound of a bucket in seconds, infinite for the last.
    pub fn bound_seconds(bucket: usize) -> f64 {
        if bucket == BUCKETS - 1 {
            f64::INFINITY
        } else {
            (1024_u64 << bucket) as f64 / 1e9
        }
    }

    /// Adds these counts to `total`.
    pub fn add_to(&self, total: &mut Distribution) {
        for (bucket, count) in self.buckets.iter().zip(&mut total.buckets) {
            *count += bucket.get();
        }
        total.sum_ns += self.sum_ns.get();
    }
}

/// A histogram summed over shards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Count per bucket.
    pub buckets: [u64; BUCKETS],
    /// Sum of all durations.
    pub sum_ns: u64,
}

impl Distribution {
    /// Durations recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, Distribution, Histogram};

    #[test]
    fn a_duration_falls_into_the_bucket_that_bounds_it() {
        for (ns, bucket) in [
            (0, 0),
            (1, 0),
            (1024, 0),
            (1025, 1),
            (2048, 1),
            (2049, 2),
            (u64::MAX, BUCKETS - 1),
        ] {
            assert_eq!(Histogram::bucket(ns), bucket, "{ns} ns");
            assert!(ns as f64 / 1e9 <= Histogram::bound_seconds(bucket));
        }
    }

    #[test]
    fn totals_add_up_over_shards() {
        let (first, second) = (Histogram::default(), Histogram::default());
        first.record_ns(10);
        second.record_ns(2000);
        let mut total = Distribution::default();
        first.add_to(&mut total);
        second.add_to(&mut total);
        assert_eq!((total.count(), total.sum_ns), (2, 2010));
    }
}
