//! `load mixed`: agents that store, search, change and delete memories, list tools, send each other
//! messages and say how they are, over WebSockets and HTTP, at one rate in all.
//!
//! The loop is open: operations have times. At the end of each period it pauses, so that somebody else
//! can look at the server at rest. Meanwhile clients leave and come back, one after the other, some of
//! them to their session. It prints a line every few seconds and its report at the end.

use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::client::Wire;
use super::crowd::{Crowd, Plan};
use crate::connection::{Dial, Leaving};
use crate::fleet::Fleet;
use crate::own_cpu::{OwnCpu, Stopwatch};
use crate::report;
use crate::target::Target;

#[derive(Args)]
pub(crate) struct Arguments {
    /// ws://127.0.0.1:PORT/PATH
    #[arg(long)]
    url: Target,
    /// http://127.0.0.1:PORT/mcp
    #[arg(long)]
    http_url: Target,
    /// Agents over WebSockets
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(2..=5_000))]
    agents: u32,
    /// Clients over HTTP
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    http_clients: u32,
    /// Operations a second, of all together
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// Clients a second that leave and come back
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=100))]
    returns: u32,
    /// Memories that each keeps at most
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    memories: u32,
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Length of a period
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(2..=3_600))]
    period_seconds: u64,
    /// The end of each period, in which nothing is sent
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    quiet_seconds: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    crowd: Value,
    #[serde(flatten)]
    own: OwnCpu,
}

impl Report {
    /// What there is to tell so far.
    fn of(crowd: &Crowd, watch: &Stopwatch) -> anyhow::Result<Self> {
        Ok(Self {
            crowd: crowd.report(watch.elapsed().as_secs_f64()),
            own: watch.read()?,
        })
    }
}

/// Clients come and go between two slices.
const SLICE: Duration = Duration::from_millis(250);
const REPORT_EVERY: Duration = Duration::from_secs(10);
const JOIN_SECONDS_MAX: u64 = 60;
/// A message whose receiver was away comes again within the 30 s of its acknowledgement.
const DRAIN_SECONDS_MAX: u64 = 60;
const CLOSE_SECONDS_MAX: u64 = 10;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    anyhow::ensure!(
        arguments.quiet_seconds < arguments.period_seconds,
        "a period is longer than its quiet end"
    );
    let agents = arguments.agents as usize;
    let all = agents + arguments.http_clients as usize;
    let mut fleet = Fleet::dialled(all, Dial::PEER)?;
    let mut crowd = Crowd::new(Plan {
        agents,
        all,
        rate: arguments.rate,
        memories: arguments.memories as usize,
        period: Duration::from_secs(arguments.period_seconds),
        busy: Duration::from_secs(arguments.period_seconds - arguments.quiet_seconds),
        seed: arguments.seed,
    });
    for index in 0..all {
        fleet.open_one(target(arguments, &crowd, index), &crowd.headers(index))?;
        crowd.begin(index, |greet| fleet.write(index, greet))?;
    }
    let watch = Stopwatch::start()?;
    fleet.run_until(JOIN_SECONDS_MAX, |index, event, out, now| {
        crowd.on(index, event, out, now);
        crowd.all_idle() || !crowd.faults.none()
    })?;
    if !crowd.all_idle() {
        crowd.faults.add(|| "not all clients could join".to_owned());
        report::print(&Report::of(&crowd, &watch)?)?;
        return Ok(false);
    }
    report::print(&json!({ "phase": "begun" }))?;
    let (start, watch) = (Instant::now(), Stopwatch::start()?);
    crowd.start(start);
    let end = start + Duration::from_secs(arguments.seconds);
    let mut next_report = start + REPORT_EVERY;
    let mut owed = 0.0;
    while Instant::now() < end {
        let left = end.saturating_duration_since(Instant::now());
        fleet.drive(SLICE.min(left), &mut crowd)?;
        let now = Instant::now();
        if crowd.is_busy(now) {
            while let Some(index) = crowd.ended() {
                come_back(arguments, &mut fleet, &mut crowd, index, Leaving::Closed)?;
            }
            owed += f64::from(arguments.returns) * SLICE.as_secs_f64();
            while owed >= 1.0 {
                owed -= 1.0;
                if let Some((index, leaving)) = crowd.leaves() {
                    come_back(arguments, &mut fleet, &mut crowd, index, leaving)?;
                }
            }
        }
        if now >= next_report {
            next_report += REPORT_EVERY;
            report::print(&Report::of(&crowd, &watch)?)?;
        }
    }
    crowd.stop();
    fleet.run_until(DRAIN_SECONDS_MAX, |index, event, out, now| {
        crowd.on(index, event, out, now);
        crowd.is_done()
    })?;
    crowd.settle();
    fleet.close(CLOSE_SECONDS_MAX)?;
    report::print(&Report::of(&crowd, &watch)?)?;
    Ok(crowd.faults.none())
}

fn come_back(
    arguments: &Arguments,
    fleet: &mut Fleet,
    crowd: &mut Crowd,
    index: usize,
    leaving: Leaving,
) -> anyhow::Result<()> {
    let to = target(arguments, crowd, index);
    fleet.replace(index, to, &crowd.headers(index), leaving)?;
    crowd.begin(index, |greet| fleet.write(index, greet))?;
    Ok(())
}

fn target<'a>(arguments: &'a Arguments, crowd: &Crowd, index: usize) -> &'a Target {
    match crowd.wire(index) {
        Wire::WebSocket => &arguments.url,
        Wire::Http => &arguments.http_url,
    }
}
