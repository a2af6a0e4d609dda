//! `tmws top`: what a running server does, again and again.
//!
//! Each look is a connection of its own: one that is read every few seconds only would be taken for
//! dead by the pings that it leaves unanswered.

mod rates;
mod screen;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde::Serialize;
use sonic_rs::JsonValueTrait;
use tokio::time::sleep;

use super::client::{self, Client, Failure, within};
use super::command::client_arguments;
use super::{Exit, exit, say};
use crate::operations::Report;
use crate::rpc::Condition;
use rates::Rates;

/// Seconds between two looks.
const INTERVAL_DEFAULT: &str = "2";
/// The longest pause that is of use.
const INTERVAL_MAX: u64 = 3_600;
/// Moves to the first column of the first line and removes what is below (ECMA-48).
const CLEAR: &str = "\x1b[H\x1b[J";

/// The subcommand as it is typed.
pub(super) fn command() -> Command {
    Command::new("top")
        .about("Show what a running server does, and what would help it")
        .after_help(exit::HELP)
        .arg(
            Arg::new("interval")
                .long("interval")
                .value_name("SECONDS")
                .default_value(INTERVAL_DEFAULT)
                .value_parser(value_parser!(u64).range(1..=INTERVAL_MAX))
                .help("Seconds over which rates are counted"),
        )
        .arg(
            Arg::new("count")
                .long("count")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("End after so many screens (default: when it is interrupted)"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("A line of JSON for each screen: the rates and the report"),
        )
        .args(client_arguments())
}

pub(super) fn run(matches: &ArgMatches) -> Exit {
    client::run(watch(matches))
}

/// What `--json` writes for each screen.
#[derive(Serialize)]
struct Line<'a> {
    rates: &'a Rates,
    report: &'a Report,
}

async fn watch(matches: &ArgMatches) -> Result<(), Failure> {
    let interval = matches.get_one::<u64>("interval").copied();
    let interval = Duration::from_secs(interval.unwrap_or(1));
    let count = matches.get_one::<u64>("count").copied();
    let json = matches.get_flag("json");
    let clears = !json && std::io::stdout().is_terminal();
    let mut before = (Instant::now(), look(matches).await?);
    let mut shown = 0;
    while count.is_none_or(|count| shown < count) {
        sleep(interval).await;
        let now = (Instant::now(), look(matches).await?);
        let rates = Rates::between(&before.1, &now.1, (now.0 - before.0).as_secs_f64());
        if json {
            let line = Line {
                rates: &rates,
                report: &now.1,
            };
            let text = sonic_rs::to_string(&line);
            say(&text.map_err(|error| Failure::Failed(error.to_string()))?);
        } else {
            let screen = screen::text(&rates, &now.1);
            say(&format!("{}{screen}", if clears { CLEAR } else { "" }));
        }
        before = now;
        shown += 1;
    }
    Ok(())
}

/// One report.
async fn look(matches: &ArgMatches) -> Result<Report, Failure> {
    within(async {
        let mut client = Client::connect(matches).await?;
        let report = client.request("system/performance", "{}").await;
        client.close().await;
        report.map_err(explained)
    })
    .await
}

/// A server that does not know the report is older than this program.
fn explained(failure: Failure) -> Failure {
    let unknown = Condition::MethodNotFound.row().rpc;
    match failure {
        Failure::Refused(error) if error["code"].as_i64() == Some(unknown.into()) => {
            Failure::Older(format!(
                "the server does not know system/performance: it is older than this program ({})",
                env!("CARGO_PKG_VERSION")
            ))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, explained};
    use crate::cli::Exit;

    #[test]
    fn an_older_server_is_told_from_one_that_refuses() {
        let refused = |text| Failure::Refused(sonic_rs::from_str(text).unwrap());
        let older = explained(refused(r#"{"code":-32601,"message":"no such method"}"#));
        assert!(matches!(&older, Failure::Older(text) if text.contains("older than this")));
        assert_eq!(older.report(), Exit::Refused);
        let other = explained(refused(r#"{"code":1403,"message":"no"}"#));
        assert!(matches!(other, Failure::Refused(_)));
    }
}
