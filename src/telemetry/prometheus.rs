//! The metrics in the Prometheus text format, through `prometheus-client`.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::counter::{BUCKETS, Distribution, Histogram};
use super::delivery;
use super::metrics::{Metrics, ShardMetrics};

/// The content type of [`encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Values that do not belong to a shard.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessValues {
    /// Sessions open now.
    pub sessions: u64,
    /// Distinct agents among them.
    pub agents: u64,
    /// Resident memory of the process.
    pub resident_bytes: u64,
}

/// All metrics as text.
pub fn encode(metrics: &Arc<Metrics>, values: ProcessValues) -> String {
    let mut registry = Registry::with_prefix("tmws");
    registry.register_collector(Box::new(Scrape {
        metrics: Arc::clone(metrics),
        values,
    }));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)
        .expect("writing to a string does not fail");
    text
}

#[derive(Debug)]
struct Scrape {
    metrics: Arc<Metrics>,
    values: ProcessValues,
}

type Read = fn(&ShardMetrics) -> u64;

/// Numbers of each shard under one name.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: MetricType,
    /// What tells its members apart besides the shard.
    pub(super) label: Option<&'static str>,
    /// The label's value and the number of each.
    pub(super) members: &'static [(&'static str, Read)],
}

const COUNTERS: &[(&str, &str, Read)] = &[
    (
        "websocket_connections_opened",
        "WebSocket connections accepted",
        |shard| shard.connections_opened.get(),
    ),
    (
        "websocket_connections_closed",
        "WebSocket connections gone",
        |shard| shard.connections_closed.get(),
    ),
    (
        "connections_refused",
        "Connections refused by a cap",
        |shard| shard.connections_refused.get(),
    ),
    ("http_requests", "Requests served by HTTP", |shard| {
        shard.http_requests.get()
    }),
    (
        "messages_received",
        "WebSocket messages received",
        |shard| shard.messages_received.get(),
    ),
    ("messages_sent", "WebSocket messages sent", |shard| {
        shard.messages_sent.get()
    }),
    ("received_bytes", "Bytes received on WebSockets", |shard| {
        shard.bytes_received.get()
    }),
    ("sent_bytes", "Bytes sent on WebSockets", |shard| {
        shard.bytes_sent.get()
    }),
    (
        "protocol_violations",
        "Violations of RFC 6455 or JSON-RPC by peers",
        |shard| shard.protocol_violations.get(),
    ),
    (
        "pings_unanswered",
        "Connections found dead by a missing pong",
        |shard| shard.pings_unanswered.get(),
    ),
    (
        "slow_consumers",
        "Connections closed for not reading",
        |shard| shard.slow_consumers.get(),
    ),
    (
        "notifications_dropped",
        "Messages besides answers that peers had no room for",
        |shard| shard.notifications_dropped.get(),
    ),
    (
        "answers_reused",
        "Answers that were reused instead of computed",
        |shard| shard.answers_reused.get(),
    ),
    ("turns", "Turns of a shard that had work", |shard| {
        shard.turns.get()
    }),
    (
        "buffer_pool_exhausted",
        "Times that the receive buffers ran out",
        |shard| shard.pool_exhausted.get(),
    ),
    (
        "accepts_paused",
        "Times that accepting stopped for want of descriptors",
        |shard| shard.accepts_paused.get(),
    ),
];

const GAUGES: &[(&str, &str, Read)] = &[
    ("sockets", "Sockets of the backend", |shard| {
        shard.sockets.get()
    }),
    ("buffers_lent", "Receive buffers in use", |shard| {
        shard.buffers_lent.get()
    }),
    ("buffers", "Receive buffers in the pool", |shard| {
        shard.buffers.get()
    }),
    ("ring_depth", "Submissions of the latest turn", |shard| {
        shard.ring_depth.get()
    }),
];

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_process(&mut encoder)?;
        for (name, help, read) in COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (index, shard) in self.metrics.shards.iter().enumerate() {
                let labels = [("shard", index.to_string())];
                ConstCounter::new(read(shard)).encode(family.encode_family(&labels)?)?;
            }
        }
        for (name, help, read) in GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (index, shard) in self.metrics.shards.iter().enumerate() {
                let labels = [("shard", index.to_string())];
                gauge(read(shard)).encode(family.encode_family(&labels)?)?;
            }
        }
        for family in delivery::FAMILIES {
            self.encode_family(family, &mut encoder)?;
        }
        self.encode_turns(&mut encoder)?;
        self.encode_operations(&mut encoder)
    }
}

