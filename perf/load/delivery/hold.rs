//! `load hold`: sessions for which durable messages wait, held until the server goes away.
//!
//! Each session has received what waits for it and has not answered. What is needed to take the
//! sessions up again is written to a file before the line of the report; then the server is killed.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::peer::{self, Welcome};
use crate::connection::{Dial, Event};
use crate::fleet::Fleet;
use crate::jsonrpc::FIRST_ID;
use crate::outbox::Outbox;
use crate::report::{self, Faults};
use crate::target::Target;

#[derive(Args)]
pub(crate) struct Arguments {
    /// ws://127.0.0.1:PORT/PATH
    #[arg(long)]
    url: Target,
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sessions: u32,
    /// Messages that wait for each
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(0..=100))]
    waiting: u64,
    /// Where the sessions are written down
    #[arg(long)]
    file: PathBuf,
}

/// What `resume` is to take up.
#[derive(Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) waiting: u64,
    pub(super) sessions: Vec<Welcome>,
}

#[derive(Serialize)]
struct Report {
    sessions: usize,
    sent: u64,
    received: u64,
    #[serde(flatten)]
    faults: Faults,
}

const SETTLE: Duration = Duration::from_millis(1_500);
const SEND_SECONDS_MAX: u64 = 120;
/// For the server to be killed.
const HOLD_SECONDS_MAX: u64 = 60;
/// Sends that wait for their answer.
const OUTSTANDING: u64 = 256;

/// The agent of a session.
pub(super) fn agent(index: usize) -> String {
    format!("held-{index}")
}

/// The body of the `n`th message to a session.
pub(super) fn body(index: usize, n: u64) -> String {
    format!(r#"{{"held":{index},"n":{n}}}"#)
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let sessions = arguments.sessions as usize;
    let mut fleet = Fleet::dialled(sessions + 1, Dial::PEER)?;
    let mut held = peer::open(&mut fleet, &arguments.url, sessions + 1, agent)?;
    held.truncate(sessions);
    fleet.run_for(SETTLE, |_, _, _, _| false)?;

    let mut report = Report {
        sessions,
        sent: 0,
        received: 0,
        faults: Faults::default(),
    };
    send_all(arguments, &mut fleet, &mut report)?;
    if !report.faults.none() {
        report::print(&report)?;
        return Ok(false);
    }
    let file = Held {
        waiting: arguments.waiting,
        sessions: held,
    };
    fs::write(&arguments.file, serde_json::to_vec(&file)?)?;
    report::print(&report)?;
    fleet.run_until(HOLD_SECONDS_MAX, |_, _, _, _| false)?;
    Ok(fleet.alive() == 0)
}

/// Sends what is to wait, and sees it arrive.
fn send_all(arguments: &Arguments, fleet: &mut Fleet, report: &mut Report) -> anyhow::Result<()> {
    let sessions = report.sessions;
    let total = arguments.waiting * sessions as u64;
    let mut answered = 0;
    let Report {
        sent,
        received,
        faults,
        ..
    } = report;
    fleet.write(sessions, |out| {
        send(sent, total.min(OUTSTANDING), sessions, out);
    })?;
    fleet.run_until(SEND_SECONDS_MAX, |index, event, out, _| {
        let wrong = match event {
            Event::Text(answer) if index == sessions => {
                answered += 1;
                send(sent, total.min(answered + OUTSTANDING), sessions, out);
                (!peer::is_sent(answer, 1)).then(|| String::from_utf8_lossy(answer).into_owned())
            }
            Event::Text(text) if peer::delivery(text).is_some() => {
                *received += 1;
                None
            }
            Event::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            Event::Closed(reason) => Some(reason),
            Event::Open | Event::Accepted => None,
        };
        if let Some(wrong) = wrong {
            faults.add(|| format!("connection {index}: {wrong}"));
        }
        (answered == total && *received == total) || !faults.none()
    })?;
    if faults.none() && (answered < total || *received < total) {
        faults.add(|| format!("{received} of {total} messages came, {answered} were answered"));
    }
    Ok(())
}

/// Sends messages up to number `end`, to one session after the other.
fn send(sent: &mut u64, end: u64, sessions: usize, out: &mut Outbox) {
    while *sent < end {
        let (index, n) = ((*sent % sessions as u64) as usize, *sent / sessions as u64);
        let (id, agent, body) = (FIRST_ID + *sent, agent(index), body(index, n));
        out.text(
            format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"agent/send","params":{{"to":{{"agent":"{agent}"}},"body":{body}}}}}"#
            )
            .as_bytes(),
        );
        *sent += 1;
    }
}
