//! `load resume`: takes up again the sessions that `load hold` wrote down, with a server that has just
//! started. Each has to be recovered and to get again, in order, what it had not answered.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::hold::{self, Held};
use super::peer::{self, Welcome};
use crate::connection::{Dial, Event};
use crate::fleet::Fleet;
use crate::jsonrpc::{self, FIRST_ID};
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
    /// What `hold` has written
    #[arg(long)]
    file: PathBuf,
    #[arg(long)]
    server_pid: u32,
}

#[derive(Serialize)]
struct Report {
    sessions: usize,
    recovered: usize,
    /// Messages that came again, and those that were settled then.
    redelivered: u64,
    acknowledged: u64,
    /// CPU time of the process before the first connection.
    start_server_cpu_ms: f64,
    /// From there until all are connected and welcomed.
    connect_server_cpu_ms: f64,
    /// From there until the last resume was answered.
    resume_server_cpu_ms: f64,
    /// From there until everything that waited was delivered and settled.
    redeliver_server_cpu_ms: f64,
    connect_ms: f64,
    resume_ms: f64,
    redeliver_ms: f64,
    /// From the first connection on.
    #[serde(flatten)]
    own: OwnCpu,
    #[serde(flatten)]
    faults: Faults,
}

#[derive(Deserialize)]
struct Resumed {
    recovered: bool,
    session_id: String,
}

const RESUME_SECONDS_MAX: u64 = 60;
const CLOSE_SECONDS_MAX: u64 = 10;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let text = fs::read(&arguments.file).context("the file of held sessions")?;
    let held: Held = serde_json::from_slice(&text)?;
    let sessions = held.sessions.len();
    let server = ServerCpu::of(arguments.server_pid)?;
    let watch = Stopwatch::start()?;
    let mut marks = vec![(server.nanoseconds()?, Instant::now())];
    let mut mark = || -> anyhow::Result<()> {
        marks.push((server.nanoseconds()?, Instant::now()));
        Ok(())
    };

    let mut fleet = Fleet::dialled(sessions, Dial::PEER)?;
    peer::open(&mut fleet, &arguments.url, sessions, hold::agent)?;
    mark()?;
    let mut return_ = Return::new(held);
    fleet.each(|index, out| return_.ask(index, out))?;
    fleet.run_until(RESUME_SECONDS_MAX, |index, event, out, _| {
        return_.on(index, event, out);
        return_.answered == sessions || !return_.faults.none()
    })?;
    mark()?;
    if !return_.done() && return_.faults.none() {
        fleet.run_until(RESUME_SECONDS_MAX, |index, event, out, _| {
            return_.on(index, event, out);
            return_.done() || !return_.faults.none()
        })?;
    }
    mark()?;
    let own = watch.read()?;
    fleet.close(CLOSE_SECONDS_MAX)?;

    let milliseconds = |nanoseconds: u64| rounded(nanoseconds as f64 / 1e6);
    let cpu = |from: usize| milliseconds(marks[from + 1].0 - marks[from].0);
    let wall = |from: usize| rounded((marks[from + 1].1 - marks[from].1).as_secs_f64() * 1e3);
    if !return_.done() && return_.faults.none() {
        let recovered = return_.recovered;
        return_.faults.add(|| {
            format!("{recovered} of {sessions} sessions came back, or not with everything")
        });
    }
    let good = return_.faults.none();
    report::print(&Report {
        sessions,
        recovered: return_.recovered,
        redelivered: return_.clients.iter().sum(),
        acknowledged: return_.acknowledged,
        start_server_cpu_ms: milliseconds(marks[0].0),
        connect_server_cpu_ms: cpu(0),
        resume_server_cpu_ms: cpu(1),
        redeliver_server_cpu_ms: cpu(2),
        connect_ms: wall(0),
        resume_ms: wall(1),
        redeliver_ms: wall(2),
        own,
        faults: return_.faults,
    })?;
    Ok(good)
}

/// Clients that come back.
struct Return {
    held: Held,
    /// Messages that each has received again.
    clients: Vec<u64>,
    answered: usize,
    recovered: usize,
    acknowledged: u64,
    faults: Faults,
}

impl Return {
    fn new(held: Held) -> Self {
        Self {
            clients: vec![0; held.sessions.len()],
            held,
            answered: 0,
            recovered: 0,
            acknowledged: 0,
            faults: Faults::default(),
        }
    }

    fn done(&self) -> bool {
        let sessions = self.clients.len();
        let all = sessions as u64 * self.held.waiting;
        self.recovered == sessions && self.acknowledged == all
    }

    fn ask(&self, index: usize, out: &mut Outbox) {
        let Welcome {
            session_id,
            epoch,
            resume_token,
        } = &self.held.sessions[index];
        let params = json!({
            "session_id": session_id, "epoch": epoch, "token": resume_token,
            "last_seq": self.held.waiting,
        });
        out.text(&jsonrpc::request(FIRST_ID, "session/resume", &params));
    }

    fn on(&mut self, index: usize, event: Event<'_>, out: &mut Outbox) {
        let wrong = match event {
            Event::Text(text) => self.hear(index, text, out),
            Event::Closed(reason) => Err(anyhow::anyhow!(reason)),
            Event::Open | Event::Accepted => Ok(()),
        };
        if let Err(error) = wrong {
            self.faults.add(|| format!("session {index}: {error:#}"));
        }
    }

    fn hear(&mut self, index: usize, text: &[u8], out: &mut Outbox) -> anyhow::Result<()> {
        let lossy = || String::from_utf8_lossy(text).into_owned();
        if let Some(delivery) = peer::delivery(text) {
            let n = self.clients[index];
            let is_next = delivery.seq == n + 1 && delivery.delivery == 2;
            let is_body = delivery.body == hold::body(index, n).as_bytes();
            anyhow::ensure!(is_next && is_body, "not message {n}: {}", lossy());
            self.clients[index] += 1;
            if self.clients[index] == self.held.waiting {
                out.text(&peer::ack(1, delivery.seq));
            }
            return Ok(());
        }
        if let Ok(accepted) = peer::accepted(text) {
            self.acknowledged += accepted;
            return Ok(());
        }
        let (_, resumed): (u64, Resumed) = jsonrpc::result(text).with_context(lossy)?;
        self.answered += 1;
        let same = resumed.session_id == self.held.sessions[index].session_id;
        anyhow::ensure!(resumed.recovered && same, "{}", lossy());
        self.recovered += 1;
        Ok(())
    }
}
