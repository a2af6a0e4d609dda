//! What each shard counts.

use std::sync::Arc;
use std::time::Instant;

use super::counter::{Counter, Distribution, Gauge, Histogram};
use super::delivery::DeliveryMetrics;

/// Counts of one operation on one shard.
#[derive(Debug, Default)]
pub struct OperationMetrics {
    /// Calls answered with a result.
    pub succeeded: Counter,
    /// Calls answered with an error.
    pub failed: Counter,
    /// From the parsed request to the written answer.
    pub duration: Histogram,
}

/// Counts of one shard. Only its thread writes them.
#[derive(Debug, Default)]
pub struct ShardMetrics {
    /// WebSocket connections accepted.
    pub connections_opened: Counter,
    /// WebSocket connections gone.
    pub connections_closed: Counter,
    /// Connections refused by a cap.
    pub connections_refused: Counter,
    /// Requests served by HTTP.
    pub http_requests: Counter,
    /// WebSocket messages received.
    pub messages_received: Counter,
    /// WebSocket messages sent.
    pub messages_sent: Counter,
    /// Bytes received on WebSockets.
    pub bytes_received: Counter,
    /// Bytes sent on WebSockets.
    pub bytes_sent: Counter,
    /// Violations of RFC 6455 or JSON-RPC by peers.
    pub protocol_violations: Counter,
    /// Connections found dead by a missing pong.
    pub pings_unanswered: Counter,
    /// Connections closed for not reading.
    pub slow_consumers: Counter,
    /// Messages besides answers that found no room, as their peers do not read.
    pub notifications_dropped: Counter,
    /// Answers that were reused instead of computed.
    pub answers_reused: Counter,
    /// Turns that had work.
    pub turns: Counter,
    /// Time of a turn's work.
    pub turn_duration: Histogram,
    /// Sockets held by the backend.
    pub sockets: Gauge,
    /// Receive buffers lent.
    pub buffers_lent: Gauge,
    /// Receive buffers in the pool.
    pub buffers: Gauge,
    /// Times that the pool of receive buffers was empty.
    pub pool_exhausted: Gauge,
    /// Submissions of the latest turn.
    pub ring_depth: Gauge,
    /// Times that accepting stopped for want of descriptors.
    pub accepts_paused: Gauge,
    /// CPU time of its thread.
    pub cpu_ns: Gauge,
    /// Writes that wait in queues of the store that are its own.
    pub store_writes: Gauge,
    /// Reads that wait in queues of the store that are its own.
    pub store_reads: Gauge,
    /// What its courier does.
    pub delivery: DeliveryMetrics,
    /// By the index of the operation.
    pub operations: Vec<OperationMetrics>,
}

impl ShardMetrics {
    fn new(operations: usize) -> Self {
        Self {
            operations: std::iter::repeat_with(OperationMetrics::default)
                .take(operations)
                .collect(),
            ..Self::default()
        }
    }
}

/// The counts of all shards.
#[derive(Debug)]
pub struct Metrics {
    /// When the process began to serve.
    pub started: Instant,
    /// Names of the operations, by index.
    pub operation_names: Vec<&'static str>,
    /// One entry per shard.
    pub shards: Vec<Arc<ShardMetrics>>,
}

impl Metrics {
    /// Counters for `shards` shards and these operations.
    pub fn new(shards: usize, operation_names: Vec<&'static str>) -> Self {
        let count = operation_names.len();
        Self {
            started: Instant::now(),
            operation_names,
            shards: std::iter::repeat_with(|| Arc::new(ShardMetrics::new(count)))
                .take(shards)
                .collect(),
        }
    }

    /// The sum of one number over all shards.
    pub fn total(&self, read: impl Fn(&ShardMetrics) -> u64) -> u64 {
        self.shards.iter().map(|shard| read(shard)).sum()
    }

    /// WebSocket connections open now.
    pub fn connections(&self) -> u64 {
        let opened = self.total(|shard| shard.connections_opened.get());
        opened.saturating_sub(self.total(|shard| shard.connections_closed.get()))
    }

    /// Durations of one operation over all shards.
    pub fn operation(&self, index: usize) -> Distribution {
        let mut total = Distribution::default();
        for shard in &self.shards {
            shard.operations[index].duration.add_to(&mut total);
        }
        total
    }
}
