//! A sample: what happened between two readings.

use std::time::Duration;

use super::figure::Figure;
use super::groups::{Calls, Cpu, Deliveries, Disk, Memory, Network, Queues, Shard, Troubles};
use super::reading::{DeliveryReading, Reading, ShardReading};

/// The figures of one interval, or of several that were joined.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Its end, since the start of the server.
    pub at: Duration,
    /// Its length, or that of all that were joined.
    pub seconds: f64,
    /// CPU of the process.
    pub cpu: Cpu,
    /// Memory of the process.
    pub memory: Memory,
    /// Disk.
    pub disk: Disk,
    /// Connections and what goes over them.
    pub network: Network,
    /// Calls of operations.
    pub calls: Calls,
    /// What waits.
    pub queues: Queues,
    /// Messages to sessions.
    pub deliveries: Deliveries,
    /// What should not happen.
    pub troubles: Troubles,
    /// By shard; only the samples of the latest minute keep them.
    pub shards: Box<[Shard]>,
}

impl Sample {
    /// What happened from `before` to `now`; `None` if no time has passed.
    pub(super) fn between(before: &Reading, now: &Reading) -> Option<Self> {
        let passed = now.at.checked_sub(before.at)?;
        let seconds = passed.as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let interval = Interval {
            before,
            now,
            seconds,
        };
        let shards: Box<[Shard]> = (0..now.shards.len()).map(|at| interval.shard(at)).collect();
        Some(Self {
            at: now.at,
            seconds,
            cpu: interval.cpu(&shards),
            memory: interval.memory(),
            disk: interval.disk(),
            network: interval.network(),
            calls: interval.calls(),
            queues: interval.queues(),
            deliveries: interval.deliveries(),
            troubles: interval.troubles(),
            shards,
        })
    }

    /// Several samples as one, the latest last; `None` of nothing.
    pub(super) fn join<'a>(
        parts: impl DoubleEndedIterator<Item = &'a Self> + Clone,
    ) -> Option<Self> {
        let latest = parts.clone().next_back()?;
        macro_rules! joined {
            ($group:ident, $name:ident) => {
                $group::join(parts.clone().map(|part| (part.seconds, &part.$name)))
            };
        }
        let shard = |index: usize| {
            let those = parts.clone().filter_map(move |part| {
                let shard = part.shards.get(index)?;
                Some((part.seconds, shard))
            });
            Shard::join(those)
        };
        Some(Self {
            at: latest.at,
            seconds: parts.clone().map(|part| part.seconds).sum(),
            cpu: joined!(Cpu, cpu),
            memory: joined!(Memory, memory),
            disk: joined!(Disk, disk),
            network: joined!(Network, network),
            calls: joined!(Calls, calls),
            queues: joined!(Queues, queues),
            deliveries: joined!(Deliveries, deliveries),
            troubles: joined!(Troubles, troubles),
            shards: (0..latest.shards.len()).map(shard).collect(),
        })
    }
}

/// Two readings and the time between them.
struct Interval<'a> {
    before: &'a Reading,
    now: &'a Reading,
    seconds: f64,
}

