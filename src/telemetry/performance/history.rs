//! The samples of the latest hour.
//!
//! Invariants: what is kept is bounded; who reads does so from any thread and holds the writer up for
//! the time of a copy.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;

use super::reading::{OperationReading, Reading};
use super::sample::Sample;
use crate::config::limits::{SAMPLE_SECONDS, SAMPLES_KEPT_MAX};

/// Time over which bottlenecks are judged and the hottest operations are counted.
pub const RECENT: Duration = Duration::from_secs(60);
/// Samples of it, and one more to begin at.
const RECENT_SAMPLES: usize = (RECENT.as_secs() / SAMPLE_SECONDS) as usize;

/// What the configuration allows, for what is judged by it. A reload may change it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Cores that the process may use.
    pub cores: u64,
    /// Shards.
    pub shards: u64,
    /// WebSocket connections at once.
    pub connections_max: u64,
    /// Threads that compute vectors.
    pub compute_threads: u64,
    /// The store is the embedded one.
    pub embedded: bool,
}

/// The history, which one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct History {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bounds: Bounds,
    latest: Reading,
    samples: VecDeque<Sample>,
    /// What was counted of operations at the end of each recent sample, the oldest first.
    operations: VecDeque<(Duration, Vec<OperationReading>)>,
}

impl History {
    /// A history that begins with `reading`.
    pub fn new(reading: Reading, bounds: Bounds) -> Self {
        let operations = VecDeque::from([(reading.at, reading.operations.clone())]);
        Self {
            state: Mutex::new(State {
                bounds,
                latest: reading,
                operations,
                samples: VecDeque::new(),
            }),
        }
    }

    /// Takes the sample that ends with `reading`.
    pub fn add(&self, reading: Reading) {
        let mut state = self.state.lock();
        let Some(sample) = Sample::between(&state.latest, &reading) else {
            return;
        };
        if state.samples.capacity() < SAMPLES_KEPT_MAX {
            // Written to and taken back, so that the process has the memory of a full hour from the first
            // sample on: what an operator sees grow later is something else.
            state.samples.resize_with(SAMPLES_KEPT_MAX, Sample::default);
            state.samples.clear();
        }
        if state.samples.len() >= SAMPLES_KEPT_MAX {
            state.samples.pop_front();
        }
        state.samples.push_back(sample);
        if let Some(older) = state.samples.len().checked_sub(RECENT_SAMPLES + 1) {
            state.samples[older].shards = Box::default();
        }
        if state.operations.len() > RECENT_SAMPLES {
            state.operations.pop_front();
        }
        state
            .operations
            .push_back((reading.at, reading.operations.clone()));
        state.latest = reading;
    }

    /// Notes what a reload has changed.
    pub fn set_bounds(&self, change: impl FnOnce(&mut Bounds)) {
        change(&mut self.state.lock().bounds);
    }

    /// What the configuration allows.
    pub fn bounds(&self) -> Bounds {
        self.state.lock().bounds
    }

    /// The latest sample; `None` in the first second of a server.
    pub fn latest(&self) -> Option<Sample> {
        self.state.lock().samples.back().cloned()
    }

    /// The samples of the latest minute as one.
    pub fn recent(&self) -> Option<Sample> {
        let state = self.state.lock();
        let skipped = state.samples.len().saturating_sub(RECENT_SAMPLES);
        Sample::join(state.samples.range(skipped..))
    }

    /// The samples that ended within `span` before `now`, those of each `interval` as one, the oldest
    /// first. Intervals without a sample are left out.
    pub fn points(&self, now: Duration, span: Duration, interval: Duration) -> Vec<Sample> {
        let state = self.state.lock();
        let place =
            |sample: &Sample| now.saturating_sub(sample.at).as_nanos() / interval.as_nanos().max(1);
        let inside = |sample: &Sample| now.saturating_sub(sample.at) < span;
        let first = state.samples.partition_point(|sample| !inside(sample));
        let mut points = Vec::new();
        let mut begin = first;
        for at in first + 1..=state.samples.len() {
            let ends = at == state.samples.len()
                || place(&state.samples[at]) != place(&state.samples[begin]);
            if ends {
                points.extend(Sample::join(state.samples.range(begin..at)));
                begin = at;
            }
        }
        points
    }

