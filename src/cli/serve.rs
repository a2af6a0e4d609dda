//! `tmws serve`.

use clap::ArgMatches;

use super::settings::Sources;
use super::{Exit, complain, say};
use crate::config::{self, Config};
use crate::server;
use crate::telemetry::log;

pub(super) fn run(matches: &ArgMatches) -> Exit {
    let sources = Sources::new(matches);
    let loaded = sources.gather().and_then(|settings| {
        let config = Config::from_settings(&settings)?;
        Ok((settings, config))
    });
    let (settings, config) = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => {
            complain(&problems);
            return Exit::Usage;
        }
    };
    if matches.get_flag("print-config") {
        say(&config::print(&settings).trim_end());
        return Exit::Success;
    }
    let log = match log::start(
        &config.log.level,
        config.log.json,
        config.log.file.as_deref(),
    ) {
        Ok(log) => log,
        Err(error) => {
            complain(&error);
            return Exit::Usage;
        }
    };
    let reload: server::Reload = Box::new(move || Config::from_settings(&sources.gather()?));
    match server::run(config, &reload, &log) {
        Ok(()) => Exit::Success,
        Err(error) => {
            tracing::error!(%error, "the server ended");
            complain(&error);
            Exit::Failure
        }
    }
}
