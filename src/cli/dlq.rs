//! `tmws dlq`: dead letters of a running server, to list, show, send again and remove.

use std::collections::BTreeSet;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sonic_rs::{JsonValueTrait, Value};
use uuid::Uuid;

use super::client::{self, Client, Failure, pretty, within};
use super::command::client_arguments;
use super::{Exit, exit, say, text};
use crate::domain::message::DEAD_LETTERS_AT_ONCE;

/// Characters of a message's text that a line shows.
const BODY_CHARS_MAX: usize = 60;

/// The subcommand as it is typed.
pub(super) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    let verb = |name: &'static str, about: &'static str| {
        Command::new(name)
            .about(about)
            .after_help(exit::HELP)
            .arg(flag(
                "all-agents",
                "Dead letters of all agents, for administrators (default: of --agent-id only)",
            ))
            .arg(flag(
                "json",
                "Write JSON in one line instead of text for people",
            ))
            .args(client_arguments())
    };
    let chosen = |name: &'static str, about: &'static str| {
        verb(name, about)
            .arg(
                Arg::new("id")
                    .value_name("ID")
                    .num_args(1..)
                    .required_unless_present("all")
                    .value_parser(clap::value_parser!(Uuid))
                    .help("Dead letters, as list shows them"),
            )
            .arg(flag("all", "All of them").conflicts_with("id"))
    };
    Command::new("dlq")
        .about("Messages that a running server gave up: list, get, retry, purge")
        .after_help(exit::HELP)
        .subcommand_required(true)
        .subcommand(
            verb(
                "list",
                "List dead letters, a line for each, the latest first",
            )
            .arg(
                Arg::new("limit")
                    .long("limit")
                    .value_name("N")
                    .value_parser(clap::value_parser!(u32))
                    .help("Letters at most"),
            )
            .arg(
                Arg::new("cursor")
                    .long("cursor")
                    .value_name("TEXT")
                    .help("Where the page before has ended"),
            ),
        )
        .subcommand(
            verb("get", "Show one dead letter whole").arg(
                Arg::new("id")
                    .value_name("ID")
                    .required(true)
                    .value_parser(clap::value_parser!(Uuid))
                    .help("The dead letter, as list shows it"),
            ),
        )
        .subcommand(chosen(
            "retry",
            "Put dead letters back into the inboxes of their agents, as new",
        ))
        .subcommand(chosen("purge", "Remove dead letters for good"))
}

pub(super) fn run(matches: &ArgMatches) -> Exit {
    client::run(async {
        match matches.subcommand() {
            Some(("list", matches)) => list(matches).await,
            Some(("get", matches)) => get(matches).await,
            Some(("retry", matches)) => {
                let done = "back in the inboxes of their agents";
                change(matches, ("dlq/retry", "retried"), done).await
            }
            Some(("purge", matches)) => change(matches, ("dlq/purge", "purged"), "removed").await,
            _ => Err(Failure::Usage("no such command".to_owned())),
        }
    })
}

/// Arguments of the operations.
#[derive(Default, Serialize)]
struct Arguments<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<&'a [Uuid]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<bool>,
    all_agents: bool,
}

impl Arguments<'_> {
    fn new(matches: &ArgMatches) -> Self {
        Self {
            all_agents: matches.get_flag("all-agents"),
            ..Self::default()
        }
    }
}

async fn ask<T: DeserializeOwned>(
    client: &mut Client,
    method: &str,
    arguments: &Arguments<'_>,
) -> Result<T, Failure> {
    let arguments =
        sonic_rs::to_string(arguments).map_err(|error| Failure::Usage(error.to_string()))?;
    within(client.request(method, &arguments)).await
}

fn foreign() -> Failure {
    Failure::Unreachable("the answer is not of this protocol".to_owned())
}

/// What of a letter stands in its line.
#[derive(Deserialize)]
struct Letter {
    id: Uuid,
    agent_id: String,
    namespace: String,
    cause: String,
    reason: Option<String>,
    deliveries: u32,
    died_at: String,
    from_agent_id: String,
    from_namespace: String,
    topic: String,
    priority: String,
    body: Value,
}

