//! `load rate`: a closed loop. Every connection keeps the same number of requests in flight; each
//! answer is checked and followed by the next request.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::connection::Event;
use crate::cpu::CpuClock;
use crate::fleet::Fleet;
use crate::jsonrpc::{self, FIRST_ID, Template};
use crate::latency::{Latencies, Summary};
use crate::outbox::Outbox;
use crate::report::{self, Faults, rounded};
use crate::target::Target;

#[derive(Args)]
pub(crate) struct Arguments {
    /// ws://127.0.0.1:PORT/PATH
    #[arg(long)]
    url: Target,
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections: u32,
    /// Requests in flight on each connection
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pipeline: u32,
    /// Length of the measured window
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Load before the window
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    warmup_ms: u64,
    /// Process whose CPU time is divided by the messages
    #[arg(long)]
    server_pid: Option<u32>,
    #[command(flatten)]
    what: What,
}

/// What is sent.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct What {
    /// A JSON-RPC request from a file, with $ID in the place of its id
    #[arg(long)]
    message: Option<PathBuf>,
    /// A request of this tool
    #[arg(long)]
    call: Option<Call>,
    /// Text of this many bytes, which the server sends back
    #[arg(long, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    echo: Option<u32>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Call {
    /// tools/call of health_check
    Health,
    /// ping
    Ping,
    /// tools/list
    List,
    /// server/discover of the modern era
    Discover,
}

impl Call {
    fn template(self) -> &'static str {
        match self {
            Self::Health => {
                r#"{"jsonrpc":"2.0","id":$ID,"method":"tools/call","params":{"name":"health_check","arguments":{}}}"#
            }
            Self::Ping => r#"{"jsonrpc":"2.0","id":$ID,"method":"ping"}"#,
            Self::List => r#"{"jsonrpc":"2.0","id":$ID,"method":"tools/list"}"#,
            Self::Discover => {
                r#"{"jsonrpc":"2.0","id":$ID,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#
            }
        }
    }
}

#[derive(Serialize)]
struct Report {
    connections: u32,
    pipeline: u32,
    request_bytes: usize,
    answer_bytes: u64,
    messages: u64,
    seconds: f64,
    messages_per_second: f64,
    /// None without --server-pid.
    server_cpu_ns_per_message: Option<f64>,
    own_cpu_ns_per_message: f64,
    #[serde(flatten)]
    latency: Summary,
    #[serde(flatten)]
    faults: Faults,
}

const INITIALIZE_SECONDS_MAX: u64 = 30;
const DRAIN_SECONDS_MAX: u64 = 10;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let connections = arguments.connections as usize;
    let echo = arguments.what.echo.is_some();
    let mut fleet = Fleet::new(connections)?;
    fleet.open(&arguments.url, connections, |_| String::new())?;
    // The modern era has no handshake.
    if !echo && !matches!(arguments.what.call, Some(Call::Discover)) {
        initialize(&mut fleet)?;
    }
    let mut traffic = Traffic::new(template(&arguments.what)?, echo, arguments);
    let server = arguments.server_pid.map(CpuClock::of).transpose()?;

    let now = Instant::now();
    fleet.each(|index, out| traffic.begin(index, out, now))?;
    fleet.run_for(
        Duration::from_millis(arguments.warmup_ms),
        |index, event, out, now| traffic.on(index, event, out, now),
    )?;
    traffic.clear();
    let before = Instant::now();
    let (own_before, server_before) = cpu(server.as_ref())?;
    fleet.run_until(arguments.seconds, |index, event, out, now| {
        traffic.on(index, event, out, now)
    })?;
    let seconds = before.elapsed().as_secs_f64();
    let (own_after, server_after) = cpu(server.as_ref())?;

    let messages = traffic.messages;
    let per_message = |nanoseconds: u64| rounded(nanoseconds as f64 / messages.max(1) as f64);
    let mut report = Report {
        connections: arguments.connections,
        pipeline: arguments.pipeline,
        request_bytes: traffic.template.len(),
        answer_bytes: traffic.answer_bytes / messages.max(1),
        messages,
        seconds: rounded(seconds),
        messages_per_second: (messages as f64 / seconds).round(),
        server_cpu_ns_per_message: server.map(|_| per_message(server_after - server_before)),
        own_cpu_ns_per_message: per_message(own_after - own_before),
        latency: traffic.latencies.summary(),
        faults: Faults::default(),
    };
    traffic.drain(&mut fleet)?;
    report.faults = traffic.faults;
    report::print(&report)?;
    Ok(report.faults.none() && messages > 0)
}

