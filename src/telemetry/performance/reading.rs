//! Everything that is counted, as it stands at one moment.

use std::time::Duration;

use super::kernel::Kernel;
use crate::telemetry::counter::Distribution;
use crate::telemetry::{Metrics, ShardMetrics};

/// What shards do not count, from those who do.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// What the kernel tells.
    pub kernel: Kernel,
    /// Sessions open.
    pub sessions: u64,
    /// The store.
    pub store: StoreLoad,
    /// Vectors.
    pub embedding: EmbeddingLoad,
    /// Letters that wait, by shard.
    pub letters: Vec<u64>,
    /// Changes that wait, by shard.
    pub changes: Vec<u64>,
    /// Mail that waits, by shard.
    pub mail: Vec<u64>,
}

/// How much the store has to do, and has done since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoreLoad {
    /// Writes that wait.
    pub writes: u64,
    /// Reads that wait.
    pub reads: u64,
    /// Of the embedded store.
    pub embedded: Option<EmbeddedLoad>,
}

/// What the embedded store has done since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct EmbeddedLoad {
    /// Time that the writer worked.
    pub writer_ns: u64,
    /// Time that the readers worked, of all together.
    pub reader_ns: u64,
    /// Readers.
    pub readers: u64,
    /// Requests that the writer ran.
    pub requests: u64,
    /// Transactions that carried them.
    pub transactions: u64,
    /// Transactions that failed.
    pub failures: u64,
}

/// How much is to be embedded, and has been since the model was loaded.
#[derive(Debug, Clone, Copy, Default)]
pub struct EmbeddingLoad {
    /// Questions that wait.
    pub queries: u64,
    /// Memories that wait.
    pub texts: u64,
    /// Threads; without any, vectors are made where they are asked for.
    pub threads: u64,
    /// Time that went into vectors, of all threads.
    pub busy_ns: u64,
    /// Refused because a queue was full.
    pub refused: u64,
}

/// Everything, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Since the start.
    pub at: Duration,
    /// What shards do not count.
    pub around: Around,
    /// By shard.
    pub shards: Vec<ShardReading>,
    /// By the index of the operation.
    pub operations: Vec<OperationReading>,
}

/// What one shard has counted: each is the number of `ShardMetrics` of that name.
#[derive(Debug, Clone, Default)]
pub struct ShardReading {
    pub turns: u64,
    pub turn_duration: Distribution,
    pub cpu_ns: u64,
    pub ring_depth: u64,
    pub buffers_lent: u64,
    pub buffers: u64,
    pub pool_exhausted: u64,
    pub accepts_paused: u64,
    pub connections_opened: u64,
    pub connections_closed: u64,
    pub connections_refused: u64,
    pub http_requests: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub messages_received: u64,
    pub messages_sent: u64,
    pub answers_reused: u64,
    pub slow_consumers: u64,
    pub notifications_dropped: u64,
    pub pings_unanswered: u64,
    pub protocol_violations: u64,
    pub delivery: DeliveryReading,
}

/// What its courier has counted, and holds: each is the number of `DeliveryMetrics` of that name.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeliveryReading {
    pub sent: u64,
    pub redelivered: u64,
    pub settled: u64,
    pub dropped: u64,
    pub expired: u64,
    pub dead: u64,
    pub connected: u64,
    pub waiting: u64,
    pub lanes: [u64; 4],
    pub staged: u64,
    pub in_window: u64,
    pub settling: u64,
    pub held_bytes: u64,
}

/// What was counted of one operation, on all shards.
#[derive(Debug, Clone, Default)]
pub struct OperationReading {
    /// Calls answered with a result.
    pub succeeded: u64,
    /// Calls answered with an error.
    pub failed: u64,
    /// How long they took.
    pub duration: Distribution,
}

impl Reading {
    /// Reads all counts; `around` was read with them.
    pub fn new(metrics: &Metrics, around: Around) -> Self {
        Self {
            at: metrics.started.elapsed(),
            around,
            shards: metrics.shards.iter().map(|shard| of_shard(shard)).collect(),
            operations: operations(metrics),
        }
    }

    /// The sum of one number over all shards.
    pub(super) fn total(&self, read: impl Fn(&ShardReading) -> u64) -> u64 {
        self.shards.iter().map(read).sum()
    }
}

/// What was counted of all operations, by their index.
pub fn operations(metrics: &Metrics) -> Vec<OperationReading> {
    let count = metrics.operation_names.len();
    (0..count)
        .map(|index| OperationReading {
            succeeded: metrics.total(|shard| shard.operations[index].succeeded.get()),
            failed: metrics.total(|shard| shard.operations[index].failed.get()),
            duration: metrics.operation(index),
        })
        .collect()
}

fn of_shard(shard: &ShardMetrics) -> ShardReading {
    let mut turn_duration = Distribution::default();
    shard.turn_duration.add_to(&mut turn_duration);
    let delivery = &shard.delivery;
    ShardReading {
        turns: shard.turns.get(),
        turn_duration,
        cpu_ns: shard.cpu_ns.get(),
        ring_depth: shard.ring_depth.get(),
        buffers_lent: shard.buffers_lent.get(),
        buffers: shard.buffers.get(),
        pool_exhausted: shard.pool_exhausted.get(),
        accepts_paused: shard.accepts_paused.get(),
        connections_opened: shard.connections_opened.get(),
        connections_closed: shard.connections_closed.get(),
        connections_refused: shard.connections_refused.get(),
        http_requests: shard.http_requests.get(),
        bytes_received: shard.bytes_received.get(),
        bytes_sent: shard.bytes_sent.get(),
        messages_received: shard.messages_received.get(),
        messages_sent: shard.messages_sent.get(),
        answers_reused: shard.answers_reused.get(),
        slow_consumers: shard.slow_consumers.get(),
        notifications_dropped: shard.notifications_dropped.get(),
        pings_unanswered: shard.pings_unanswered.get(),
        protocol_violations: shard.protocol_violations.get(),
        delivery: DeliveryReading {
            sent: delivery.sent.get(),
            redelivered: delivery.redelivered.get(),
            settled: delivery.settled.get(),
            dropped: delivery.dropped.get(),
            expired: delivery.expired.get(),
            dead: delivery.dead.get(),
            connected: delivery.connected.get(),
            waiting: delivery.waiting.get(),
            lanes: std::array::from_fn(|lane| delivery.lanes[lane].get()),
            staged: delivery.staged.get(),
            in_window: delivery.in_window.get(),
            settling: delivery.settling.get(),
            held_bytes: delivery.held_bytes.get(),
        },
    }
}
