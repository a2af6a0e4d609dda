//! `load storm`: many agents on a connection each, storing and searching at once.
//!
//! Each memory is private and holds a word of its own. Its agent then searches for that word and
//! for the word of its neighbour's latest memory: it must find the first and never the second.

use std::time::{Duration, Instant};

use clap::Args;
use serde::Deserialize;
use serde::Serialize;
use serde_json::json;

use crate::connection::{Dial, Event};
use crate::fleet::Fleet;
use crate::jsonrpc;
use crate::latency::{Latencies, Summary};
use crate::limits;
use crate::outbox::Outbox;
use crate::own_cpu::{OwnCpu, Stopwatch};
use crate::report::{self, Faults};
use crate::server_cpu::ServerCpu;
use crate::sources::Sources;
use crate::target::Target;

#[derive(Args)]
pub(crate) struct Arguments {
    /// ws://127.0.0.1:PORT/PATH
    #[arg(long)]
    url: Target,
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..=limits::CONNECTIONS_MAX))]
    clients: u32,
    /// Of each client: stores and searches in turn
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    operations: u32,
    /// Unanswered operations count as faults after this time
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds_max: u64,
    #[command(flatten)]
    sources: Sources,
    /// Process whose CPU time is divided by the operations
    #[arg(long)]
    server_pid: Option<u32>,
}

#[derive(Serialize)]
struct Report {
    clients: usize,
    stored: u64,
    found: u64,
    seconds: f64,
    operations_per_second: f64,
    server_cpu_us_per_operation: Option<f64>,
    #[serde(flatten)]
    own: OwnCpu,
    store: Summary,
    search: Summary,
    #[serde(flatten)]
    faults: Faults,
}

#[derive(Deserialize)]
struct Stored {
    agent_id: String,
    content: String,
}

#[derive(Deserialize)]
struct Found {
    hits: Vec<Stored>,
}

const CLOSE_SECONDS_MAX: u64 = 10;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let clients = arguments.clients as usize;
    let dial = Dial::MCP.with_sources(arguments.sources, &arguments.url)?;
    let mut fleet = Fleet::dialled(clients, dial)?;
    fleet.open(&arguments.url, clients, |index| {
        format!("X-Agent-ID: {}\r\n", agent(index))
    })?;
    let server = arguments.server_pid.map(ServerCpu::of).transpose()?;
    let server_cpu = || server.map(ServerCpu::nanoseconds).transpose();

    let cpu_before = server_cpu()?;
    let watch = Stopwatch::start()?;
    let mut storm = Storm::new(clients, arguments.operations);
    fleet.each(|index, out| storm.next(index, out))?;
    fleet.run_until(arguments.seconds_max, |index, event, out, now| {
        storm.on(index, event, out, now)
    })?;
    let (elapsed, own) = (watch.elapsed(), watch.read()?);
    let cpu_after = server_cpu()?;
    if storm.unanswered > 0 {
        let missing = storm.unanswered;
        storm
            .faults
            .add(|| format!("{missing} clients did not finish in time"));
    }
    fleet.close(CLOSE_SECONDS_MAX)?;

    let operations = storm.stored + storm.found;
    let all = clients as u64 * u64::from(arguments.operations);
    let good = storm.faults.none() && operations == all;
    report::print(&Report {
        clients,
        stored: storm.stored,
        found: storm.found,
        seconds: report::rounded(elapsed.as_secs_f64()),
        operations_per_second: (operations as f64 / elapsed.as_secs_f64()).round(),
        server_cpu_us_per_operation: cpu_before
            .zip(cpu_after)
            .map(|(before, after)| (after - before) as f64 / 1e3 / operations.max(1) as f64)
            .map(report::rounded),
        own,
        store: storm.store_latencies.summary(),
        search: storm.search_latencies.summary(),
        faults: storm.faults,
    })
    .map(|()| good)
}

fn agent(index: usize) -> String {
    format!("storm-{index}")
}

/// A word that only one memory holds; it ends in a digit, so no stemmer changes it.
fn marker(index: usize, round: u32) -> String {
    format!("client{index}round{round}")
}

fn content(index: usize, round: u32) -> String {
    let marker = marker(index, round);
    format!("The storm notes of an agent that is one of many, to be found by {marker} alone.")
}

