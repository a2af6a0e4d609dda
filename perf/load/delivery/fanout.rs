//! `load fanout`: one broadcast to many sessions, again and again, in memory only and durable in turn.
//!
//! Measured is the server's CPU clock from before the send until it stands still; the receivers look then,
//! and every one has to have the message. If they looked at once they would run beside the server on what may
//! be the other thread of its core, and waking them would be the sender's CPU: a network spares it both. The
//! same is measured for as long while nothing is sent.
//!
//! An address `tcp://` is that of `load echo --to-others`: what the same sends cost with no server.

use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use serde::Serialize;
use tmws::net::cpu_clock::CpuClock;

use super::{floor, peer};
use crate::connection::{Dial, Event};
use crate::fleet::Fleet;
use crate::own_cpu::{OwnCpu, Stopwatch};
use crate::report::{self, Faults, rounded};
use crate::server_cpu::ServerCpu;
use crate::target::{Target, Transport};

#[derive(Args)]
pub(crate) struct Arguments {
    /// ws://127.0.0.1:PORT/PATH, or tcp://127.0.0.1:PORT
    #[arg(long)]
    pub(super) url: Target,
    /// Sessions that receive
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(super) sessions: u32,
    /// Broadcasts of each kind
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) rounds: u32,
    /// Bytes of a body; of all that is sent to a connection if it is plain TCP
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(32..=65_536))]
    pub(super) body: u32,
    #[arg(long)]
    pub(super) server_pid: u32,
}

#[derive(Serialize)]
struct Report {
    sessions: usize,
    /// Of a delivery, with the head of its frame.
    frame_bytes: usize,
    volatile: Vec<Round>,
    durable: Vec<Round>,
    /// Over all rounds; it stands still while the server sends.
    #[serde(flatten)]
    own: OwnCpu,
    #[serde(flatten)]
    faults: Faults,
}

/// One broadcast.
#[derive(Serialize)]
struct Round {
    /// Sessions that had it, and had acknowledged it in the end.
    received: usize,
    acknowledged: u64,
    /// Until the server had sent it to the last session, and with the time in which nothing follows.
    server_cpu_ms: f64,
    wall_ms: f64,
    own_cpu_ms: f64,
    /// Of the acknowledgements, one for each session.
    acks_server_cpu_ms: f64,
    /// In as much time, with nothing to do.
    idle_server_cpu_ms: f64,
}

pub(super) const ROUND_SECONDS_MAX: u64 = 30;
pub(super) const CLOSE_SECONDS_MAX: u64 = 20;
/// New sessions are filled from the store; a quiet server is one that is done with that.
const SETTLE: Duration = Duration::from_secs(3);
/// Between two rounds.
pub(super) const PAUSE: Duration = Duration::from_millis(300);

/// The head of a frame of 126 to 65,535 bytes (RFC 6455, 5.2).
const FRAME_HEAD_BYTES: usize = 4;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    if arguments.url.transport == Transport::Tcp {
        return floor::run(arguments);
    }
    let sessions = arguments.sessions as usize;
    let mut fleet = Fleet::dialled(sessions + 1, Dial::PEER)?;
    peer::open(&mut fleet, &arguments.url, sessions + 1, |index| {
        format!("crowd-{index}")
    })?;
    let mut faults = Faults::default();
    quiet(&mut fleet, SETTLE, &mut faults)?;

    let mut crowd = Crowd {
        arguments,
        server: ServerCpu::of(arguments.server_pid)?,
        sent: 0,
        frame_bytes: 0,
    };
    let watch = Stopwatch::start()?;
    let (mut volatile, mut durable) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        volatile.push(crowd.round(&mut fleet, false, &mut faults)?);
        durable.push(crowd.round(&mut fleet, true, &mut faults)?);
        // Places are counted from the first broadcast: after a wrong one nothing is right.
        if !faults.none() {
            break;
        }
    }
    let own = watch.read()?;
    fleet.close(CLOSE_SECONDS_MAX)?;
    let is_whole =
        |round: &Round| round.received == sessions && round.acknowledged == sessions as u64;
    let whole = volatile.iter().chain(&durable).all(is_whole) && faults.none();
    report::print(&Report {
        sessions,
        frame_bytes: crowd.frame_bytes,
        volatile,
        durable,
        own,
        faults,
    })?;
    Ok(whole)
}

/// A step of waiting, and CPU time in it that is not work: a timer, a tick.
const STEP: Duration = Duration::from_millis(5);
const STILL_NS: u64 = 100_000;
/// Steps without work after which none is to come: a disk may take a while to have a message.
const STILL_STEPS: u32 = 20;

/// Waits until a process has nothing to do any more; its CPU time then.
pub(super) fn until_quiet(server: &ServerCpu) -> anyhow::Result<u64> {
    let deadline = Instant::now() + Duration::from_secs(ROUND_SECONDS_MAX);
    let (mut still, mut latest) = (0, server.nanoseconds()?);
    while still < STILL_STEPS {
        ensure!(
            Instant::now() < deadline,
            "the server does not come to rest"
        );
        std::thread::sleep(STEP);
        let now = server.nanoseconds()?;
        still = if now - latest < STILL_NS {
            still + 1
        } else {
            0
        };
        latest = now;
    }
    Ok(latest)
}

