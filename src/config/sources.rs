//! Where settings come from, and what is wrong with them.

use std::collections::BTreeMap;
use std::fmt;

use super::keys::{CLIENT_VARIABLES, KEYS, Key, find};
use super::value::Value;

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The name as the user wrote it, or the key.
    pub name: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem of a key or of a name that is none.
    pub fn of(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            message: message.into(),
        }
    }
}

/// Everything that is wrong, so that one start shows all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}: {}", problem.name, problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A value for every key, and where it came from.
#[derive(Debug, Clone)]
pub struct Settings {
    values: BTreeMap<&'static str, (Value, Source)>,
}

/// Where a value came from, for `--print-config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The key's default.
    Default,
    /// `tmws.toml`.
    File,
    /// A `TMWS_*` variable.
    Environment,
    /// A flag.
    Flag,
}

impl Settings {
    /// The value of a key of the table, with its source.
    pub fn get(&self, key: &str) -> (&Value, Source) {
        let (value, source) = self.values.get(key).expect("a key of the table");
        (value, *source)
    }

    pub(super) fn text(&self, key: &str) -> &str {
        match self.get(key).0 {
            Value::Text(text) => text,
            other => unreachable!("{key} is a text, not {other:?}"),
        }
    }

    pub(super) fn integer(&self, key: &str) -> i64 {
        match self.get(key).0 {
            Value::Integer(number) => *number,
            other => unreachable!("{key} is a number, not {other:?}"),
        }
    }

    pub(super) fn boolean(&self, key: &str) -> bool {
        match self.get(key).0 {
            Value::Boolean(value) => *value,
            other => unreachable!("{key} is true or false, not {other:?}"),
        }
    }

    pub(super) fn list(&self, key: &str) -> Vec<String> {
        match self.get(key).0 {
            Value::List(items) => items.clone(),
            other => unreachable!("{key} is a list, not {other:?}"),
        }
    }
}

/// Merges the file's text, the environment (every variable of the process) and the flags (by key),
/// the later over the earlier.
pub fn gather(
    file: Option<&str>,
    environment: &[(String, String)],
    flags: &[(String, String)],
) -> Result<Settings, Problems> {
    let mut values = BTreeMap::new();
    let mut problems = Vec::new();
    for key in KEYS {
        let default = key
            .kind
            .parse(key.default)
            .expect("the default of a key is valid");
        values.insert(key.name, (default, Source::Default));
    }
    for (name, value) in file_values(file, &mut problems) {
        match find(&name) {
            Some(key) => match key.kind.accept(&value) {
                Ok(value) => drop(values.insert(key.name, (value, Source::File))),
                Err(message) => problems.push(Problem::of(name, message)),
            },
            None => problems.push(unknown(&name, |key| key.name.to_owned())),
        }
    }
    for (variable, text) in environment {
        let Some(name) = variable.strip_prefix("TMWS_") else {
            continue;
        };
        if CLIENT_VARIABLES.contains(&variable.as_str()) {
            continue;
        }
        match find(&name.to_ascii_lowercase()).filter(|_| name == name.to_ascii_uppercase()) {
            Some(key) => match key.kind.parse(text) {
                Ok(value) => drop(values.insert(key.name, (value, Source::Environment))),
                Err(message) => problems.push(Problem::of(variable, message)),
            },
            None => problems.push(unknown(variable, Key::variable)),
        }
    }
    for (name, text) in flags {
        match find(name) {
            Some(key) => match key.kind.parse(text) {
                Ok(value) => drop(values.insert(key.name, (value, Source::Flag))),
                Err(message) => problems.push(Problem::of(key.flag(), message)),
            },
            None => problems.push(unknown(name, Key::flag)),
        }
    }
    if problems.is_empty() {
        Ok(Settings { values })
    } else {
        Err(Problems(problems))
    }
}

fn file_values(file: Option<&str>, problems: &mut Vec<Problem>) -> Vec<(String, toml::Value)> {
    let mut flat = Vec::new();
    match file.unwrap_or_default().parse::<toml::Table>() {
        Ok(table) => flatten("", table, &mut flat),
        Err(error) => {
            let message = error.to_string();
            problems.push(Problem::of(
                "tmws.toml",
                message.trim_end().replace('\n', " "),
            ));
        }
    }
    flat
}

/// `[ws] port = 1` and `ws_port = 1` say the same.
fn flatten(prefix: &str, table: toml::Table, flat: &mut Vec<(String, toml::Value)>) {
    for (name, value) in table {
        let name = format!("{prefix}{name}");
        match value {
            toml::Value::Table(inner) => flatten(&format!("{name}_"), inner, flat),
            value => flat.push((name, value)),
        }
    }
}

fn unknown(name: &str, shown: impl Fn(&Key) -> String) -> Problem {
    let nearest = KEYS
        .iter()
        .map(shown)
        .max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)));
    let hint = nearest.map(|known| format!("; the nearest known name is {known}"));
    Problem::of(name, format!("unknown setting{}", hint.unwrap_or_default()))
}