struct Storm {
    clients: Vec<Client>,
    operations: u32,
    /// Clients that have operations left.
    unanswered: usize,
    stored: u64,
    found: u64,
    store_latencies: Latencies,
    search_latencies: Latencies,
    faults: Faults,
}

#[derive(Clone)]
struct Client {
    /// Operations sent so far; odd after a store.
    sent: u32,
    /// It has had its last answer, or will have none.
    done: bool,
    at: Instant,
}

impl Storm {
    fn new(clients: usize, operations: u32) -> Self {
        let client = Client {
            sent: 0,
            done: false,
            at: Instant::now(),
        };
        Self {
            clients: vec![client; clients],
            operations,
            unanswered: clients,
            stored: 0,
            found: 0,
            store_latencies: Latencies::new(),
            search_latencies: Latencies::new(),
            faults: Faults::default(),
        }
    }

    /// Sends a client's next operation; its id is its number.
    fn next(&mut self, index: usize, out: &mut Outbox) {
        let neighbour = (index + 1) % self.clients.len();
        let neighbour_round = (self.clients[neighbour].sent / 2).saturating_sub(1);
        let client = &mut self.clients[index];
        let round = client.sent / 2;
        let (method, params) = if client.sent.is_multiple_of(2) {
            ("memory/create", json!({ "content": content(index, round) }))
        } else {
            let query = format!(
                "{} {}",
                marker(index, round),
                marker(neighbour, neighbour_round)
            );
            ("memory/search", json!({ "query": query, "limit": 10 }))
        };
        client.sent += 1;
        client.at = Instant::now();
        out.text(&jsonrpc::request(u64::from(client.sent), method, &params));
    }

    /// True when all clients are done.
    fn on(&mut self, index: usize, event: Event<'_>, out: &mut Outbox, now: Instant) -> bool {
        match event {
            Event::Text(answer) => {
                self.answer(index, answer, now);
                if self.clients[index].sent < self.operations {
                    self.next(index, out);
                } else {
                    self.end(index);
                }
            }
            Event::Closed(reason) => {
                self.faults.add(|| format!("client {index}: {reason}"));
                self.end(index);
            }
            Event::Open | Event::Accepted => {}
        }
        self.unanswered == 0
    }

    /// Nobody waits for this client any more.
    fn end(&mut self, index: usize) {
        let client = &mut self.clients[index];
        self.unanswered -= usize::from(!client.done);
        client.done = true;
    }

    fn answer(&mut self, index: usize, answer: &[u8], now: Instant) {
        let Client { sent, at, .. } = self.clients[index];
        let latency: Duration = now.saturating_duration_since(at);
        let round = (sent - 1) / 2;
        let wrong = if sent % 2 == 1 {
            self.store_latencies.record(latency);
            judge_stored(answer, sent, index, round)
        } else {
            self.search_latencies.record(latency);
            judge_found(answer, sent, index, round)
        };
        match wrong {
            Err(problem) => self.faults.add(|| {
                let answer = String::from_utf8_lossy(answer);
                format!("client {index} operation {sent}: {problem}: {answer}")
            }),
            Ok(()) if sent % 2 == 1 => self.stored += 1,
            Ok(()) => self.found += 1,
        }
    }
}

fn judge_stored(answer: &[u8], sent: u32, index: usize, round: u32) -> anyhow::Result<()> {
    let (id, memory): (u64, Stored) = jsonrpc::result(answer)?;
    anyhow::ensure!(id == u64::from(sent), "another request's id");
    anyhow::ensure!(memory.content == content(index, round), "another content");
    anyhow::ensure!(memory.agent_id == agent(index), "another agent");
    Ok(())
}

fn judge_found(answer: &[u8], sent: u32, index: usize, round: u32) -> anyhow::Result<()> {
    let (id, Found { hits }): (u64, Found) = jsonrpc::result(answer)?;
    anyhow::ensure!(id == u64::from(sent), "another request's id");
    let own = agent(index);
    anyhow::ensure!(
        hits.iter().all(|hit| hit.agent_id == own),
        "a private memory of another"
    );
    let content = content(index, round);
    anyhow::ensure!(hits.iter().any(|hit| hit.content == content), "not found");
    Ok(())
}
