//! `load rate`: a request again and again, or several by their weights, every answer checked.
//!
//! Without `--rate` the loop is closed: every connection keeps the same number of requests in flight.
//! With it the loop is open: requests have times, whatever becomes of those before them, and a
//! latency counts from the time when its request should have left, so a server that stalls is
//! charged for all that it kept waiting.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use crate::connection::{Dial, Event};
use crate::fleet::Fleet;
use crate::inflate;
use crate::jsonrpc;
use crate::latency::Summary;
use crate::limits;
use crate::own_cpu::{OwnCpu, Stopwatch};
use crate::report::{self, Faults, rounded};
use crate::request::What;
use crate::server_cpu::ServerCpu;
use crate::sources::Sources;
use crate::tally::Figures;
use crate::target::{Target, Transport};
use crate::traffic::{Pace, Traffic};

#[derive(Args)]
pub(crate) struct Arguments {
    /// ws://, http:// or tcp://127.0.0.1:PORT/PATH
    #[arg(long)]
    url: Target,
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=limits::CONNECTIONS_MAX))]
    connections: u32,
    /// Further connections, which initialize where the others do and then say nothing
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=limits::CONNECTIONS_MAX))]
    silent: u32,
    #[command(flatten)]
    sources: Sources,
    /// Requests in flight on each connection, at most this many with --rate
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pipeline: u32,
    /// Requests a second on all connections together, each at its time
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Takes compressed answers (permessage-deflate)
    #[arg(long)]
    deflate: bool,
    /// Every connection is an agent of its own, load-0, load-1 and so on
    #[arg(long)]
    agents: bool,
    /// What every answer has to hold; $NUMBER in it is that of the request
    #[arg(long, conflicts_with = "mix")]
    expect: Option<String>,
    /// The data.code of an error that counts as refused, not as wrong
    #[arg(long)]
    refusal: Option<String>,
    /// Length of the measured window
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Ends after so many requests, all of which have to be sent in time
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Load before the window
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    warmup_ms: u64,
    /// Other numbers in requests, and another order of the messages of a mix
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Numbers repeat after so many requests
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    distinct: Option<u64>,
    /// Process whose CPU time is divided by the messages
    #[arg(long)]
    server_pid: Option<u32>,
    #[command(flatten)]
    what: What,
}

#[derive(Serialize)]
struct Report {
    connections: u32,
    silent: u32,
    pipeline: u32,
    /// The mean if there are several messages.
    request_bytes: u64,
    answer_bytes: u64,
    messages: u64,
    /// Answered with the refusal; latencies are of these too.
    refused: u64,
    seconds: f64,
    messages_per_second: f64,
    /// None without --server-pid.
    server_cpu_ns_per_message: Option<f64>,
    own_cpu_ns_per_message: f64,
    /// Share of the window in which a core was busy with the server.
    server_cpu_share: Option<f64>,
    #[serde(flatten)]
    own: OwnCpu,
    /// Requests a second that were asked for.
    rate: Option<u32>,
    /// How late requests left behind their times.
    late_p99_us: Option<f64>,
    /// By name, with --mix.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    mix: BTreeMap<String, Figures>,
    #[serde(flatten)]
    latency: Summary,
    #[serde(flatten)]
    faults: Faults,
}

const INITIALIZE_SECONDS_MAX: u64 = 30;

