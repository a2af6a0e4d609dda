//! The command line.

mod bench;
mod call;
mod client;
mod command;
mod dlq;
mod doctor;
mod exit;
mod local;
mod migrate;
mod model;
mod serve;
mod settings;
mod top;
mod transfer;

use clap::ArgMatches;

pub use exit::Exit;

use crate::net::limits;

/// Runs the command that the arguments name and returns the process's exit code.
pub fn run(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Exit {
    // Before anything is allocated; the server says it if it fails.
    let _ = limits::refuse_huge_pages();
    let matches = match command::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version go to standard output and are no errors.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Success
            };
            let _ = error.print();
            return exit;
        }
    };
    match matches.subcommand() {
        Some(("bench", matches)) => bench::run(matches),
        Some(("call", matches)) => call::run(matches),
        Some(("dlq", matches)) => dlq::run(matches),
        Some(("doctor", matches)) => doctor::run(matches),
        Some(("migrate", matches)) => migrate::run(matches),
        Some(("model", matches)) => model::run(matches),
        Some((command @ ("export" | "import" | "backup" | "restore"), matches)) => {
            transfer::run(command, matches)
        }
        Some(("serve", matches)) => serve::run(matches),
        Some(("top", matches)) => top::run(matches),
        _ => serve::run(&matches),
    }
}

/// Reports a failure on standard error.
#[expect(
    clippy::print_stderr,
    reason = "the command line speaks to people here"
)]
fn complain(problem: &dyn std::fmt::Display) {
    eprintln!("tmws: {problem}");
}

/// Writes a line to standard output.
fn say(line: &dyn std::fmt::Display) {
    use std::io::Write;
    // A reader that has gone away needs no more lines.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The text of an argument.
fn text<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    matches.get_one::<String>(name).map(String::as_str)
}
