//! `load idle`: connections that have initialized and then say nothing.
//!
//! Memory is read before the first connection, with half of them and with all. The difference of
//! the last two leaves out what the server allocates once, however many connections come.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use crate::connection::{Dial, Event};
use crate::fleet::Fleet;
use crate::jsonrpc;
use crate::limits;
use crate::memory::Memory;
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
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=limits::CONNECTIONS_MAX))]
    connections: u32,
    #[command(flatten)]
    sources: Sources,
    /// Process whose memory is read
    #[arg(long)]
    server_pid: u32,
}

#[derive(Serialize)]
struct Report {
    connections: usize,
    /// Growth of resident memory per connection, from none to all.
    rss_bytes_per_connection: i64,
    /// The same of anonymous memory.
    anonymous_bytes_per_connection: i64,
    /// Growth of resident memory per connection over the second half.
    rss_bytes_per_further_connection: i64,
    open_and_initialize_seconds: f64,
    /// Server CPU of a connection's upgrade and `initialize`.
    open_server_cpu_us: f64,
    /// While connections were opened.
    #[serde(flatten)]
    own: OwnCpu,
    before: Memory,
    half: Memory,
    all: Memory,
    pings_answered: usize,
    #[serde(flatten)]
    faults: Faults,
}

const WAVE_SECONDS_MAX: u64 = 60;
const QUIET_SECONDS_MAX: u64 = 15;
/// Memory that has not changed for so long is taken as settled.
const QUIET: Duration = Duration::from_secs(2);
/// A step of opening: initialize requests under way at once.
const WAVE: usize = 250;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let connections = arguments.connections as usize;
    let pid = arguments.server_pid;
    let dial = Dial::MCP.with_sources(arguments.sources, &arguments.url)?;
    let mut fleet = Fleet::dialled(connections, dial)?;
    let mut faults = Faults::default();

    let before = Memory::of(pid)?;
    let server = ServerCpu::of(pid)?;
    let (watch, cpu) = (Stopwatch::start()?, server.nanoseconds()?);
    open(&mut fleet, &arguments.url, connections / 2)?;
    let (mut opening, mut opening_cpu) = (watch.elapsed(), server.nanoseconds()? - cpu);
    let own = watch.read()?;
    let half = settled(&mut fleet, pid, &mut faults)?;
    let (watch, cpu) = (Stopwatch::start()?, server.nanoseconds()?);
    open(&mut fleet, &arguments.url, connections)?;
    opening += watch.elapsed();
    opening_cpu += server.nanoseconds()? - cpu;
    let own = own + watch.read()?;
    let all = settled(&mut fleet, pid, &mut faults)?;
    let pings_answered = ping(&mut fleet, &mut faults)?;
    fleet.close(WAVE_SECONDS_MAX)?;

    let per = |after: u64, before: u64, count: usize| (after as i64 - before as i64) / count as i64;
    let further = connections - connections / 2;
    if pings_answered < connections {
        faults.add(|| format!("{} connections are dead", connections - pings_answered));
    }
    let good = faults.none();
    report::print(&Report {
        connections,
        rss_bytes_per_connection: per(all.rss_bytes, before.rss_bytes, connections),
        anonymous_bytes_per_connection: per(
            all.anonymous_bytes,
            before.anonymous_bytes,
            connections,
        ),
        rss_bytes_per_further_connection: per(all.rss_bytes, half.rss_bytes, further),
        open_and_initialize_seconds: report::rounded(opening.as_secs_f64()),
        open_server_cpu_us: report::rounded(opening_cpu as f64 / 1e3 / connections as f64),
        own,
        before,
        half,
        all,
        pings_answered,
        faults,
    })?;
    Ok(good)
}

/// Opens connections up to `count` in all, wave by wave, and initializes each.
fn open(fleet: &mut Fleet, target: &Target, count: usize) -> anyhow::Result<()> {
    while fleet.alive() < count {
        let first = fleet.alive();
        let end = count.min(first + WAVE);
        fleet.open(target, end, |_| String::new())?;
        for index in first..end {
            fleet.write(index, |out| out.text(jsonrpc::INITIALIZE))?;
        }
        let mut initialized = first;
        let mut failure = None;
        fleet.run_until(WAVE_SECONDS_MAX, |index, event, out, _| {
            match event {
                Event::Text(answer) if jsonrpc::id_of_result(answer) == Some(0) => {
                    out.text(jsonrpc::INITIALIZED);
                    initialized += 1;
                }
                Event::Text(answer) => {
                    failure = Some(String::from_utf8_lossy(answer).into_owned());
                }
                Event::Closed(reason) => failure = Some(format!("connection {index}: {reason}")),
                Event::Open | Event::Accepted => {}
            }
            initialized == end || failure.is_some()
        })?;
        if let Some(failure) = failure {
            bail!("{failure}");
        }
        if initialized < end {
            bail!("{} initialize requests have no answer", end - initialized);
        }
    }
    Ok(())
}

/// Serves the connections (the server pings them) until the server's memory stays the same.
fn settled(fleet: &mut Fleet, pid: u32, faults: &mut Faults) -> anyhow::Result<Memory> {
    let deadline = Instant::now() + Duration::from_secs(QUIET_SECONDS_MAX);
    let mut memory = Memory::of(pid)?;
    let mut since = Instant::now();
    while since.elapsed() < QUIET && Instant::now() < deadline {
        fleet.run_for(Duration::from_millis(100), |index, event, _, _| {
            match event {
                Event::Closed(reason) => faults.add(|| format!("connection {index}: {reason}")),
                Event::Text(text) => faults.add(|| String::from_utf8_lossy(text).into_owned()),
                Event::Open | Event::Accepted => {}
            }
            false
        })?;
        // Leaves the processor to the server.
        thread::sleep(Duration::from_millis(100));
        let now = Memory::of(pid)?;
        if now != memory {
            memory = now;
            since = Instant::now();
        }
    }
    Ok(memory)
}

/// One request on each connection; returns how many were answered.
fn ping(fleet: &mut Fleet, faults: &mut Faults) -> anyhow::Result<usize> {
    let all = fleet.alive();
    let mut answered = 0;
    fleet.each(|index, out| {
        out.text(format!(r#"{{"jsonrpc":"2.0","id":{},"method":"ping"}}"#, index + 1).as_bytes());
    })?;
    fleet.run_until(WAVE_SECONDS_MAX, |index, event, _, _| {
        match event {
            Event::Text(answer) if jsonrpc::id_of_result(answer) == Some(index as u64 + 1) => {
                answered += 1;
            }
            Event::Text(answer) => faults.add(|| String::from_utf8_lossy(answer).into_owned()),
            Event::Closed(reason) => faults.add(|| format!("connection {index}: {reason}")),
            Event::Open | Event::Accepted => {}
        }
        answered == all
    })?;
    Ok(answered)
}