impl Scrape {
    fn encode_process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let uptime = self.metrics.started.elapsed().as_secs_f64();
        let descriptor = encoder.encode_descriptor(
            "uptime",
            "Time since the start",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        ConstGauge::new(uptime).encode(descriptor)?;
        for (name, help, value) in [
            (
                "websocket_connections",
                "WebSocket connections open now",
                self.metrics.connections(),
            ),
            ("sessions", "Sessions open now", self.values.sessions),
            (
                "agents",
                "Distinct agents with an open session",
                self.values.agents,
            ),
            (
                "resident_bytes",
                "Resident memory of the process",
                self.values.resident_bytes,
            ),
        ] {
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            gauge(value).encode(descriptor)?;
        }
        Ok(())
    }

    fn encode_family(&self, from: &Family, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(from.name, from.help, None, from.kind)?;
        for (index, shard) in self.metrics.shards.iter().enumerate() {
            let index = index.to_string();
            for (value, read) in from.members {
                let mut labels = vec![("shard", index.as_str())];
                labels.extend(from.label.map(|label| (label, *value)));
                let encoder = family.encode_family(&labels)?;
                match from.kind {
                    MetricType::Counter => ConstCounter::new(read(shard)).encode(encoder)?,
                    _ => gauge(read(shard)).encode(encoder)?,
                }
            }
        }
        Ok(())
    }

    fn encode_turns(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "turn_duration",
            "Time of a turn's work",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for (index, shard) in self.metrics.shards.iter().enumerate() {
            let mut total = Distribution::default();
            shard.turn_duration.add_to(&mut total);
            total.encode_into(family.encode_family(&[("shard", index.to_string())])?)?;
        }
        Ok(())
    }

    fn encode_operations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut calls = encoder.encode_descriptor(
            "operation_calls",
            "Calls by operation and outcome",
            None,
            MetricType::Counter,
        )?;
        for (index, name) in self.metrics.operation_names.iter().enumerate() {
            let succeeded = self
                .metrics
                .total(|shard| shard.operations[index].succeeded.get());
            let failed = self
                .metrics
                .total(|shard| shard.operations[index].failed.get());
            for (outcome, count) in [("success", succeeded), ("error", failed)] {
                let labels = [("operation", *name), ("outcome", outcome)];
                ConstCounter::new(count).encode(calls.encode_family(&labels)?)?;
            }
        }
        let mut durations = encoder.encode_descriptor(
            "operation_duration",
            "From the parsed request to the written answer",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for (index, name) in self.metrics.operation_names.iter().enumerate() {
            let total = self.metrics.operation(index);
            total.encode_into(durations.encode_family(&[("operation", *name)])?)?;
        }
        Ok(())
    }
}

impl Distribution {
    fn encode_into(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let buckets: Vec<(f64, u64)> = (0..BUCKETS)
            .map(|bucket| (Histogram::bound_seconds(bucket), self.buckets[bucket]))
            .collect();
        let sum = self.sum_ns as f64 / 1e9;
        encoder.encode_histogram::<[(&str, &str); 0]>(sum, self.count(), &buckets, None)
    }
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{ProcessValues, encode};
    use crate::telemetry::{Metrics, ResumeOutcome};

    #[test]
    fn counts_of_shards_and_operations_appear_in_the_text() {
        let metrics = Arc::new(Metrics::new(2, vec!["system/health"]));
        metrics.shards[1].messages_received.add(3);
        metrics.shards[0].operations[0].succeeded.add(2);
        metrics.shards[0].operations[0].duration.record_ns(1500);
        metrics.shards[0].delivery.lanes[3].set(7);
        metrics.shards[1].delivery.dead.add(4);
        metrics.shards[1]
            .delivery
            .count_resume(ResumeOutcome::MessagesLost);
        let text = encode(&metrics, ProcessValues::default());
        for line in [
            "tmws_deliveries_waiting{shard=\"0\",lane=\"low\"} 7",
            "tmws_deliveries_dead_total{shard=\"1\"} 4",
            "tmws_session_resumes_total{shard=\"1\",outcome=\"messages_lost\"} 1",
            "tmws_messages_received_total{shard=\"1\"} 3",
            "tmws_operation_calls_total{operation=\"system/health\",outcome=\"success\"} 2",
            "tmws_operation_duration_seconds_count{operation=\"system/health\"} 1",
            "le=\"+Inf\",operation=\"system/health\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }
}