/// Reads, for so long, what is not expected to come.
pub(super) fn quiet(fleet: &mut Fleet, time: Duration, faults: &mut Faults) -> anyhow::Result<()> {
    fleet.run_for(time, |index, event, _, _| {
        match event {
            Event::Closed(reason) => faults.add(|| format!("connection {index}: {reason}")),
            Event::Text(text) => faults.add(|| String::from_utf8_lossy(text).into_owned()),
            Event::Open | Event::Accepted => {}
        }
        false
    })?;
    Ok(())
}

struct Crowd<'a> {
    arguments: &'a Arguments,
    server: ServerCpu,
    /// Broadcasts so far; the latest place of every session.
    sent: u64,
    /// Of the latest delivery.
    frame_bytes: usize,
}

impl Crowd<'_> {
    fn round(
        &mut self,
        fleet: &mut Fleet,
        durable: bool,
        faults: &mut Faults,
    ) -> anyhow::Result<Round> {
        let sessions = self.arguments.sessions as usize;
        let body = peer::body(self.sent, self.arguments.body as usize);
        let request = peer::broadcast(self.sent, durable, &body);
        self.sent += 1;
        let place = self.sent;
        let mut has = vec![false; sessions];
        let (mut received, mut answered) = (0, false);

        let (cpu, own) = (self.server.nanoseconds()?, CpuClock::OWN.nanoseconds()?);
        let start = Instant::now();
        fleet.write(sessions, |out| out.text(&request))?;
        let cpu = until_quiet(&self.server)? - cpu;
        let wall = start.elapsed();
        fleet.run_until(ROUND_SECONDS_MAX, |index, event, _, _| {
            let fault = match event {
                Event::Text(answer) if index == sessions => {
                    answered = peer::is_sent(answer, sessions);
                    (!answered).then(|| String::from_utf8_lossy(answer).into_owned())
                }
                Event::Text(text) => match peer::delivery(text) {
                    Some(delivery)
                        if delivery.seq == place
                            && delivery.delivery == 1
                            && delivery.body == body.as_bytes()
                            && !has[index] =>
                    {
                        has[index] = true;
                        received += 1;
                        self.frame_bytes = text.len() + FRAME_HEAD_BYTES;
                        None
                    }
                    _ => Some(String::from_utf8_lossy(text).into_owned()),
                },
                Event::Closed(reason) => Some(reason),
                Event::Open | Event::Accepted => None,
            };
            if let Some(fault) = fault {
                faults.add(|| format!("connection {index}: {fault}"));
            }
            (received == sessions && answered) || !faults.none()
        })?;
        let own = CpuClock::OWN.nanoseconds()? - own;
        if received < sessions {
            faults.add(|| format!("{received} of {sessions} have it"));
        }

        let acks_before = self.server.nanoseconds()?;
        let acknowledged = self.acknowledge(fleet, place, faults)?;
        let acks = self.server.nanoseconds()? - acks_before;
        quiet(fleet, PAUSE, faults)?;
        let idle_before = self.server.nanoseconds()?;
        quiet(fleet, wall, faults)?;
        let idle = self.server.nanoseconds()? - idle_before;
        let milliseconds = |nanoseconds: u64| rounded(nanoseconds as f64 / 1e6);
        Ok(Round {
            received,
            acknowledged,
            server_cpu_ms: milliseconds(cpu),
            wall_ms: rounded(wall.as_secs_f64() * 1e3),
            own_cpu_ms: milliseconds(own),
            acks_server_cpu_ms: milliseconds(acks),
            idle_server_cpu_ms: milliseconds(idle),
        })
    }

    /// Every session is done with the broadcast, all at the same time; returns how many the server had settled.
    fn acknowledge(
        &self,
        fleet: &mut Fleet,
        place: u64,
        faults: &mut Faults,
    ) -> anyhow::Result<u64> {
        let sessions = self.arguments.sessions as usize;
        let request = peer::ack(place, place);
        let (mut answers, mut acknowledged) = (0, 0);
        let deadline = Instant::now() + Duration::from_secs(ROUND_SECONDS_MAX);
        for index in 0..sessions {
            fleet.write(index, |out| out.text(&request))?;
        }
        while answers < sessions && faults.none() && Instant::now() < deadline {
            fleet.turn(PAUSE, |index, event, _, _| match event {
                Event::Text(answer) => match peer::accepted(answer) {
                    Ok(accepted) => {
                        answers += 1;
                        acknowledged += accepted;
                    }
                    Err(error) => faults.add(|| format!("connection {index}: {error:#}")),
                },
                Event::Closed(reason) => faults.add(|| format!("connection {index}: {reason}")),
                Event::Open | Event::Accepted => {}
            })?;
        }
        if answers < sessions && faults.none() {
            faults.add(|| format!("{answers} of {sessions} acknowledgements were answered"));
        }
        Ok(acknowledged)
    }
}
