//! `load pairs`: senders and receivers, a connection each. Sender `i` sends to receiver `i` alone, so each
//! receiver knows what comes next: every message has to arrive once, in order, and be acknowledged.

use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::peer;
use crate::connection::{Dial, Event};
use crate::fleet::Fleet;
use crate::jsonrpc::FIRST_ID;
use crate::latency::{Latencies, Summary};
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
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pairs: u32,
    /// Of each sender
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    messages: u64,
    /// Bytes of a body
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(32..=65_536))]
    body: u32,
    /// Sent by a sender and not yet received, at most: what is in memory only has no more room
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=1_024))]
    outstanding: u64,
    /// Deliveries that one acknowledgement settles
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=256))]
    ack_every: u64,
    /// Keep messages in memory only
    #[arg(long)]
    volatile: bool,
    /// What has not arrived counts as a fault after this time
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds_max: u64,
    /// Process whose CPU time is divided by the messages
    #[arg(long)]
    server_pid: u32,
}

#[derive(Serialize)]
struct Report {
    pairs: usize,
    messages: u64,
    received: u64,
    acknowledged: u64,
    seconds: f64,
    messages_per_second: f64,
    /// For the send, its answer, the delivery and its part of an acknowledgement.
    server_cpu_us_per_message: f64,
    own_cpu_us_per_message: f64,
    #[serde(flatten)]
    own: OwnCpu,
    /// From the send to the arrival.
    #[serde(flatten)]
    latency: Summary,
    #[serde(flatten)]
    faults: Faults,
}

/// New sessions are filled from the store after half a second; then they are served at once.
const SETTLE: Duration = Duration::from_millis(1_500);
const CLOSE_SECONDS_MAX: u64 = 10;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let pairs = arguments.pairs as usize;
    let mut fleet = Fleet::dialled(2 * pairs, Dial::PEER)?;
    peer::open(&mut fleet, &arguments.url, 2 * pairs, |index| {
        if index < pairs {
            format!("sender-{index}")
        } else {
            format!("receiver-{}", index - pairs)
        }
    })?;
    let mut traffic = Traffic::new(arguments);
    fleet.run_for(SETTLE, |index, event, out, now| {
        traffic.on(index, event, out, now);
        false
    })?;

    let server = ServerCpu::of(arguments.server_pid)?;
    let (cpu_before, watch) = (server.nanoseconds()?, Stopwatch::start()?);
    let start = Instant::now();
    let deadline = start + Duration::from_secs(arguments.seconds_max);
    while !traffic.done() && traffic.faults.none() && fleet.alive() == 2 * pairs {
        let now = Instant::now();
        if now >= deadline {
            break;
        }
        for pair in 0..pairs {
            if traffic.may_send(pair) {
                fleet.write(pair, |out| traffic.send(pair, out, now))?;
            }
        }
        fleet.turn(deadline - now, |index, event, out, now| {
            traffic.on(index, event, out, now);
        })?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let (cpu, own) = (server.nanoseconds()? - cpu_before, watch.read()?);
    if !traffic.done() && traffic.faults.none() {
        let seconds = arguments.seconds_max;
        traffic
            .faults
            .add(|| format!("not everything was acknowledged within {seconds} s"));
    }
    let good = traffic.faults.none();
    fleet.close(CLOSE_SECONDS_MAX)?;

    let sum = |of: fn(&Pair) -> u64| traffic.pairs.iter().map(of).sum::<u64>();
    let received = sum(|pair| pair.received);
    let per_message = |nanoseconds: u64| rounded(nanoseconds as f64 / 1e3 / received.max(1) as f64);
    report::print(&Report {
        pairs,
        messages: sum(|pair| pair.sent),
        received,
        acknowledged: sum(|pair| pair.acknowledged),
        seconds: rounded(seconds),
        messages_per_second: (received as f64 / seconds).round(),
        server_cpu_us_per_message: per_message(cpu),
        own_cpu_us_per_message: per_message(own.nanoseconds),
        own,
        latency: traffic.latencies.summary(),
        faults: traffic.faults,
    })
    .map(|()| good)
}

struct Traffic<'a> {
    arguments: &'a Arguments,
    /// What surrounds the number in a body.
    text: String,
    pairs: Vec<Pair>,
    latencies: Latencies,
    faults: Faults,
}

#[derive(Default)]
struct Pair {
    sent: u64,
    answered: u64,
    received: u64,
    /// Acknowledgements sent, and the place that the latest one was for.
    acks: u64,
    acked: u64,
    /// Deliveries that answers say were settled.
    acknowledged: u64,
    sent_at: Vec<Instant>,
}