/// Requests of one open loop: what waits for a server that stands still has to fit into memory.
const SCHEDULED_MAX: u64 = 20_000_000;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let connections = arguments.connections as usize;
    check(arguments)?;
    let mut target = arguments.url.clone();
    if arguments.what.is_rest() {
        target.transport = Transport::Rest;
    }
    let mix = arguments.what.mix(&target, arguments.expect.as_deref())?;
    let mix = mix.seeded(arguments.seed, arguments.distinct);
    let request_bytes = mix.request_bytes();
    let dial = Dial::MCP.with_sources(arguments.sources, &arguments.url)?;
    let all = connections + arguments.silent as usize;
    let mut fleet = Fleet::dialled(all, dial)?;
    let offer = if arguments.deflate {
        inflate::OFFER
    } else {
        ""
    };
    fleet.open(&target, all, |index| {
        if arguments.agents {
            format!("{offer}X-Agent-ID: load-{index}\r\n")
        } else {
            offer.to_owned()
        }
    })?;
    if arguments.what.needs_initialize() {
        initialize(&mut fleet, target.transport)?;
    }
    let pace = arguments.rate.map_or(Pace::Closed, Pace::at);
    let mut traffic = Traffic::new(mix, pace, connections, arguments.pipeline);
    traffic.refusal.clone_from(&arguments.refusal);
    traffic.requests_max = arguments.requests.unwrap_or(u64::MAX);
    let server = arguments.server_pid.map(ServerCpu::of).transpose()?;

    let now = Instant::now();
    fleet.each(|index, out| {
        if index < connections {
            traffic.begin(index, out, now);
        }
    })?;
    fleet.drive(Duration::from_millis(arguments.warmup_ms), &mut traffic)?;
    traffic.measure_from(Instant::now());
    let (watch, server_before) = (Stopwatch::start()?, cpu(server)?);
    if !traffic.is_done() {
        fleet.drive(Duration::from_secs(arguments.seconds), &mut traffic)?;
    }
    let (elapsed, own) = (watch.elapsed(), watch.read()?);
    let served = cpu(server)? - server_before;
    traffic.stop(&mut fleet)?;

    let total = traffic.total();
    let (messages, seconds) = (total.answers, elapsed.as_secs_f64());
    let by_name = traffic
        .tallies()
        .map(|(name, tally)| (name.to_owned(), tally.figures()));
    let per_message = |nanoseconds: u64| rounded(nanoseconds as f64 / messages.max(1) as f64);
    let share = |nanoseconds: u64| rounded(nanoseconds as f64 / elapsed.as_nanos() as f64);
    let report = Report {
        connections: arguments.connections,
        silent: arguments.silent,
        pipeline: arguments.pipeline,
        request_bytes,
        answer_bytes: total.answer_bytes / (messages + total.refused).max(1),
        messages,
        refused: total.refused,
        seconds: rounded(seconds),
        messages_per_second: (messages as f64 / seconds).round(),
        server_cpu_ns_per_message: server.map(|_| per_message(served)),
        own_cpu_ns_per_message: per_message(own.nanoseconds),
        server_cpu_share: server.map(|_| share(served)),
        own,
        rate: arguments.rate,
        late_p99_us: traffic.late().map(|late| late.p99_us),
        mix: by_name.filter(|_| arguments.what.is_mix()).collect(),
        latency: total.latencies.summary(),
        faults: traffic.faults,
    };
    report::print(&report)?;
    Ok(report.faults.none() && messages > 0)
}

/// Refuses what does not go together.
fn check(arguments: &Arguments) -> anyhow::Result<()> {
    let transport = arguments.url.transport;
    let is_http = transport == Transport::Http;
    if is_http && arguments.pipeline > 1 {
        bail!("over HTTP each connection has one request in flight");
    }
    if transport == Transport::Tcp && !arguments.what.is_echo() {
        bail!("over TCP there is nothing but an echo");
    }
    if arguments.what.is_rest() && !is_http {
        bail!("--rest needs an address http://");
    }
    if (arguments.deflate || arguments.agents) && transport != Transport::WebSocket {
        bail!("--deflate and --agents are said in the head of a WebSocket");
    }
    let seconds = arguments.seconds + arguments.warmup_ms / 1_000;
    let rate = arguments.rate.unwrap_or_default();
    if u64::from(rate) * seconds > SCHEDULED_MAX {
        bail!("more than {SCHEDULED_MAX} requests");
    }
    Ok(())
}

fn initialize(fleet: &mut Fleet, transport: Transport) -> anyhow::Result<()> {
    fleet.each(|_, out| out.text(jsonrpc::INITIALIZE))?;
    let (mut answered, mut failure) = (0, None);
    let all = fleet.alive();
    fleet.run_until(INITIALIZE_SECONDS_MAX, |_, event, out, _| {
        match event {
            Event::Text(answer) if jsonrpc::id_of_result(answer) == Some(0) => {
                out.text(jsonrpc::INITIALIZED);
                // Over HTTP the notification is acknowledged, and only then the next one may go.
                answered += usize::from(transport != Transport::Http);
            }
            Event::Accepted => answered += 1,
            Event::Text(answer) => failure = Some(String::from_utf8_lossy(answer).into_owned()),
            Event::Closed(reason) => failure = Some(reason),
            Event::Open => {}
        }
        answered == all || failure.is_some()
    })?;
    if let Some(failure) = failure {
        bail!("initialize: {failure}");
    }
    if answered < all {
        bail!(
            "{} of {all} initialize requests have no answer",
            all - answered
        );
    }
    Ok(())
}

/// CPU time of the server, if it is known.
fn cpu(server: Option<ServerCpu>) -> anyhow::Result<u64> {
    let nanoseconds = server.map(ServerCpu::nanoseconds).transpose()?;
    Ok(nanoseconds.unwrap_or(0))
}
