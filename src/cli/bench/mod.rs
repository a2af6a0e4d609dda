//! `tmws bench`: a short test of a new host. It starts a server of its own, loads it, checks every
//! answer, and sets what it saw beside the figures that this version was recorded with.
//!
//! Invariants: nothing is left behind, whatever ends it; every loop is bounded by its time.

mod disk;
mod load;
mod record;
mod server;
mod socket;
mod table;
mod work;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::client::{self, Failure};
use super::{Exit, exit, say, text};
use crate::net::affinity;
use load::Load;
use record::Record;
use server::{Scratch, Server};
use work::Work;

/// The stage that others are compared with.
const ECHO: &str = "echo";
/// Everything that is measured, with the requests in flight on each connection, in this order.
const STAGES: &[(&str, usize)] = &[
    (ECHO, 16),
    ("health_check", 16),
    (ECHO, 1),
    ("health_check", 1),
    ("store_memory", 1),
    ("semantic_search", 1),
];
/// The shortest stage in which anything can be counted, and the longest that says more.
const SECONDS: std::ops::RangeInclusive<f64> = 0.02..=60.0;
/// Connections at most: far below the open files that a shell allows.
const CONNECTIONS_MAX: u64 = 500;

/// The subcommand as it is typed.
pub(super) fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("bench")
        .about("Measure this host with a server of its own, beside the recorded figures")
        .after_help(format!(
            "It starts a server with one shard, no model and a directory of its own on free loopback ports,\n\
             and removes both. CPU is that of the server, for each answer.\n\n{}",
            exit::HELP
        ))
        .arg(
            option("seconds", "SECONDS", "Time of each of the measurements")
                .default_value("1")
                .value_parser(seconds),
        )
        .arg(
            option("connections", "N", "Connections at once")
                .default_value("64")
                .value_parser(value_parser!(u64).range(1..=CONNECTIONS_MAX)),
        )
        .arg(option(
            "dir",
            "PATH",
            "Directory on the disk that is to be measured (default: where temporary files are)",
        ))
        .arg(option(
            "record",
            "PATH",
            "Write the figures to this file, as perf/baseline.toml holds them",
        ))
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("One line of JSON: this run and the recorded one"),
        )
}

fn seconds(text: &str) -> Result<f64, String> {
    let allowed = || format!("{} to {}", SECONDS.start(), SECONDS.end());
    let seconds: f64 = text.parse().map_err(|_| format!("must be {}", allowed()))?;
    match SECONDS.contains(&seconds) {
        true => Ok(seconds),
        false => Err(format!("must be {}", allowed())),
    }
}

pub(super) fn run(matches: &ArgMatches) -> Exit {
    client::run(async {
        let refused = |error: std::io::Error| Failure::Failed(error.to_string());
        let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
        let interrupted = || Err(Failure::Failed("interrupted; nothing is left".to_owned()));
        // Whatever is dropped here ends the server and removes its directory.
        tokio::select! {
            done = bench(matches) => done,
            _ = interrupt.recv() => interrupted(),
            _ = terminate.recv() => interrupted(),
        }
    })
}

/// What `--json` writes.
#[derive(Serialize)]
struct Line<'a> {
    run: &'a Record,
    recorded: &'a Record,
    /// Others keep the machine busy.
    busy: bool,
    /// The store was in memory, so that a sync costs nothing.
    in_memory: bool,
}

async fn bench(matches: &ArgMatches) -> Result<(), Failure> {
    let recorded = Record::recorded().map_err(|error| Failure::Failed(error.to_string()))?;
    let seconds = matches.get_one::<f64>("seconds").copied().unwrap_or(1.0);
    let connections = matches.get_one::<u64>("connections").copied().unwrap_or(64);
    let parent = text(matches, "dir").map_or_else(std::env::temp_dir, PathBuf::from);
    let path = text(matches, "record");
    let mut command = format!("tmws bench --seconds {seconds} --connections {connections}");
    if let Some(path) = path {
        command.push_str(&format!(" --record {path}"));
    }
    let mut run = Record::begin(command, connections, seconds);
    let in_memory = disk::is_in_memory(&parent);
    measure(&parent, &mut run).await?;
    if let Some(path) = path {
        run.commit = record::commit().unwrap_or_else(|| "unknown".to_owned());
        keep(&run, Path::new(path))?;
    }
    if matches.get_flag("json") {
        let line = Line {
            run: &run,
            recorded: &recorded,
            busy: run.is_busy(),
            in_memory,
        };
        let text = sonic_rs::to_string(&line);
        say(&text.map_err(|error| Failure::Failed(error.to_string()))?);
    } else {
        say(&table::text(&run, &recorded, in_memory));
    }
    Ok(())
}

/// Measures everything on a server of its own.
async fn measure(parent: &Path, run: &mut Record) -> Result<(), Failure> {
    let scratch = Scratch::new(parent)?;
    run.sync_us = disk::sync_us(scratch.path(), Duration::from_secs_f64(run.seconds / 2.0))?;
    let server = Server::start(&scratch).await?;
    run.io.clone_from(&server.io);
    // The shard has the first core; the load takes the last one, if it is another.
    if let [_, .., last] = affinity::cores()[..] {
        // Without it the figures are only less even.
        let _ = affinity::pin(last);
    }
    let mut echo = Load::connect(&server, run.connections, true).await?;
    let mut calls = Load::connect(&server, run.connections, false).await?;
    // Connections of their own: what they search for is what they have stored, from the first request on.
    let mut memories = Load::connect(&server, run.connections, false).await?;
    for &(name, in_flight) in STAGES {
        let (load, work) = match name {
            ECHO => (&mut echo, Work::Echo),
            "store_memory" => (&mut memories, Work::Create),
            "semantic_search" => {
                let stored = memories.sent();
                (&mut memories, Work::Search(stored))
            }
            _ => (&mut calls, Work::Health),
        };
        let stage = load.measure(name, work, in_flight, run.seconds).await?;
        run.stages.push(stage);
    }
    Ok(())
}

/// Writes a run down as the figures that a version carries.
fn keep(run: &Record, path: &Path) -> Result<(), Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::Failed(format!("{}: {error}", path.display()));
    let figures = toml::to_string(run).map_err(|error| failed(&error))?;
    let text = format!(
        "# The figures that tmws bench compares with. Written by the command below, not by hand.\n{figures}"
    );
    std::fs::write(path, text).map_err(|error| failed(&error))
}
