//! Load for a running server: `load rate | idle | storm | remember | recall`, and `pairs | fanout |
//! hold | resume | flood` of deliveries; `mixed | hostile | churn` of a long run; and `load echo`, a
//! server that sends bytes back.
//!
//! One thread, one epoll and a client of its own, so that on two cores the server is what
//! is measured. Each scenario prints one line of JSON and fails if an answer was wrong. It connects
//! to loopback addresses only, and every loop ends by count and by time.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a command line tool"
)]

mod call;
mod connection;
mod delivery;
mod echo;
mod fleet;
mod frame;
mod http;
mod idle;
mod inflate;
mod jsonrpc;
mod latency;
mod limits;
mod memory;
mod message;
mod mix;
mod outbox;
mod own_cpu;
mod poller;
mod random;
mod rate;
mod recall;
mod remember;
mod report;
mod request;
mod rest;
mod server_cpu;
mod soak;
mod sources;
mod storm;
mod tally;
mod target;
mod template;
mod traffic;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Loads a running server over loopback and says what it saw.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// A request again and again, or a mix of them: a fixed number in flight, or at a fixed rate
    Rate(rate::Arguments),
    /// Connections that have initialized and then say nothing: what each costs in memory
    Idle(idle::Arguments),
    /// Many agents that store and search at once: each finds its own and nobody else's
    Storm(storm::Arguments),
    /// Stores memories until the server goes away, and writes down what was acknowledged
    Remember(remember::Arguments),
    /// Reads back what `remember` wrote down
    Recall(recall::Arguments),
    /// Senders and receivers in pairs: every message arrives once, in order, and is acknowledged
    Pairs(delivery::pairs::Arguments),
    /// One broadcast to many sessions: what it costs the server until the last one has it
    Fanout(delivery::fanout::Arguments),
    /// Sessions for which messages wait, held until the server goes away
    Hold(delivery::hold::Arguments),
    /// Takes up again what `hold` wrote down
    Resume(delivery::resume::Arguments),
    /// Broadcasts to many sessions, which read them or do not
    Flood(delivery::flood::Arguments),
    /// Agents that do everything a little, at one rate, and come and go
    Mixed(soak::mixed::Arguments),
    /// Peers that break the rules: each gets its error
    Hostile(soak::hostile::Arguments),
    /// Clients that all go and all come back at once
    Churn(soak::churn::Arguments),
    /// Serves an echo of bytes until it is killed: what the kernel alone costs
    Echo(echo::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().scenario {
        Scenario::Rate(arguments) => rate::run(&arguments),
        Scenario::Idle(arguments) => idle::run(&arguments),
        Scenario::Storm(arguments) => storm::run(&arguments),
        Scenario::Remember(arguments) => remember::run(&arguments),
        Scenario::Recall(arguments) => recall::run(&arguments),
        Scenario::Pairs(arguments) => delivery::pairs::run(&arguments),
        Scenario::Fanout(arguments) => delivery::fanout::run(&arguments),
        Scenario::Hold(arguments) => delivery::hold::run(&arguments),
        Scenario::Resume(arguments) => delivery::resume::run(&arguments),
        Scenario::Flood(arguments) => delivery::flood::run(&arguments),
        Scenario::Mixed(arguments) => soak::mixed::run(&arguments),
        Scenario::Hostile(arguments) => soak::hostile::run(&arguments),
        Scenario::Churn(arguments) => soak::churn::run(&arguments),
        Scenario::Echo(arguments) => echo::run(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error:#}");
            // Whoever reads reports finds one of a run that broke off as well.
            report::print(&report::Faults::of(&error)).ok();
            ExitCode::FAILURE
        }
    }
}
