//! From the command line's matches to settings.

use std::path::Path;

use clap::ArgMatches;

use crate::config::keys::KEYS;
use crate::config::{Problem, Problems, Settings, gather};

/// The file that is read if it exists and no other is named.
const FILE_DEFAULT: &str = "tmws.toml";

/// What settings come from, kept so that they can be gathered again.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    file: Option<String>,
    flags: Vec<(String, String)>,
}

impl Sources {
    pub(super) fn new(matches: &ArgMatches) -> Self {
        let flags = KEYS
            .iter()
            .filter(|key| key.unavailable.is_none())
            .filter_map(|key| {
                Some((
                    key.name.to_owned(),
                    super::text(matches, key.name)?.to_owned(),
                ))
            })
            .collect();
        Self {
            file: super::text(matches, "config").map(str::to_owned),
            flags,
        }
    }

    /// Reads the file and the environment, and merges all.
    pub(super) fn gather(&self) -> Result<Settings, Problems> {
        let path = Path::new(self.file.as_deref().unwrap_or(FILE_DEFAULT));
        let file = match std::fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.file.is_none() => {
                None
            }
            Err(error) => {
                let problem = Problem::of(path.display().to_string(), error.to_string());
                return Err(Problems(vec![problem]));
            }
        };
        let environment: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        gather(file.as_deref(), &environment, &self.flags)
    }
}
