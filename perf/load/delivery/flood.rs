//! `load flood`: broadcasts, in memory only, to many sessions that read them or do not; and to one more
//! that always reads, misses none and says how long each took.
//!
//! It prints a line when its sessions are there, one when the broadcasts begin, and its report when
//! they end, so that somebody else can look at the server in the meantime.

use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::peer;
use crate::connection::{Dial, Event};
use crate::fleet::Fleet;
use crate::latency::{Latencies, Summary};
use crate::memory::Memory;
use crate::outbox::Outbox;
use crate::own_cpu::{OwnCpu, Stopwatch};
use crate::report::{self, Faults, rounded};
use crate::server_cpu::ServerCpu;
use crate::target::Target;

#[derive(Args)]
pub(crate) struct Arguments {
    /// ws://127.0.0.1:PORT/PATH
    #[arg(long)]
    url: Target,
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sessions: u32,
    /// The sessions do not read
    #[arg(long)]
    stall: bool,
    /// Broadcasts a second
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Bytes of a body
    #[arg(long, default_value_t = 8_192, value_parser = clap::value_parser!(u32).range(32..=65_536))]
    body: u32,
    /// Time before the broadcasts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    quiet_seconds: u64,
    /// Time of the broadcasts
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    #[arg(long)]
    server_pid: u32,
}

#[derive(Serialize)]
struct Report {
    sessions: usize,
    stalled: bool,
    broadcasts: u64,
    /// Broadcasts that were not sent because too many answers were missing.
    held_back: u64,
    /// Deliveries that the sessions have read, but for the one that always reads.
    read: u64,
    /// That the one has, which has to have all.
    healthy_read: u64,
    /// From the send to its arrival there.
    #[serde(flatten)]
    healthy: Summary,
    connections_lost: usize,
    server_cpu_ms: f64,
    /// While broadcasts were sent.
    #[serde(flatten)]
    own: OwnCpu,
    before: Memory,
    connected: Memory,
    /// When the last broadcast was answered.
    after: Memory,
    #[serde(flatten)]
    faults: Faults,
}

/// The kernel takes little for a session that does not read, so that the rest stays with the server.
const NARROW: Dial = Dial {
    receive_bytes: Some(4_096),
    ..Dial::PEER
};
const ACK_EVERY: u64 = 16;
/// Answers that may be missing before broadcasts are held back.
const UNANSWERED_MAX: u64 = 64;
const END_SECONDS_MAX: u64 = 10;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let sessions = arguments.sessions as usize;
    let all = sessions + 2;
    let before = Memory::of(arguments.server_pid)?;
    let dial = if arguments.stall { NARROW } else { Dial::PEER };
    let mut fleet = Fleet::dialled(all, dial)?;
    let agent = |index: usize| format!("flood-{index}");
    peer::open(&mut fleet, &arguments.url, sessions, agent)?;
    fleet.redial(Dial::PEER);
    peer::open(&mut fleet, &arguments.url, all, agent)?;
    if arguments.stall {
        for index in 0..sessions {
            fleet.stop_reading(index)?;
        }
    }
    let mut flood = Flood::new(arguments);
    report::print(&json!({"phase": "connected"}))?;
    let quiet = Duration::from_secs(arguments.quiet_seconds);
    fleet.run_for(quiet, |index, event, out, now| {
        flood.on(index, event, out, now);
        false
    })?;

    let connected = Memory::of(arguments.server_pid)?;
    let server = ServerCpu::of(arguments.server_pid)?;
    let cpu = server.nanoseconds()?;
    let watch = Stopwatch::start()?;
    report::print(&json!({"phase": "flood"}))?;
    let start = Instant::now();
    let end = start + Duration::from_secs(arguments.seconds);
    let pause = Duration::from_secs(1) / arguments.rate;
    let mut next = start;
    loop {
        let now = Instant::now();
        if now >= end {
            break;
        }
        if now >= next {
            next += pause;
            fleet.write(sessions + 1, |out| flood.send(out, now))?;
        }
        fleet.turn(
            next.min(end).saturating_duration_since(now),
            |index, event, out, now| {
                flood.on(index, event, out, now);
            },
        )?;
    }
    let (cpu, own) = (server.nanoseconds()? - cpu, watch.read()?);
    fleet.run_until(END_SECONDS_MAX, |index, event, out, now| {
        flood.on(index, event, out, now);
        flood.ended() || !flood.faults.none()
    })?;
    let after = Memory::of(arguments.server_pid)?;
    if !flood.ended() && flood.faults.none() {
        let read = flood.read[sessions];
        flood
            .faults
            .add(|| format!("the one that always reads has {read} broadcasts"));
    }
    let good = flood.faults.none();
    report::print(&Report {
        sessions,
        stalled: arguments.stall,
        broadcasts: flood.sent_at.len() as u64,
        held_back: flood.held_back,
        read: flood.read[..sessions].iter().sum(),
        healthy_read: flood.read[sessions],
        healthy: flood.latencies.summary(),
        connections_lost: all - fleet.alive(),
        server_cpu_ms: rounded(cpu as f64 / 1e6),
        own,
        before,
        connected,
        after,
        faults: flood.faults,
    })?;
    Ok(good)
}

