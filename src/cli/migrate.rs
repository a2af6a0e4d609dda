//! `tmws migrate`.

use clap::ArgMatches;

use super::settings::Sources;
use super::{Exit, complain, say};
use crate::config::Config;
use crate::store::sqlite;

pub(super) fn run(matches: &ArgMatches) -> Exit {
    let config = match Sources::new(matches)
        .gather()
        .and_then(|settings| Config::from_settings(&settings))
    {
        Ok(config) => config,
        Err(problems) => {
            complain(&problems);
            return Exit::Usage;
        }
    };
    match sqlite::migrate(&config.data_dir) {
        Ok((from, to)) if from == to => {
            say(&format!(
                "schema {to} in {} is up to date",
                config.data_dir.display()
            ));
            Exit::Success
        }
        Ok((from, to)) => {
            say(&format!(
                "schema {from} -> {to} in {}",
                config.data_dir.display()
            ));
            Exit::Success
        }
        Err(error) => {
            complain(&error);
            Exit::Failure
        }
    }
}