impl Letter {
    /// In one line, whatever its message says: what would move the cursor of a terminal is left out.
    fn line(&self) -> String {
        let cause = match &self.reason {
            Some(reason) => format!("{} ({reason})", self.cause),
            None => self.cause.clone(),
        };
        let body = self.body.to_string();
        let mut shown: String = body.chars().take(BODY_CHARS_MAX).collect();
        if shown.len() < body.len() {
            shown.push('…');
        }
        let line = format!(
            "{}  {}  {cause}  deliveries {}  {}  {}/{} -> {}/{}  {}  {shown}",
            self.id,
            self.died_at,
            self.deliveries,
            self.priority,
            self.from_namespace,
            self.from_agent_id,
            self.namespace,
            self.agent_id,
            self.topic,
        );
        line.replace(char::is_control, " ")
    }
}

#[derive(Deserialize)]
struct Page {
    dead_letters: Vec<Letter>,
    next_cursor: Option<String>,
}

async fn list(matches: &ArgMatches) -> Result<(), Failure> {
    let mut client = within(Client::connect(matches)).await?;
    let arguments = Arguments {
        limit: matches.get_one("limit").copied(),
        cursor: text(matches, "cursor"),
        ..Arguments::new(matches)
    };
    if matches.get_flag("json") {
        let page: Value = ask(&mut client, "dlq/list", &arguments).await?;
        client.close().await;
        say(&page);
        return Ok(());
    }
    let page: Page = ask(&mut client, "dlq/list", &arguments).await?;
    client.close().await;
    for letter in &page.dead_letters {
        say(&letter.line());
    }
    if let Some(cursor) = page.next_cursor {
        say(&format!("more: --cursor {cursor}"));
    }
    Ok(())
}

async fn get(matches: &ArgMatches) -> Result<(), Failure> {
    let mut client = within(Client::connect(matches)).await?;
    let arguments = Arguments {
        id: matches.get_one("id").copied(),
        ..Arguments::new(matches)
    };
    let letter: Value = ask(&mut client, "dlq/get", &arguments).await?;
    client.close().await;
    if matches.get_flag("json") {
        say(&letter);
    } else {
        say(&pretty(&letter));
    }
    Ok(())
}

/// Sends letters again or removes them, as many at once as one call takes. `member` is that of the
/// result that tells how many.
async fn change(
    matches: &ArgMatches,
    (method, member): (&str, &str),
    done: &str,
) -> Result<(), Failure> {
    let ids: BTreeSet<Uuid> = matches
        .get_many("id")
        .unwrap_or_default()
        .copied()
        .collect();
    let ids = Vec::from_iter(ids);
    let mut client = within(Client::connect(matches)).await?;
    let mut count = 0;
    let mut goes_on = matches.get_flag("all");
    while goes_on {
        let arguments = Arguments {
            all: Some(true),
            ..Arguments::new(matches)
        };
        let result: Value = ask(&mut client, method, &arguments).await?;
        let some = result[member].as_u64().ok_or_else(foreign)?;
        count += some;
        // What one call has no room for is for the next.
        goes_on = some >= DEAD_LETTERS_AT_ONCE as u64;
    }
    for some in ids.chunks(DEAD_LETTERS_AT_ONCE) {
        let arguments = Arguments {
            ids: Some(some),
            ..Arguments::new(matches)
        };
        let result: Value = ask(&mut client, method, &arguments).await?;
        count += result[member].as_u64().ok_or_else(foreign)?;
    }
    client.close().await;
    if matches.get_flag("json") {
        say(&format!("{{\"{member}\":{count}}}"));
    } else {
        say(&format!("{count} {done}"));
    }
    match (ids.len() as u64).saturating_sub(count) {
        0 => Ok(()),
        left => Err(Failure::Failed(format!(
            "{left} of {} are not there, or their agents have no room",
            ids.len()
        ))),
    }
}