fn template(what: &What) -> anyhow::Result<Template> {
    match (&what.message, what.call, what.echo) {
        (Some(path), _, _) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            Template::new(text.trim())
        }
        (_, Some(call), _) => Template::new(call.template()),
        (_, _, Some(bytes)) => Template::new(&format!("$ID{}", "x".repeat(bytes as usize - 10))),
        _ => bail!("nothing to send"),
    }
}

fn initialize(fleet: &mut Fleet) -> anyhow::Result<()> {
    fleet.each(|_, out| out.text(jsonrpc::INITIALIZE))?;
    let (mut answered, mut failure) = (0, None);
    let all = fleet.alive();
    fleet.run_until(INITIALIZE_SECONDS_MAX, |_, event, out, _| {
        match event {
            Event::Text(answer) if jsonrpc::id_of_result(answer) == Some(0) => {
                out.text(jsonrpc::INITIALIZED);
                answered += 1;
            }
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

/// CPU time of the load and of the server.
fn cpu(server: Option<&CpuClock>) -> anyhow::Result<(u64, u64)> {
    let server = server.map(CpuClock::nanoseconds).transpose()?;
    Ok((CpuClock::OWN.nanoseconds()?, server.unwrap_or(0)))
}

/// The requests in flight, and what became of the others.
///
/// A connection has `pipeline` slots. The ids of a slot are equal modulo `pipeline`, so an id
/// names its slot in whatever order the answers come.
struct Traffic {
    template: Template,
    echo: bool,
    pipeline: u64,
    slots: Vec<Slot>,
    stopping: bool,
    in_flight: u64,
    messages: u64,
    answer_bytes: u64,
    latencies: Latencies,
    faults: Faults,
}

struct Slot {
    id: u64,
    sent: Instant,
}

impl Traffic {
    fn new(template: Template, echo: bool, arguments: &Arguments) -> Self {
        let pipeline = u64::from(arguments.pipeline);
        let sent = Instant::now();
        let first = FIRST_ID.next_multiple_of(pipeline);
        let slots = (0..arguments.connections)
            .flat_map(|_| {
                (0..pipeline).map(|slot| Slot {
                    id: first + slot,
                    sent,
                })
            })
            .collect();
        Self {
            template,
            echo,
            pipeline,
            slots,
            stopping: false,
            in_flight: 0,
            messages: 0,
            answer_bytes: 0,
            latencies: Latencies::new(),
            faults: Faults::default(),
        }
    }

    /// Fills the slots of a connection.
    fn begin(&mut self, index: usize, out: &mut Outbox, now: Instant) {
        let first = index * self.pipeline as usize;
        for slot in &mut self.slots[first..first + self.pipeline as usize] {
            slot.sent = now;
            out.text(self.template.with_id(slot.id));
            self.in_flight += 1;
        }
    }

    /// Never done: the time ends it.
    fn on(&mut self, index: usize, event: Event<'_>, out: &mut Outbox, now: Instant) -> bool {
        match event {
            Event::Text(answer) => self.answer(index, answer, out, now),
            Event::Closed(reason) => self.faults.add(|| format!("connection {index}: {reason}")),
            Event::Open => {}
        }
        false
    }

    fn answer(&mut self, index: usize, answer: &[u8], out: &mut Outbox, now: Instant) {
        let id = if self.echo {
            self.template.id_of_echo(answer)
        } else {
            jsonrpc::id_of_result(answer)
        };
        let slot = id.map(|id| {
            &mut self.slots[index * self.pipeline as usize + (id % self.pipeline) as usize]
        });
        let Some(slot) = slot.filter(|slot| Some(slot.id) == id) else {
            self.faults
                .add(|| String::from_utf8_lossy(answer).into_owned());
            return;
        };
        self.messages += 1;
        self.answer_bytes += answer.len() as u64;
        self.latencies.record(now - slot.sent);
        if self.stopping {
            self.in_flight -= 1;
            return;
        }
        slot.id += self.pipeline;
        slot.sent = now;
        out.text(self.template.with_id(slot.id));
    }

    /// Forgets what was counted so far, but not the faults.
    fn clear(&mut self) {
        self.messages = 0;
        self.answer_bytes = 0;
        self.latencies.clear();
    }

    /// Waits for the answers that are still to come, and closes.
    fn drain(&mut self, fleet: &mut Fleet) -> anyhow::Result<()> {
        self.stopping = true;
        fleet.run_until(DRAIN_SECONDS_MAX, |index, event, out, now| {
            self.on(index, event, out, now);
            self.in_flight == 0
        })?;
        if self.in_flight > 0 {
            let missing = self.in_flight;
            self.faults
                .add(|| format!("{missing} requests were not answered"));
        }
        fleet.close(DRAIN_SECONDS_MAX)?;
        Ok(())
    }
}