impl Interval<'_> {
    /// What a count rose by. One that fell began anew, with another model for instance.
    fn rise(&self, before: u64, now: u64) -> u64 {
        now.saturating_sub(before)
    }

    /// What a count of all shards rose by.
    fn count(&self, read: impl Fn(&ShardReading) -> u64) -> u64 {
        self.rise(self.before.total(&read), self.now.total(&read))
    }

    /// The same a second.
    fn rate(&self, read: impl Fn(&ShardReading) -> u64) -> Figure {
        (self.count(read) as f64 / self.seconds).into()
    }

    /// Nanoseconds of work, as a share of the time of so many workers.
    fn share(&self, before_ns: u64, now_ns: u64, workers: u64) -> f64 {
        let busy = self.rise(before_ns, now_ns) as f64 / 1e9;
        busy / self.seconds / workers.max(1) as f64
    }

    fn cpu(&self, shards: &[Shard]) -> Cpu {
        let (before, now) = (&self.before.around.kernel, &self.now.around.kernel);
        let share =
            |before: Option<f64>, now: Option<f64>| Some((now? - before?).max(0.0) / self.seconds);
        let user = share(before.user_seconds, now.user_seconds);
        let system = share(before.system_seconds, now.system_seconds);
        let of_shards = |read: fn(&Shard) -> Figure| {
            Figure::most(shards.iter().map(|shard| (self.seconds, read(shard))))
        };
        Cpu {
            user_share: user.into(),
            system_share: system.into(),
            share: user.zip(system).map(|(user, system)| user + system).into(),
            busiest_shard_share: of_shards(|shard| shard.turn_share),
            turn_p99_us: of_shards(|shard| shard.turn_p99_us),
            load_average: now.load_average.into(),
        }
    }

    fn memory(&self) -> Memory {
        let now = self.now;
        Memory {
            resident_bytes: now.around.kernel.resident_bytes.into(),
            buffers_lent: now.total(|shard| shard.buffers_lent).into(),
            buffers: now.total(|shard| shard.buffers).into(),
            deliveries_held_bytes: now.total(|shard| shard.delivery.held_bytes).into(),
        }
    }

    fn disk(&self) -> Disk {
        let (before, now) = (&self.before.around.kernel, &self.now.around.kernel);
        let rate = |before: Option<u64>, now: Option<u64>| {
            Some(self.rise(before?, now?) as f64 / self.seconds)
        };
        Disk {
            read_bytes_per_second: rate(before.read_bytes, now.read_bytes).into(),
            written_bytes_per_second: rate(before.written_bytes, now.written_bytes).into(),
            free_bytes: now.free_bytes.into(),
            size_bytes: now.size_bytes.into(),
        }
    }

    fn network(&self) -> Network {
        let now = self.now;
        let opened = now.total(|shard| shard.connections_opened);
        let closed = now.total(|shard| shard.connections_closed);
        Network {
            connections: opened.saturating_sub(closed).into(),
            connections_opened_per_second: self.rate(|shard| shard.connections_opened),
            sessions: now.around.sessions.into(),
            http_requests_per_second: self.rate(|shard| shard.http_requests),
            received_bytes_per_second: self.rate(|shard| shard.bytes_received),
            sent_bytes_per_second: self.rate(|shard| shard.bytes_sent),
            messages_received_per_second: self.rate(|shard| shard.messages_received),
            messages_sent_per_second: self.rate(|shard| shard.messages_sent),
            open_files: now.around.kernel.open_files.into(),
            open_files_max: now.around.kernel.open_files_max.into(),
        }
    }

    fn calls(&self) -> Calls {
        let sum = |reading: &Reading| {
            let operations = reading.operations.iter();
            operations.fold((0, 0, 0), |(calls, errors, ns), operation| {
                (
                    calls + operation.succeeded + operation.failed,
                    errors + operation.failed,
                    ns + operation.duration.sum_ns,
                )
            })
        };
        let (before, now) = (sum(self.before), sum(self.now));
        Calls {
            per_second: (self.rise(before.0, now.0) as f64 / self.seconds).into(),
            errors_per_second: (self.rise(before.1, now.1) as f64 / self.seconds).into(),
            reused_per_second: self.rate(|shard| shard.answers_reused),
            under_way: self.share(before.2, now.2, 1).into(),
        }
    }

    fn queues(&self) -> Queues {
        let (before, now) = (&self.before.around, &self.now.around);
        let embedded = now.store.embedded.zip(before.store.embedded);
        let embedding = (&before.embedding, &now.embedding);
        let deepest = |depths: &[u64]| depths.iter().copied().max();
        Queues {
            store_writes: now.store.writes.into(),
            store_reads: now.store.reads.into(),
            store_writer_share: embedded
                .map(|(now, before)| self.share(before.writer_ns, now.writer_ns, 1))
                .into(),
            store_reader_share: embedded
                .map(|(now, before)| self.share(before.reader_ns, now.reader_ns, now.readers))
                .into(),
            store_group: embedded
                .and_then(|(now, before)| {
                    let transactions = self.rise(before.transactions, now.transactions);
                    let requests = self.rise(before.requests, now.requests);
                    (transactions > 0).then(|| requests as f64 / transactions as f64)
                })
                .into(),
            embedding_queries: now.embedding.queries.into(),
            embedding_texts: now.embedding.texts.into(),
            compute_share: (now.embedding.threads > 0)
                .then(|| {
                    let (before, now) = embedding;
                    self.share(before.busy_ns, now.busy_ns, now.threads)
                })
                .into(),
            letters: deepest(&now.letters).into(),
            changes: deepest(&now.changes).into(),
            mail: deepest(&now.mail).into(),
        }
    }

    fn deliveries(&self) -> Deliveries {
        let now = |read: fn(&DeliveryReading) -> u64| -> Figure {
            self.now.total(|shard| read(&shard.delivery)).into()
        };
        let count = |read: fn(&DeliveryReading) -> u64| -> Figure {
            self.count(|shard| read(&shard.delivery)).into()
        };
        let rate = |read: fn(&DeliveryReading) -> u64| self.rate(|shard| read(&shard.delivery));
        Deliveries {
            sessions_connected: now(|delivery| delivery.connected),
            sessions_waiting: now(|delivery| delivery.waiting),
            urgent: now(|delivery| delivery.lanes[0]),
            high: now(|delivery| delivery.lanes[1]),
            normal: now(|delivery| delivery.lanes[2]),
            low: now(|delivery| delivery.lanes[3]),
            staged: now(|delivery| delivery.staged),
            in_window: now(|delivery| delivery.in_window),
            settling: now(|delivery| delivery.settling),
            sent_per_second: rate(|delivery| delivery.sent),
            repeated_per_second: rate(|delivery| delivery.redelivered),
            settled_per_second: rate(|delivery| delivery.settled),
            dropped: count(|delivery| delivery.dropped),
            expired: count(|delivery| delivery.expired),
            dead: count(|delivery| delivery.dead),
        }
    }

    fn troubles(&self) -> Troubles {
        let (before, now) = (&self.before.around, &self.now.around);
        let count = |read: fn(&ShardReading) -> u64| -> Figure { self.count(read).into() };
        let embedded = now.store.embedded.zip(before.store.embedded);
        Troubles {
            slow_consumers: count(|shard| shard.slow_consumers),
            notifications_dropped: count(|shard| shard.notifications_dropped),
            connections_refused: count(|shard| shard.connections_refused),
            pings_unanswered: count(|shard| shard.pings_unanswered),
            protocol_violations: count(|shard| shard.protocol_violations),
            buffers_exhausted: count(|shard| shard.pool_exhausted),
            accepts_paused: count(|shard| shard.accepts_paused),
            embeddings_refused: self
                .rise(before.embedding.refused, now.embedding.refused)
                .into(),
            store_failures: embedded
                .map(|(now, before)| self.rise(before.failures, now.failures))
                .into(),
        }
    }

    fn shard(&self, at: usize) -> Shard {
        let fresh = ShardReading::default();
        let before = self.before.shards.get(at).unwrap_or(&fresh);
        let now = &self.now.shards[at];
        let rate = |read: fn(&ShardReading) -> u64| -> Figure {
            (self.rise(read(before), read(now)) as f64 / self.seconds).into()
        };
        let turns = now.turn_duration.since(&before.turn_duration);
        let us = |ns: Option<f64>| ns.map(|ns| ns / 1e3);
        let depth = |depths: &[u64]| depths.get(at).copied();
        Shard {
            shard: (at as u64).into(),
            turns_per_second: rate(|shard| shard.turns),
            turn_share: self.share(0, turns.sum_ns, 1).into(),
            cpu_share: self.share(before.cpu_ns, now.cpu_ns, 1).into(),
            turn_mean_us: us(turns.mean_ns()).into(),
            turn_p99_us: us(turns.quantile_ns(0.99)).into(),
            ring_depth: now.ring_depth.into(),
            buffers_lent: now.buffers_lent.into(),
            buffers: now.buffers.into(),
            buffers_exhausted: self.rise(before.pool_exhausted, now.pool_exhausted).into(),
            connections: now
                .connections_opened
                .saturating_sub(now.connections_closed)
                .into(),
            messages_received_per_second: rate(|shard| shard.messages_received),
            messages_sent_per_second: rate(|shard| shard.messages_sent),
            letters: depth(&self.now.around.letters).into(),
            changes: depth(&self.now.around.changes).into(),
            mail: depth(&self.now.around.mail).into(),
        }
    }
}
