//! `tmws migrate`.

use clap::ArgMatches;

use super::settings::Sources;
use super::{Exit, complain, local, say};
use crate::config::Config;
use crate::store::{postgres, sqlite};

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
    let (place, migrated) = match &config.database {
        Some(url) => {
            let migrated = local::block_on(postgres::migrate(url.reveal()));
            (
                "the database".to_owned(),
                migrated.map_err(|error| error.to_string()),
            )
        }
        None => {
            let migrated = sqlite::migrate(&config.data_dir);
            let place = config.data_dir.display().to_string();
            (place, migrated.map_err(|error| error.to_string()))
        }
    };
    match migrated {
        Ok((from, to)) if from == to => {
            say(&format!("schema {to} in {place} is up to date"));
            Exit::Success
        }
        Ok((from, to)) => {
            say(&format!("schema {from} -> {to} in {place}"));
            Exit::Success
        }
        Err(error) => {
            complain(&error);
            Exit::Failure
        }
    }
}
