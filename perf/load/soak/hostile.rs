//! `load hostile`: peers that break the rules, at one rate, each on a connection of its own. Each has
//! to get the error that is meant for it. Beside them others begin a request and never end it: the
//! server has to hang up on them when its time for a head is over.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use parking_lot::Mutex;
use serde::Serialize;
use socket2::SockRef;

use super::wrongs::{self, Ending, Wrong};
use crate::frame;
use crate::limits;
use crate::own_cpu::{OwnCpu, Stopwatch};
use crate::report::{self, Faults, rounded};
use crate::target::Target;

#[derive(Args)]
pub(crate) struct Arguments {
    /// http://127.0.0.1:PORT/
    #[arg(long)]
    url: Target,
    /// Wrongs a second
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// Requests that are begun and never ended, at once
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=5_000))]
    halves: u32,
    /// The time that the server gives a request head
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    head_seconds: u64,
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

#[derive(Default, Serialize)]
struct Report {
    /// By what was wrong.
    wrongs: BTreeMap<&'static str, u64>,
    done: u64,
    /// Requests on which the server hung up in time.
    halves_ended: u64,
    /// Of these the time ended before that of the server.
    halves_given_up: u64,
    seconds: f64,
    #[serde(flatten)]
    own: Option<OwnCpu>,
    #[serde(flatten)]
    faults: Faults,
}

/// Peers at once: each waits for its answer.
const THREADS: u32 = 8;
const ANSWER_SECONDS_MAX: Duration = Duration::from_secs(10);
/// What the server may take beyond its time for a head: it looks at deadlines every 250 ms, and the
/// machine may be busy.
const GRACE: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Before requests are begun again after an error: a server that is gone refuses at once.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    limits::open_files_at_least(arguments.halves as usize + 128)?;
    let host = arguments.url.address.to_string();
    let wrongs = wrongs::all(&host);
    let report = Mutex::new(Report::default());
    let watch = Stopwatch::start()?;
    let start = Instant::now();
    let end = start + Duration::from_secs(arguments.seconds);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (wrongs, report, host) = (&wrongs, &report, &host);
            scope.spawn(move || {
                let mut number = u64::from(thread);
                loop {
                    let nanoseconds = number * 1_000_000_000 / u64::from(arguments.rate);
                    let due = start + Duration::from_nanos(nanoseconds);
                    if due >= end || Instant::now() >= end {
                        break;
                    }
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    let wrong = &wrongs[number as usize % wrongs.len()];
                    let done = commit(arguments, host, wrong);
                    let mut report = report.lock();
                    match done {
                        Ok(()) => {
                            *report.wrongs.entry(wrong.name).or_default() += 1;
                            report.done += 1;
                        }
                        Err(error) => report.faults.add(|| format!("{}: {error:#}", wrong.name)),
                    }
                    drop(report);
                    number += u64::from(THREADS);
                }
            });
        }
        let (report, host) = (&report, &host);
        scope.spawn(move || {
            while arguments.halves > 0 && Instant::now() < end {
                match halves(arguments, host, end) {
                    Ok((ended, given_up)) => {
                        let mut report = report.lock();
                        report.halves_ended += ended;
                        report.halves_given_up += given_up;
                    }
                    Err(error) => {
                        let example = || format!("half a head: {error:#}");
                        report.lock().faults.add(example);
                        thread::sleep(PAUSE);
                    }
                }
            }
        });
    });
    let mut report = report.into_inner();
    report.seconds = rounded(watch.elapsed().as_secs_f64());
    report.own = Some(watch.read()?);
    report::print(&report)?;
    Ok(report.faults.none() && report.done > 0)
}

fn connect(arguments: &Arguments) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&arguments.url.address, ANSWER_SECONDS_MAX)?;
    stream.set_read_timeout(Some(ANSWER_SECONDS_MAX))?;
    stream.set_write_timeout(Some(ANSWER_SECONDS_MAX))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Does one wrong and looks at what comes of it.
