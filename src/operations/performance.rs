//! `system/performance`: samples, the hottest operations, bottlenecks, and what helps.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use schemars::JsonSchema;
use serde::Deserialize;

use super::arguments::arguments;
use super::operation::{Operation, Scope};
use super::performance_report::{
    About, Advice, Bottleneck, HotOperation, Hottest, Point, Report, ShardTotals, Totals,
};
use super::services::{Context, Services};
use crate::config::limits::{HISTORY_POINTS_MAX, HOTTEST_MAX, SAMPLE_SECONDS, SAMPLES_KEPT_MAX};
use crate::domain::{Timestamp, Violation};
use crate::rpc::Fault;
use crate::telemetry::counter::Distribution;
use crate::telemetry::performance::{Facts, Figure, OperationReading, Sample, judge, operations};
use crate::telemetry::process::resident_bytes;
use crate::telemetry::{Metrics, ShardMetrics};

/// Seconds of one point of history unless the caller says otherwise.
const INTERVAL_DEFAULT: u64 = 60;
/// The longest interval: all that is kept.
const INTERVAL_MAX: u64 = SAMPLES_KEPT_MAX as u64 * SAMPLE_SECONDS;
/// Minutes of history that are kept.
const HISTORY_MINUTES_MAX: u64 = INTERVAL_MAX / 60;

pub(super) fn rows() -> Vec<Operation> {
    vec![
        Operation::ready("system/performance", performance)
            .tool("system_performance", "Show performance")
            .describe(
                "Report how busy the server is: CPU, memory, disk, network, shards, queues, the \
                 hottest operations, history, bottlenecks and what helps against them.",
            )
            .scope(Scope::SystemRead)
            .cost(5),
    ]
}

/// A group of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Metric {
    Cpu,
    Memory,
    Disk,
    Network,
}

const ALL: [Metric; 4] = [Metric::Cpu, Metric::Memory, Metric::Disk, Metric::Network];

arguments! {
    /// Of system/performance.
    Wanted {
        /// Groups of figures (all)
        metrics: Option<Vec<Metric>>,
        /// Seconds of each point of history (60)
        #[schemars(range(min = SAMPLE_SECONDS, max = INTERVAL_MAX))]
        interval: Option<u64>,
        /// Minutes of history (0: none)
        #[schemars(range(min = 0, max = HISTORY_MINUTES_MAX))]
        history_minutes: Option<u64>,
    }
}

fn performance(context: &Context<'_>, wanted: Wanted) -> Result<Report, Fault> {
    let interval = wanted.interval.unwrap_or(INTERVAL_DEFAULT);
    if !(SAMPLE_SECONDS..=INTERVAL_MAX).contains(&interval) {
        let text = format!("must be {SAMPLE_SECONDS} to {INTERVAL_MAX}");
        return Err(Violation::new("interval", text).into());
    }
    let minutes = wanted.history_minutes.unwrap_or(0);
    if minutes > HISTORY_MINUTES_MAX {
        let text = format!("must be 0 to {HISTORY_MINUTES_MAX}");
        return Err(Violation::new("history_minutes", text).into());
    }
    if (minutes * 60).div_ceil(interval) > HISTORY_POINTS_MAX {
        let least = (minutes * 60).div_ceil(HISTORY_POINTS_MAX);
        let text = format!("must be {least} or more for {minutes} minutes of history");
        return Err(Violation::new("interval", text).into());
    }
    let metrics = wanted.metrics.as_deref().unwrap_or(&ALL);
    let span = Duration::from_secs(minutes * 60);
    let interval = Duration::from_secs(interval);
    Ok(report(context.services, metrics, span, interval))
}

fn report(services: &Services, metrics: &[Metric], span: Duration, interval: Duration) -> Report {
    let history = &services.history;
    let now = services.metrics.started.elapsed();
    let wall = Timestamp::now();
    let point = |sample: &Sample| point(sample, metrics, (now, wall));
    let latest = history.latest();
    let bounds = history.bounds();
    let facts = Facts {
        recent: history.recent().unwrap_or_default(),
        bounds,
    };
    let mut report = Report {
        server: About {
            version: env!("CARGO_PKG_VERSION").into(),
            io: services.process.io.into(),
            store: services.process.store.into(),
            uptime_seconds: (now.as_secs_f64() * 1e3).trunc() / 1e3,
            shards: bounds.shards,
            cores: bounds.cores,
            connections_max: bounds.connections_max,
            compute_threads: bounds.compute_threads,
            sample_seconds: SAMPLE_SECONDS,
        },
        current: latest.as_ref().map(point),
        shards: latest
            .map(|sample| sample.shards.into_vec())
            .unwrap_or_default(),
        history: history
            .points(now, span, interval)
            .iter()
            .map(point)
            .collect(),
        totals: totals(services),
        operations: hottest(services, now),
        ..Report::default()
    };
    for finding in judge(&facts) {
        report.bottlenecks.push(Bottleneck {
            name: finding.name.into(),
            seen: finding.seen,
            figure: finding.figure.into(),
            limit: finding.limit.into(),
        });
        report.advice.push(Advice {
            bottleneck: finding.name.into(),
            key: finding.key.map(Cow::Borrowed),
            action: finding.action,
        });
    }
    report
}