struct Flood<'a> {
    arguments: &'a Arguments,
    /// When each broadcast was sent.
    sent_at: Vec<Instant>,
    answered: u64,
    held_back: u64,
    /// Deliveries that each session has read; the last one always reads.
    read: Vec<u64>,
    latencies: Latencies,
    faults: Faults,
}

impl<'a> Flood<'a> {
    fn new(arguments: &'a Arguments) -> Self {
        Self {
            arguments,
            sent_at: Vec::new(),
            answered: 0,
            held_back: 0,
            read: vec![0; arguments.sessions as usize + 1],
            latencies: Latencies::new(),
            faults: Faults::default(),
        }
    }

    /// The sender has all answers, and the one that always reads has everything.
    fn ended(&self) -> bool {
        let sent = self.sent_at.len() as u64;
        self.answered == sent && self.read.last() == Some(&sent)
    }

    fn send(&mut self, out: &mut Outbox, now: Instant) {
        let n = self.sent_at.len() as u64;
        if n - self.answered >= UNANSWERED_MAX {
            self.held_back += 1;
            return;
        }
        let body = peer::body(n, self.arguments.body as usize);
        out.text(&peer::broadcast(n, false, &body));
        self.sent_at.push(now);
    }

    fn on(&mut self, index: usize, event: Event<'_>, out: &mut Outbox, now: Instant) {
        let problem = match event {
            Event::Text(answer) if index == self.read.len() => {
                self.answered += 1;
                let good = peer::is_sent(answer, self.read.len());
                (!good).then(|| String::from_utf8_lossy(answer).into_owned())
            }
            Event::Text(text) => self.read(index, text, out, now),
            Event::Closed(reason) => Some(reason),
            Event::Open | Event::Accepted => None,
        };
        if let Some(problem) = problem {
            self.faults.add(|| format!("connection {index}: {problem}"));
        }
    }

    fn read(
        &mut self,
        index: usize,
        text: &[u8],
        out: &mut Outbox,
        now: Instant,
    ) -> Option<String> {
        let Some(delivery) = peer::delivery(text) else {
            return peer::accepted(text).err().map(|error| format!("{error:#}"));
        };
        let n = self.read[index];
        let is_last = index + 1 == self.read.len();
        let is_next = delivery.seq == n + 1 && delivery.delivery == 1;
        // A reader that is slow for a moment may lose what is in memory only; this one must not.
        let is_body = || delivery.body == peer::body(n, self.arguments.body as usize).as_bytes();
        if !is_next || (is_last && !is_body()) {
            return Some(format!(
                "not message {n}: {}",
                String::from_utf8_lossy(text)
            ));
        }
        self.read[index] += 1;
        if is_last {
            self.latencies.record(now - self.sent_at[n as usize]);
        }
        if self.read[index].is_multiple_of(ACK_EVERY) {
            out.text(&peer::ack(n, n + 1));
        }
        None
    }
}
