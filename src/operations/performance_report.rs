//! The performance report as it is written, and as the command line reads it.
//!
//! A reader takes what an older or newer server leaves out for nothing.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::telemetry::performance::{
    Calls, Cpu, Deliveries, Disk, Figure, Memory, Network, Queues, Shard, Troubles,
};

/// Of system/performance.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Report {
    /// The server that tells.
    pub server: About,
    /// The latest sample; none in the first second of a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Point>,
    /// The same of each shard.
    pub shards: Vec<Shard>,
    /// Samples of the minutes asked for, those of each interval averaged, the oldest first.
    pub history: Vec<Point>,
    /// Counts since the start, up to this moment: the difference of two reports is what happened.
    pub totals: Totals,
    /// The operations that took most time.
    pub operations: Hottest,
    /// What limits the server, by the figures of the latest minute; what slows everybody first.
    pub bottlenecks: Vec<Bottleneck>,
    /// What helps against each.
    pub advice: Vec<Advice>,
}

/// The server.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct About {
    /// Its version.
    pub version: Cow<'static, str>,
    /// How sockets are driven: uring or epoll.
    pub io: Cow<'static, str>,
    /// Backend of the store.
    pub store: Cow<'static, str>,
    /// Time since the start.
    pub uptime_seconds: f64,
    /// Threads that own connections.
    pub shards: u64,
    /// Cores that the process may use.
    pub cores: u64,
    /// WebSocket connections that are allowed.
    pub connections_max: u64,
    /// Threads that compute vectors.
    pub compute_threads: u64,
    /// Time between two samples.
    pub sample_seconds: u64,
}

/// Figures of one sample, or of an interval; of the groups that were asked for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// Its end.
    pub at: Timestamp,
    /// Time that it covers.
    pub seconds: Figure,
    /// CPU of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Memory of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Disk>,
    /// Connections and what goes over them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Calls of operations.
    #[serde(default)]
    pub calls: Calls,
    /// What waits.
    #[serde(default)]
    pub queues: Queues,
    /// Messages to sessions.
    #[serde(default)]
    pub deliveries: Deliveries,
    /// What should not happen, as counts.
    #[serde(default)]
    pub troubles: Troubles,
}

/// Counts since the start.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Totals {
    /// CPU time of the process, user and system.
    pub cpu_seconds: Figure,
    /// Resident memory now.
    pub resident_bytes: Figure,
    /// WebSockets open now.
    pub connections: u64,
    /// Sessions open now.
    pub sessions: u64,
    /// WebSockets accepted.
    pub connections_opened: u64,
    /// Calls of operations.
    pub calls: u64,
    /// Of these, answered with an error.
    pub errors: u64,
    /// Requests served by HTTP.
    pub http_requests: u64,
    /// Messages received on WebSockets.
    pub messages_received: u64,
    /// Messages sent on WebSockets.
    pub messages_sent: u64,
    /// Bytes received on WebSockets.
    pub received_bytes: u64,
    /// Bytes sent on WebSockets.
    pub sent_bytes: u64,
    /// By shard.
    pub shards: Vec<ShardTotals>,
}

/// Counts of one shard.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ShardTotals {
    /// Its number.
    pub shard: u64,
    /// Turns that had work.
    pub turns: u64,
    /// Time in turns.
    pub turn_seconds: Figure,
    /// CPU time of its thread.
    pub cpu_seconds: Figure,
    /// Messages received.
    pub messages_received: u64,
    /// Messages sent.
    pub messages_sent: u64,
}

/// The operations that took most time, those first.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Hottest {
    /// Time that the first list covers: a minute, or less after a start.
    pub seconds: Figure,
    /// In the latest minute.
    pub last_minute: Vec<HotOperation>,
    /// Since the start.
    pub since_start: Vec<HotOperation>,
}

/// One operation. Times are from the parsed request to the written answer; quantiles are exact to a
/// factor of two.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HotOperation {
    /// Its method.
    pub operation: Cow<'static, str>,
    /// Calls answered.
    pub calls: u64,
    /// Of these, with an error.
    pub errors: u64,
    /// Time of all together.
    pub total_ms: Figure,
    /// Mean time.
    pub mean_ms: Figure,
    /// Half of the calls were faster.
    pub p50_ms: Figure,
    /// 99 of 100 were.
    pub p99_ms: Figure,
}

/// What limits the server.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Bottleneck {
    /// Its name.
    pub name: Cow<'static, str>,
    /// What is seen, in a sentence.
    pub seen: String,
    /// The figure.
    pub figure: Figure,
    /// The figure from which on it is one.
    pub limit: Figure,
}

/// What helps.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Advice {
    /// Against this bottleneck.
    pub bottleneck: Cow<'static, str>,
    /// The setting to change, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Cow<'static, str>>,
    /// What to do.
    pub action: String,
}