fn commit(arguments: &Arguments, host: &str, wrong: &Wrong) -> anyhow::Result<()> {
    let mut stream = connect(arguments).context("connect")?;
    let mut heard = Vec::new();
    if wrong.upgraded {
        stream.write_all(wrongs::handshake(host).as_bytes())?;
        hear(&mut stream, &mut heard, |heard| head_end(heard).is_some())?;
        let head = head_end(&heard).context("no answer to the handshake")?;
        ensure!(status(&heard) == Some(101), "{}", lossy(&heard));
        heard.drain(..head);
    }
    // Whoever is refused early may find its connection closed before all is written.
    let written = stream.write_all(&wrong.bytes);
    if wrong.ending == Ending::Reset {
        written?;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        return Ok(());
    }
    match wrong.ending {
        Ending::Close(code) => {
            hear(&mut stream, &mut heard, |heard| frame_of(heard).is_some())?;
            let (opcode, payload) = frame_of(&heard).context("no frame")?;
            let said = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            ensure!(opcode == frame::CLOSE && said == Some(code), "{said:?}");
            // And nothing after it: the server closes once it is answered or has waited.
            let mut answer = Vec::new();
            frame::write(&mut answer, frame::CLOSE, payload, *b"mask");
            stream.write_all(&answer).ok();
        }
        Ending::Error(code) => {
            hear(&mut stream, &mut heard, |heard| frame_of(heard).is_some())?;
            let (_, payload) = frame_of(&heard).context("no frame")?;
            let answer: serde_json::Value = serde_json::from_slice(payload)?;
            ensure!(answer["error"]["data"]["code"] == code, "{answer}");
        }
        Ending::Status(expected) => {
            hear(&mut stream, &mut heard, |heard| head_end(heard).is_some())?;
            ensure!(status(&heard) == Some(expected), "{}", lossy(&heard));
        }
        Ending::Reset => {}
    }
    Ok(())
}

/// Reads until enough was heard, or nothing more comes.
fn hear(
    stream: &mut TcpStream,
    heard: &mut Vec<u8>,
    enough: impl Fn(&[u8]) -> bool,
) -> anyhow::Result<()> {
    let mut buffer = [0; 4_096];
    while !enough(heard) && heard.len() < ANSWER_BYTES_MAX {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => heard.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => bail!("{error}, heard {:?}", lossy(heard)),
        }
    }
    Ok(())
}

fn head_end(heard: &[u8]) -> Option<usize> {
    memchr::memmem::find(heard, b"\r\n\r\n").map(|at| at + 4)
}

fn status(heard: &[u8]) -> Option<u16> {
    let line = heard.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(line).ok()?.parse().ok()
}

fn frame_of(heard: &[u8]) -> Option<(u8, &[u8])> {
    let frame = frame::read(heard).ok().flatten()?;
    Some((frame.opcode, frame.payload))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned()
}

/// Begins requests and waits for the server to hang up; how many it did, and how many were given up
/// because the time of the run was over before the server's.
fn halves(arguments: &Arguments, host: &str, end: Instant) -> anyhow::Result<(u64, u64)> {
    let head = wrongs::handshake(host);
    let mut streams = Vec::new();
    for number in 0..arguments.halves as usize {
        let mut stream = connect(arguments)?;
        // Each of another length, so that all states of the parser are held.
        stream.write_all(&head.as_bytes()[..number % (head.len() - 1)])?;
        streams.push(stream);
    }
    let over = Instant::now() + Duration::from_secs(arguments.head_seconds) + GRACE;
    let (mut ended, mut given_up) = (0, 0);
    for mut stream in streams {
        let until = over.min(end);
        let left = until.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut heard = Vec::new();
        // It may say why first (408).
        let done = hear(&mut stream, &mut heard, |_| false);
        match done {
            Ok(()) => ended += 1,
            Err(_) if end <= over => given_up += 1,
            Err(error) => bail!("the server does not hang up: {error:#}"),
        }
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    }
    Ok((ended, given_up))
}
