//! What a setting is, and which ones this version cannot honour.

use super::keys::KEYS;
use super::sources::{Problem, Settings};
use super::value::{Kind, Value};

/// A setting: `ws_port` in the file, `TMWS_WS_PORT` in the environment, `--ws-port` as a flag.
#[derive(Debug)]
pub struct Key {
    /// Name in the file.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its value unless set.
    pub default: &'static str,
    /// What it does, with its unit.
    pub help: &'static str,
    /// Set when this version has no such feature: the value that is harmless, since it asks for
    /// nothing. Any other is refused rather than ignored.
    pub unavailable: Option<&'static str>,
}

impl Key {
    /// The environment variable.
    pub fn variable(&self) -> String {
        format!("TMWS_{}", self.name.to_ascii_uppercase())
    }

    /// The flag.
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }
}

/// Variables of the client subcommands, which are no settings of the server.
pub const CLIENT_VARIABLES: &[&str] = &[
    "TMWS_URL",
    "TMWS_TOKEN",
    "TMWS_API_KEY",
    "TMWS_AGENT_ID",
    "TMWS_AGENT_NAMESPACE",
];

/// The key of this name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

pub(super) const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> Key {
    Key {
        name,
        kind,
        default,
        help,
        unavailable: None,
    }
}

pub(super) const fn unavailable(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> Key {
    Key {
        unavailable: Some(default),
        ..key(name, kind, default, help)
    }
}

pub(super) const fn integer(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

/// Refuses settings that ask for what this version cannot do: an operator who turned
/// authentication on must not find it off.
pub(super) fn refuse_unavailable(settings: &Settings, problems: &mut Vec<Problem>) {
    for key in KEYS {
        if let Some(harmless) = key.unavailable
            && key.kind.parse(harmless).as_ref() != Ok(settings.get(key.name).0)
        {
            problems.push(Problem::of(key.name, "is not available in this version"));
        }
    }
    let url = settings.text("database_url");
    let postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
    if !url.is_empty() && !url.starts_with("sqlite:") && !postgres {
        problems.push(Problem::of(
            "database_url",
            "must begin with postgres:// or be empty for the embedded store",
        ));
    } else if !postgres && url.len() > "sqlite:".len() {
        problems.push(Problem::of(
            "database_url",
            "the embedded store lives in data_dir; leave the rest of the address empty",
        ));
    }
    let redis = settings.text("redis_url");
    if !redis.is_empty() && !redis.starts_with("redis://") {
        problems.push(Problem::of("redis_url", "must begin with redis://"));
    } else if !redis.is_empty() && !postgres {
        problems.push(Problem::of(
            "redis_url",
            "joins the nodes of a fleet, which share a database: set database_url too",
        ));
    }
    if settings.get("environment").0 == &Value::Text("production".to_owned()) {
        problems.push(Problem::of(
            "environment",
            "production demands authentication, which is not available in this version",
        ));
    }
}
