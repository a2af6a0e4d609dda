//! `load churn`: clients that all connect at once, call, and are all reset at once, again and again.
//!
//! Half of each wave takes up the sessions of the wave before and has to get them back; the other half
//! is new. A part is reset in the middle of a call, so nobody hears its answer.

use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use crate::connection::{Dial, Event, Leaving};
use crate::delivery::peer::{self, Welcome};
use crate::fleet::Fleet;
use crate::jsonrpc::{self, FIRST_ID};
use crate::latency::{Latencies, Summary};
use crate::own_cpu::{OwnCpu, Stopwatch};
use crate::report::{self, Faults, rounded};
use crate::target::Target;

#[derive(Args)]
pub(crate) struct Arguments {
    /// ws://127.0.0.1:PORT/PATH
    #[arg(long)]
    url: Target,
    /// Of a wave
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u32).range(2..=5_000))]
    sessions: u32,
    /// From the beginning of a wave to the next one, at least
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    wave_ms: u64,
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

#[derive(Serialize)]
struct Report {
    waves: u64,
    connected: u64,
    calls: u64,
    resumed: u64,
    /// Reset before their answer could come.
    abandoned: u64,
    seconds: f64,
    /// From the first connection of a wave until all are welcomed.
    #[serde(flatten)]
    storm: Summary,
    #[serde(flatten)]
    own: OwnCpu,
    #[serde(flatten)]
    faults: Faults,
}

const ANSWER_SECONDS_MAX: u64 = 30;
/// One in so many is reset without an answer.
const ABANDONED_EVERY: usize = 5;
/// Seconds that a memory lives of which nobody has heard.
const ABANDONED_TTL: u64 = 5;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let sessions = arguments.sessions as usize;
    let watch = Stopwatch::start()?;
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    let (mut storm, mut faults) = (Latencies::new(), Faults::default());
    let (mut waves, mut calls, mut resumed, mut abandoned) = (0, 0, 0, 0);
    let mut before: Vec<Welcome> = Vec::new();
    while Instant::now() < end && faults.none() {
        let began = Instant::now();
        let mut fleet = Fleet::dialled(sessions, Dial::PEER)?;
        let opened = peer::open(&mut fleet, &arguments.url, sessions, |index| {
            format!("churn-{index}")
        });
        let mut welcomes = match opened {
            Ok(welcomes) => welcomes,
            Err(error) => {
                faults.add(|| format!("wave {waves}: {error:#}"));
                break;
            }
        };
        storm.record(began.elapsed());
        let mut to_come = 0;
        fleet.each(|index, out| {
            out.text(&request(index, before.get(index)));
            to_come += usize::from(!is_abandoned(index));
        })?;
        fleet.run_until(ANSWER_SECONDS_MAX, |index, event, _, _| {
            match event {
                Event::Text(text) => match judge(index, text, before.get(index)) {
                    Ok(_) if is_abandoned(index) => {}
                    Ok(back) => {
                        to_come -= 1;
                        calls += u64::from(back.is_none());
                        resumed += u64::from(back.is_some());
                        // The session that its connection began with has ended.
                        if let Some(back) = back {
                            welcomes[index] = back;
                        }
                    }
                    Err(error) => faults.add(|| format!("client {index}: {error:#}")),
                },
                Event::Closed(reason) => faults.add(|| format!("client {index}: {reason}")),
                Event::Open | Event::Accepted => {}
            }
            to_come == 0 || !faults.none()
        })?;
        if to_come > 0 {
            faults.add(|| format!("{to_come} clients have no answer"));
        }
        abandoned += (0..sessions).filter(|index| is_abandoned(*index)).count() as u64;
        fleet.leave(Leaving::Reset)?;
        waves += 1;
        before = welcomes;
        let next = began + Duration::from_millis(arguments.wave_ms);
        std::thread::sleep(next.min(end).saturating_duration_since(Instant::now()));
    }
    let good = faults.none() && waves > 0;
    report::print(&Report {
        waves,
        connected: waves * sessions as u64,
        calls,
        resumed,
        abandoned,
        seconds: rounded(watch.elapsed().as_secs_f64()),
        storm: storm.summary(),
        own: watch.read()?,
        faults,
    })
    .map(|()| good)
}

fn is_abandoned(index: usize) -> bool {
    index.is_multiple_of(ABANDONED_EVERY)
}

/// The one request of a client: its earlier session if it is to come back, or a call.
fn request(index: usize, before: Option<&Welcome>) -> Vec<u8> {
    if is_abandoned(index) {
        let content = "stored by a client that is gone before it hears of it";
        let params = json!({ "content": content, "ttl": ABANDONED_TTL });
        return jsonrpc::request(FIRST_ID, "memory/create", &params);
    }
    match before.filter(|_| comes_back(index)) {
        Some(welcome) => {
            let params = json!({
                "session_id": welcome.session_id, "epoch": welcome.epoch, "last_seq": 0,
                "token": welcome.resume_token,
            });
            jsonrpc::request(FIRST_ID, "session/resume", &params)
        }
        None => jsonrpc::request(FIRST_ID, "system/health", &json!({})),
    }
}

fn comes_back(index: usize) -> bool {
    index.is_multiple_of(2)
}

/// Whether an answer is right; the session that it brings back, if it was to a resume.
fn judge(index: usize, text: &[u8], before: Option<&Welcome>) -> anyhow::Result<Option<Welcome>> {
    let (_, result): (u64, Value) = jsonrpc::result(text)?;
    let Some(welcome) = before.filter(|_| comes_back(index) && !is_abandoned(index)) else {
        return Ok(None);
    };
    let same = result["session_id"] == welcome.session_id.as_str();
    anyhow::ensure!(same && result["recovered"] == true, "{result}");
    Ok(Some(serde_json::from_value(result)?))
}