impl<'a> Traffic<'a> {
    fn new(arguments: &'a Arguments) -> Self {
        Self {
            arguments,
            text: peer::body(0, arguments.body as usize),
            pairs: (0..arguments.pairs).map(|_| Pair::default()).collect(),
            latencies: Latencies::new(),
            faults: Faults::default(),
        }
    }

    /// Every message was answered, received and settled.
    fn done(&self) -> bool {
        let messages = self.arguments.messages;
        let is_done = |pair: &Pair| pair.answered == messages && pair.acknowledged == messages;
        self.pairs.iter().all(is_done)
    }

    fn may_send(&self, pair: usize) -> bool {
        let pair = &self.pairs[pair];
        // Half of what may be outstanding goes at once: one write for many.
        let outstanding = pair.sent - pair.received.min(pair.answered);
        pair.sent < self.arguments.messages && outstanding <= self.arguments.outstanding / 2
    }

    fn send(&mut self, index: usize, out: &mut Outbox, now: Instant) {
        let pair = &mut self.pairs[index];
        let oldest = pair.received.min(pair.answered);
        let end = self
            .arguments
            .messages
            .min(oldest + self.arguments.outstanding);
        let durable = !self.arguments.volatile;
        while pair.sent < end {
            let id = FIRST_ID + pair.sent;
            let (start, rest) = self.text.split_at(BODY_NUMBER_AT);
            let rest = &rest[NUMBER_DIGITS..];
            out.text(
                format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"method":"agent/send","params":{{"to":{{"agent":"receiver-{index}"}},"durable":{durable},"body":{start}{id}{rest}}}}}"#
                )
                .as_bytes(),
            );
            pair.sent += 1;
            pair.sent_at.push(now);
        }
    }

    fn on(&mut self, index: usize, event: Event<'_>, out: &mut Outbox, now: Instant) {
        let pairs = self.pairs.len();
        let wrong = match event {
            Event::Text(answer) if index < pairs => self.answer(index, answer),
            Event::Text(text) => self.received(index - pairs, text, out, now),
            Event::Closed(reason) => Err(reason),
            Event::Open | Event::Accepted => Ok(()),
        };
        if let Err(problem) = wrong {
            self.faults.add(|| format!("connection {index}: {problem}"));
        }
    }

    fn answer(&mut self, pair: usize, answer: &[u8]) -> Result<(), String> {
        let pair = &mut self.pairs[pair];
        if !peer::is_sent(answer, 1) || pair.answered >= pair.sent {
            return Err(String::from_utf8_lossy(answer).into_owned());
        }
        pair.answered += 1;
        Ok(())
    }

    fn received(
        &mut self,
        index: usize,
        text: &[u8],
        out: &mut Outbox,
        now: Instant,
    ) -> Result<(), String> {
        let pair = &mut self.pairs[index];
        let Some(delivery) = peer::delivery(text) else {
            pair.acknowledged += peer::accepted(text).map_err(|error| format!("{error:#}"))?;
            return Ok(());
        };
        let expected = pair.received + 1;
        let (seq, number) = (delivery.seq, number_of(delivery.body, &self.text));
        if seq != expected || delivery.delivery != 1 || number != Some(FIRST_ID + pair.received) {
            let text = String::from_utf8_lossy(text);
            return Err(format!("not message {expected}: {text}"));
        }
        self.latencies
            .record(now.saturating_duration_since(pair.sent_at[pair.received as usize]));
        pair.received = expected;
        let is_last = expected == self.arguments.messages;
        if expected - pair.acked >= self.arguments.ack_every || is_last {
            out.text(&peer::ack(pair.acks, expected));
            pair.acks += 1;
            pair.acked = expected;
        }
        Ok(())
    }
}

/// Where the number stands in a body of [`peer::body`].
const BODY_NUMBER_AT: usize = r#"{"n":"#.len();
const NUMBER_DIGITS: usize = 10;

/// The number of a body that is otherwise as `text`.
fn number_of(body: &[u8], text: &str) -> Option<u64> {
    let end = BODY_NUMBER_AT + NUMBER_DIGITS;
    let text = text.as_bytes();
    let same = body.len() == text.len()
        && body[..BODY_NUMBER_AT] == text[..BODY_NUMBER_AT]
        && body[end..] == text[end..];
    let digits = std::str::from_utf8(body.get(BODY_NUMBER_AT..end)?).ok()?;
    digits.parse().ok().filter(|_| same)
}
