//! The server about itself: health and statistics.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::arguments::Nothing;
use super::embedding;
use super::operation::{Operation, Scope};
use super::services::{Context, Services};
use super::upkeep::UpkeepStats;
use crate::embed::State;
use crate::rpc::Fault;
use crate::telemetry::process::resident_bytes;

/// Age of what the server says about itself: no monitor looks more often.
const AGE_MAX: Duration = Duration::from_millis(100);

pub(super) fn rows() -> Vec<Operation> {
    vec![
        Operation::ready("system/health", health)
            .core_tool("health_check", "Check the server's health")
            .describe("Tell whether the server and its store can serve, and how it searches.")
            .reuse(AGE_MAX)
            .scope(Scope::SystemRead),
        Operation::ready("system/stats", |context, _: Nothing| {
            Ok(stats(context.services))
        })
        .aliases(&["get_session_statistics"])
        .core_tool("get_system_stats", "Show statistics")
        .describe("Count sessions, agents, connections, messages and operations since the start.")
        .scope(Scope::SystemRead),
    ]
}

/// Of system/health.
#[derive(Debug, Serialize, JsonSchema)]
struct Health {
    /// healthy, degraded (the store or the other nodes cannot be reached) or draining (stopping).
    status: &'static str,
    /// The server's version.
    version: &'static str,
    /// Time since the start.
    uptime_seconds: f64,
    /// Backend of the store.
    store: &'static str,
    /// Why other nodes cannot be reached; each serves its own sessions meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes_detail: Option<String>,
    /// How memories are searched: hybrid, or lexical until an embedding model is ready.
    search: &'static str,
    /// The embedding model: ready, loading, installing, failed or off.
    embedding: &'static str,
    /// Why memories are searched by their words only.
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding_detail: Option<String>,
}

fn health(context: &Context<'_>, _: Nothing) -> Result<Health, Fault> {
    let process = &context.services.process;
    let state = context.services.meaning.embedder().state();
    Ok(Health {
        status: process.status(),
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: to_milliseconds(process.uptime_seconds()),
        store: process.store,
        nodes_detail: process.nodes_failure(),
        search: if state == State::Ready {
            "hybrid"
        } else {
            "lexical"
        },
        embedding: embedding::name_of(&state),
        embedding_detail: (state != State::Ready).then(|| state.to_string()),
    })
}

/// Of system/stats.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Stats {
    /// Time since the start.
    pub uptime_seconds: f64,
    /// Sessions opened since the start.
    pub total_sessions: u64,
    /// Sessions open now.
    pub active_sessions: u64,
    /// Distinct agents with an open session.
    pub unique_agents: u64,
    /// Mean length of all sessions since the start, the open ones up to now.
    pub average_session_duration_seconds: f64,
    /// WebSocket connections open now.
    pub ws_connections: u64,
    /// Requests served by HTTP.
    pub api_requests_total: u64,
    /// Calls of operations on memories.
    pub memory_operations_total: u64,
    /// Calls of all operations.
    pub operations_total: u64,
    /// Calls that were answered with an error.
    pub operation_errors_total: u64,
    /// Mean time of a call, from the parsed request to the written answer.
    pub average_response_time_ms: f64,
    /// Answers that were reused instead of computed, those of this operation among them.
    pub cache_hits: u64,
    /// WebSocket messages received.
    pub messages_received: u64,
    /// WebSocket messages sent.
    pub messages_sent: u64,
    /// Violations of the protocol by peers.
    pub protocol_violations: u64,
    /// Receive buffers of all shards.
    pub buffer_pool_size: u64,
    /// Receive buffers in use.
    pub buffer_pool_in_use: u64,
    /// Times that the receive buffers ran out.
    pub buffer_pool_exhausted: u64,
    /// Resident memory of the process.
    pub memory_resident_bytes: u64,
    /// Threads that own connections.
    pub shards: u64,
    /// How sockets are driven: uring or epoll.
    pub io: &'static str,
    /// Queries whose vector was in the cache.
    pub embedding_cache_hits: u64,
    /// What the store's upkeep has removed.
    pub upkeep: UpkeepStats,
}

/// The statistics of the moment.
pub fn stats(services: &Services) -> Stats {
    let metrics = &services.metrics;
    let presence = services.registry.presence();
    let (mut calls, mut memory_calls, mut errors, mut time_ns) = (0, 0, 0, 0);
    for (index, name) in metrics.operation_names.iter().enumerate() {
        let failed = metrics.total(|shard| shard.operations[index].failed.get());
        let count = failed + metrics.total(|shard| shard.operations[index].succeeded.get());
        calls += count;
        errors += failed;
        time_ns += metrics.operation(index).sum_ns;
        if name.starts_with("memory/") {
            memory_calls += count;
        }
    }
    Stats {
        uptime_seconds: to_milliseconds(services.process.uptime_seconds()),
        total_sessions: presence.opened,
        active_sessions: presence.open,
        unique_agents: presence.agents,
        average_session_duration_seconds: to_milliseconds(presence.average_duration_seconds),
        ws_connections: metrics.connections(),
        api_requests_total: metrics.total(|shard| shard.http_requests.get()),
        memory_operations_total: memory_calls,
        operations_total: calls,
        operation_errors_total: errors,
        average_response_time_ms: time_ns as f64 / 1e6 / (calls.max(1) as f64),
        cache_hits: metrics.total(|shard| shard.answers_reused.get()),
        messages_received: metrics.total(|shard| shard.messages_received.get()),
        messages_sent: metrics.total(|shard| shard.messages_sent.get()),
        protocol_violations: metrics.total(|shard| shard.protocol_violations.get()),
        buffer_pool_size: metrics.total(|shard| shard.buffers.get()),
        buffer_pool_in_use: metrics.total(|shard| shard.buffers_lent.get()),
        buffer_pool_exhausted: metrics.total(|shard| shard.pool_exhausted.get()),
        memory_resident_bytes: resident_bytes().unwrap_or_default(),
        shards: services.process.shards as u64,
        io: services.process.io,
        embedding_cache_hits: services.meaning.embedder().stats().cache_hits,
        upkeep: services.upkeep.stats(),
    }
}

/// Cuts a time in seconds after the milliseconds, which is as exact as it is of use.
fn to_milliseconds(seconds: f64) -> f64 {
    (seconds * 1e3).trunc() / 1e3
}
