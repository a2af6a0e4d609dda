//! Latencies in a histogram of constant size: recording costs no allocation and no sort.

use std::time::Duration;

use serde::Serialize;

/// Buckets per power of two: a value is off by at most 1/64.
const STEPS_BITS: u32 = 5;
const STEPS: u64 = 1 << STEPS_BITS;

/// How many latencies fell into each range.
pub(crate) struct Latencies {
    counts: Vec<u64>,
    count: u64,
    max: u64,
}

/// What is reported of them, in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self {
            counts: vec![0; (64 << STEPS_BITS) as usize],
            count: 0,
            max: 0,
        }
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanoseconds)] += 1;
        self.count += 1;
        self.max = self.max.max(nanoseconds);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Takes in what others have recorded.
    pub(crate) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub(crate) fn summary(&self) -> Summary {
        let microseconds = |nanoseconds: u64| (nanoseconds as f64 / 10.0).round() / 100.0;
        Summary {
            p50_us: microseconds(self.quantile(0.50)),
            p90_us: microseconds(self.quantile(0.90)),
            p99_us: microseconds(self.quantile(0.99)),
            p999_us: microseconds(self.quantile(0.999)),
            max_us: microseconds(self.max),
        }
    }

    fn quantile(&self, share: f64) -> u64 {
        let rank = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank.max(1) {
                return middle(place as u64).min(self.max);
            }
        }
        self.max
    }
}

/// Values below `STEPS` have a bucket each; above, each power of two has `STEPS`.
fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let shift = value.ilog2() - STEPS_BITS;
    (u64::from(shift + 1) * STEPS + (value >> shift) - STEPS) as usize
}

/// A value in the middle of a bucket.
fn middle(bucket: u64) -> u64 {
    if bucket < STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    let low = (STEPS + bucket % STEPS) << shift;
    low + (1 << shift) / 2
}