/// A sample with its groups that were asked for; `now` is the moment on both clocks.
fn point(sample: &Sample, metrics: &[Metric], (now, wall): (Duration, Timestamp)) -> Point {
    let ago_us = now.saturating_sub(sample.at).as_micros() as i64;
    let has = |metric| metrics.contains(&metric);
    Point {
        at: Timestamp::from_micros(wall.as_micros() - ago_us).unwrap_or(wall),
        seconds: sample.seconds.into(),
        cpu: has(Metric::Cpu).then_some(sample.cpu),
        memory: has(Metric::Memory).then_some(sample.memory),
        disk: has(Metric::Disk).then_some(sample.disk),
        network: has(Metric::Network).then_some(sample.network),
        calls: sample.calls,
        queues: sample.queues,
        deliveries: sample.deliveries,
        troubles: sample.troubles,
    }
}

fn totals(services: &Services) -> Totals {
    let metrics = &services.metrics;
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let (mut calls, mut errors) = (0, 0);
    for index in 0..metrics.operation_names.len() {
        let failed = metrics.total(|shard| shard.operations[index].failed.get());
        calls += failed + metrics.total(|shard| shard.operations[index].succeeded.get());
        errors += failed;
    }
    let shard = |(index, shard): (usize, &Arc<ShardMetrics>)| {
        let mut turns = Distribution::default();
        shard.turn_duration.add_to(&mut turns);
        ShardTotals {
            shard: index as u64,
            turns: shard.turns.get(),
            turn_seconds: (turns.sum_ns as f64 / 1e9).into(),
            cpu_seconds: (shard.cpu_ns.get() as f64 / 1e9).into(),
            messages_received: shard.messages_received.get(),
            messages_sent: shard.messages_sent.get(),
        }
    };
    Totals {
        cpu_seconds: (cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9).into(),
        resident_bytes: resident_bytes().into(),
        connections: metrics.connections(),
        sessions: services.registry.presence().open,
        connections_opened: metrics.total(|shard| shard.connections_opened.get()),
        calls,
        errors,
        http_requests: metrics.total(|shard| shard.http_requests.get()),
        messages_received: metrics.total(|shard| shard.messages_received.get()),
        messages_sent: metrics.total(|shard| shard.messages_sent.get()),
        received_bytes: metrics.total(|shard| shard.bytes_received.get()),
        sent_bytes: metrics.total(|shard| shard.bytes_sent.get()),
        shards: metrics.shards.iter().enumerate().map(shard).collect(),
    }
}

fn hottest(services: &Services, now: Duration) -> Hottest {
    let metrics = &services.metrics;
    let (ago, before) = services.history.operations_before(now);
    let counted = operations(metrics);
    Hottest {
        seconds: ago.as_secs_f64().into(),
        last_minute: hot(metrics, &counted, &before),
        since_start: hot(metrics, &counted, &[]),
    }
}

/// What took most time since `before`, the hottest first.
fn hot(
    metrics: &Metrics,
    counted: &[OperationReading],
    before: &[OperationReading],
) -> Vec<HotOperation> {
    let fresh = OperationReading::default();
    let mut hot: Vec<(u64, HotOperation)> = counted
        .iter()
        .zip(&metrics.operation_names)
        .enumerate()
        .filter_map(|(index, (now, name))| {
            let before = before.get(index).unwrap_or(&fresh);
            let errors = now.failed.saturating_sub(before.failed);
            let calls = now.succeeded.saturating_sub(before.succeeded) + errors;
            let times = now.duration.since(&before.duration);
            let ms = |ns: Option<f64>| -> Figure { ns.map(|ns| ns / 1e6).into() };
            let operation = HotOperation {
                operation: Cow::Borrowed(*name),
                calls,
                errors,
                total_ms: ms(Some(times.sum_ns as f64)),
                mean_ms: ms(times.mean_ns()),
                p50_ms: ms(times.quantile_ns(0.5)),
                p99_ms: ms(times.quantile_ns(0.99)),
            };
            (calls > 0).then_some((times.sum_ns, operation))
        })
        .collect();
    hot.sort_by_key(|(sum_ns, _)| std::cmp::Reverse(*sum_ns));
    hot.truncate(HOTTEST_MAX);
    hot.into_iter().map(|(_, operation)| operation).collect()
}

#[cfg(test)]
mod tests {
    use super::{HOTTEST_MAX, hot};
    use crate::telemetry::Metrics;
    use crate::telemetry::performance::operations;

    #[test]
    fn the_hottest_operations_are_those_that_took_most_time_since() {
        let names: Vec<&'static str> = (0..HOTTEST_MAX + 3)
            .map(|number| &*Box::leak(format!("op/{number}").into_boxed_str()))
            .collect();
        let metrics = Metrics::new(2, names);
        let shard = &metrics.shards[0].operations;
        // Often and fast, seldom and slow, and everything else once.
        shard[0].succeeded.add(1_000);
        shard[0].duration.record_many_ns(2_000, 1_000);
        shard[1].succeeded.add(1);
        shard[1].failed.add(1);
        shard[1].duration.record_many_ns(3_000_000, 2);
        let before = operations(&metrics);
        let all = hot(&metrics, &before, &[]);
        let named: Vec<_> = all.iter().map(|operation| &*operation.operation).collect();
        assert_eq!(named, ["op/1", "op/0"], "what was not called is not told");
        assert_eq!((all[0].calls, all[0].errors), (2, 1));
        assert_eq!(all[0].total_ms.get(), Some(6.0));
        assert_eq!(all[0].mean_ms.get(), Some(3.0));
        assert!(all[0].p99_ms.or_zero() >= 2.0 && all[1].p50_ms.or_zero() <= 0.002_048);
        for operation in &metrics.shards[1].operations {
            operation.succeeded.add(1);
            operation.duration.record_ns(10_000);
        }
        let since = hot(&metrics, &operations(&metrics), &before);
        assert_eq!(since.len(), HOTTEST_MAX, "a bounded number is told");
        assert!(since.iter().all(|operation| operation.calls == 1));
    }
}
