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

    /// What was recorded since `earlier` was read from the same histograms.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut buckets = self.buckets;
        for (bucket, before) in buckets.iter_mut().zip(&earlier.buckets) {
            *bucket = bucket.saturating_sub(*before);
        }
        Self {
            buckets,
            sum_ns: self.sum_ns.saturating_sub(earlier.sum_ns),
        }
    }

    /// The mean in nanoseconds; `None` of nothing.
    pub fn mean_ns(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum_ns as f64 / count as f64)
    }

    /// The duration in nanoseconds that this share of them did not exceed; `None` of nothing. Within a
    /// bucket they are taken to be spread evenly, so it is exact to a factor of two. What is longer than
    /// the longest bound counts as that.
    pub fn quantile_ns(&self, share: f64) -> Option<f64> {
        let wanted = self.count() as f64 * share;
        let mut below = 0.0;
        let mut lower_ns = 0.0;
        for (bucket, &count) in self.buckets.iter().enumerate() {
            let upper_ns = (1024_u64 << bucket.min(BUCKETS - 2)) as f64;
            let count = count as f64;
            if count > 0.0 && below + count >= wanted {
                return Some(lower_ns + (upper_ns - lower_ns) * ((wanted - below) / count));
            }
            below += count;
            lower_ns = upper_ns;
        }
        None
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

    #[test]
    fn a_quantile_lies_in_the_bucket_of_its_duration() {
        let histogram = Histogram::default();
        histogram.record_many_ns(1_500, 99);
        let mut before = Distribution::default();
        histogram.add_to(&mut before);
        assert_eq!(Distribution::default().quantile_ns(0.5), None);
        assert_eq!(Distribution::default().mean_ns(), None);
        let half = before.quantile_ns(0.5).unwrap();
        assert!((1_024.0..=2_048.0).contains(&half), "{half}");
        histogram.record_ns(1_000_000);
        histogram.record_ns(u64::MAX / 2);
        let mut after = Distribution::default();
        histogram.add_to(&mut after);
        let most = after.quantile_ns(0.98).unwrap();
        assert!((1_024.0..=2_048.0).contains(&most), "{most}");
        let new = after.since(&before);
        assert_eq!(new.count(), 2);
        let middle = new.quantile_ns(0.5).unwrap();
        assert!((524_288.0..=1_048_576.0).contains(&middle), "{middle}");
        // Nothing is told beyond the longest bound.
        assert_eq!(
            new.quantile_ns(1.0),
            Some((1024_u64 << (BUCKETS - 2)) as f64)
        );
    }
}