    /// What had been counted of operations a minute before `now`, or else when the server began; and
    /// how long before `now` that was.
    pub fn operations_before(&self, now: Duration) -> (Duration, Vec<OperationReading>) {
        let state = self.state.lock();
        let old_enough = |(at, _): &&(Duration, _)| now.saturating_sub(*at) >= RECENT;
        let found = state.operations.iter().rev().find(old_enough);
        match found.or_else(|| state.operations.front()) {
            Some((at, operations)) => (now.saturating_sub(*at), operations.clone()),
            None => (now, Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Bounds, History, RECENT_SAMPLES, SAMPLE_SECONDS, SAMPLES_KEPT_MAX};
    use crate::telemetry::Metrics;
    use crate::telemetry::performance::reading::{Around, Reading};
    use crate::telemetry::performance::{EmbeddedLoad, Kernel};

    /// A reading of the counts at this second.
    fn reading(metrics: &Metrics, second: u64, around: Around) -> Reading {
        let mut reading = Reading::new(metrics, around);
        reading.at = Duration::from_secs(second);
        reading
    }

    fn busy(seconds: f64) -> Around {
        Around {
            kernel: Kernel {
                user_seconds: Some(seconds),
                system_seconds: Some(seconds / 2.0),
                ..Kernel::default()
            },
            ..Around::default()
        }
    }

    #[test]
    fn a_sample_tells_what_happened_since_the_last_one() {
        let metrics = Metrics::new(2, vec!["system/health"]);
        let history = History::new(reading(&metrics, 0, busy(1.0)), Bounds::default());
        assert!(history.latest().is_none() && history.recent().is_none());
        let shard = &metrics.shards[1];
        shard.turns.add(100);
        for _ in 0..100 {
            shard.turn_duration.record_ns(10_000_000);
        }
        shard.cpu_ns.set(2_000_000_000);
        shard.messages_received.add(50);
        shard.connections_opened.add(3);
        shard.connections_closed.add(1);
        shard.slow_consumers.add(2);
        shard.delivery.lanes[3].set(9);
        shard.operations[0].succeeded.add(8);
        shard.operations[0].failed.add(2);
        shard.operations[0].duration.record_many_ns(500_000_000, 10);
        let mut around = busy(3.5);
        around.letters = vec![4, 7];
        history.add(reading(&metrics, 5, around));
        let sample = history.latest().unwrap();
        assert_eq!(sample.seconds, 5.0);
        for (figure, value) in [
            (sample.cpu.user_share, 0.5),
            (sample.cpu.share, 0.75),
            (sample.cpu.busiest_shard_share, 0.2),
            (sample.network.messages_received_per_second, 10.0),
            (sample.network.connections, 2.0),
            (sample.troubles.slow_consumers, 2.0),
            (sample.deliveries.low, 9.0),
            (sample.calls.per_second, 2.0),
            (sample.calls.errors_per_second, 0.4),
            (sample.calls.under_way, 1.0),
            (sample.queues.letters, 7.0),
            (sample.shards[1].turns_per_second, 20.0),
            (sample.shards[1].turn_share, 0.2),
            (sample.shards[1].cpu_share, 0.4),
            (sample.shards[1].turn_mean_us, 10_000.0),
            (sample.shards[1].letters, 7.0),
            (sample.shards[0].turns_per_second, 0.0),
        ] {
            assert!(
                (figure.get().unwrap() - value).abs() < 1e-9,
                "{figure:?} is not {value}"
            );
        }
        let p99 = sample.shards[1].turn_p99_us.get().unwrap();
        assert!((8_388.0..=16_778.0).contains(&p99), "{p99}");
        assert_eq!(sample.shards[0].turn_p99_us.get(), None);
        assert_eq!(
            sample.memory.resident_bytes.get(),
            None,
            "what is not known is not 0"
        );
        // Nothing more has happened.
        history.add(reading(&metrics, 10, busy(3.5)));
        let sample = history.latest().unwrap();
        assert_eq!(sample.calls.per_second.get(), Some(0.0));
        assert_eq!(sample.troubles.slow_consumers.get(), Some(0.0));
        let recent = history.recent().unwrap();
        assert_eq!(recent.seconds, 10.0);
        assert_eq!(recent.calls.per_second.get(), Some(1.0));
        assert_eq!(recent.troubles.slow_consumers.get(), Some(2.0));
        assert_eq!(recent.shards[1].turn_share.get(), Some(0.1));
    }

    #[test]
    fn the_work_of_the_store_and_of_the_model_are_shares_of_their_time() {
        let metrics = Metrics::new(1, Vec::new());
        let around = |seconds: u64| {
            let mut around = Around::default();
            around.store.embedded = Some(EmbeddedLoad {
                writer_ns: seconds * 500_000_000,
                reader_ns: seconds * 500_000_000,
                readers: 2,
                requests: seconds * 30,
                transactions: seconds * 3,
                failures: seconds,
            });
            around.embedding.threads = 4;
            around.embedding.busy_ns = seconds * 1_000_000_000;
            around
        };
        let history = History::new(reading(&metrics, 0, around(0)), Bounds::default());
        history.add(reading(&metrics, 5, around(5)));
        let sample = history.latest().unwrap();
        let queues = sample.queues;
        assert_eq!(queues.store_writer_share.get(), Some(0.5));
        assert_eq!(queues.store_reader_share.get(), Some(0.25));
        assert_eq!(queues.store_group.get(), Some(10.0));
        assert_eq!(queues.compute_share.get(), Some(0.25));
        assert_eq!(sample.troubles.store_failures.get(), Some(5.0));
        // A model that was replaced counts from 0, and a database has no writer of ours.
        history.add(reading(&metrics, 10, Around::default()));
        let queues = history.latest().unwrap().queues;
        assert_eq!(queues.store_writer_share.get(), None);
        assert_eq!(queues.compute_share.get(), None);
    }

    #[test]
    fn an_hour_is_kept_and_averaged() {
        let metrics = Metrics::new(2, Vec::new());
        let history = History::new(reading(&metrics, 0, busy(0.0)), Bounds::default());
        let count = SAMPLES_KEPT_MAX as u64 + 10;
        for number in 1..=count {
            metrics.shards[0]
                .messages_received
                .add(5 * (1 + number % 2));
            history.add(reading(&metrics, number * SAMPLE_SECONDS, busy(0.0)));
        }
        let now = Duration::from_secs(count * SAMPLE_SECONDS);
        let hour = Duration::from_secs(3_600);
        let all = history.points(now, hour, Duration::from_secs(SAMPLE_SECONDS));
        assert_eq!(all.len(), SAMPLES_KEPT_MAX);
        let minutes = history.points(now, hour, Duration::from_secs(60));
        assert_eq!(minutes.len(), 60);
        for minute in &minutes {
            assert_eq!(
                (
                    minute.seconds,
                    minute.network.messages_received_per_second.get()
                ),
                (60.0, Some(1.5))
            );
        }
        assert!(minutes.windows(2).all(|pair| pair[0].at < pair[1].at));
        assert_eq!(minutes.last().unwrap().at, now);
        let ten = history.points(now, Duration::from_secs(600), Duration::from_secs(300));
        assert_eq!(ten.len(), 2);
        // Only the latest minute knows its shards one by one.
        let with_shards = all
            .iter()
            .filter(|sample| !sample.shards.is_empty())
            .count();
        assert_eq!(with_shards, RECENT_SAMPLES);
        assert_eq!(history.recent().unwrap().shards.len(), 2);
        assert!(history.points(now, Duration::ZERO, hour).is_empty());
    }

    #[test]
    fn operations_are_counted_over_the_latest_minute() {
        let metrics = Metrics::new(1, vec!["system/health"]);
        let history = History::new(reading(&metrics, 0, Around::default()), Bounds::default());
        for number in 1..=40 {
            metrics.shards[0].operations[0].succeeded.add(1);
            history.add(reading(
                &metrics,
                number * SAMPLE_SECONDS,
                Around::default(),
            ));
            let now = Duration::from_secs(number * SAMPLE_SECONDS);
            let (ago, before) = history.operations_before(now);
            let expected = number.saturating_sub(RECENT_SAMPLES as u64);
            assert_eq!(before[0].succeeded, expected);
            assert_eq!(ago.as_secs(), (number - expected) * SAMPLE_SECONDS);
        }
    }

    #[test]
    fn bounds_change_with_a_reload() {
        let metrics = Metrics::new(1, Vec::new());
        let history = History::new(reading(&metrics, 0, Around::default()), Bounds::default());
        history.set_bounds(|bounds| bounds.connections_max = 7);
        assert_eq!(history.bounds().connections_max, 7);
    }
}
