//! One configured value and the kind that its key demands.

use std::fmt;

/// A checked value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// True or false.
    Boolean(bool),
    /// A whole number inside the key's bounds.
    Integer(i64),
    /// Text, a path or one of the key's choices.
    Text(String),
    /// Several texts.
    List(Vec<String>),
}

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `true`, `false`, `1`, `0`, `yes`, `no`, `on`, `off`.
    Boolean,
    /// A whole number between two bounds, in the unit that the key's help states.
    Integer {
        /// Least.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// Any text.
    Text,
    /// Text that is never printed.
    Secret,
    /// One of these.
    Choice(&'static [&'static str]),
    /// Texts, separated by commas in flags and environment.
    List,
}

impl Kind {
    /// Reads a value from a flag or an environment variable.
    pub(super) fn parse(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Ok(Value::Boolean(true)),
                "false" | "0" | "no" | "off" | "" => Ok(Value::Boolean(false)),
                _ => Err(format!("{text:?} is neither true nor false")),
            },
            Self::Integer { .. } => match text.trim().parse() {
                Ok(number) => self.check(Value::Integer(number)),
                Err(_) => Err(format!("{text:?} is not a whole number")),
            },
            Self::Text | Self::Secret | Self::Choice(_) => self.check(Value::Text(text.to_owned())),
            Self::List => {
                let parts = text
                    .split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty());
                Ok(Value::List(parts.map(str::to_owned).collect()))
            }
        }
    }

    /// Reads a value from the file.
    pub(super) fn accept(self, value: &toml::Value) -> Result<Value, String> {
        match (self, value) {
            (Self::Boolean, toml::Value::Boolean(value)) => Ok(Value::Boolean(*value)),
            (Self::Integer { .. }, toml::Value::Integer(number)) => {
                self.check(Value::Integer(*number))
            }
            (Self::Text | Self::Secret | Self::Choice(_), toml::Value::String(text)) => {
                self.check(Value::Text(text.clone()))
            }
            (Self::List, toml::Value::String(text)) => self.parse(text),
            (Self::List, toml::Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
                .map(Value::List)
                .ok_or_else(|| "must hold texts only".to_owned()),
            _ => Err(format!("must be {self}, is {}", value.type_str())),
        }
    }

    fn check(self, value: Value) -> Result<Value, String> {
        match (self, &value) {
            (Self::Integer { min, max }, Value::Integer(number))
                if !(min..=max).contains(number) =>
            {
                Err(format!("must lie between {min} and {max}, is {number}"))
            }
            (Self::Choice(choices), Value::Text(text))
                if !choices
                    .iter()
                    .any(|choice| choice.eq_ignore_ascii_case(text)) =>
            {
                Err(format!("{text:?} is not one of {}", choices.join(", ")))
            }
            (Self::Choice(_), Value::Text(text)) => Ok(Value::Text(text.to_ascii_lowercase())),
            _ => Ok(value),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("true or false"),
            Self::Integer { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Text | Self::Secret => f.write_str("a text"),
            Self::Choice(choices) => write!(f, "one of {}", choices.join(", ")),
            Self::List => f.write_str("a list of texts"),
        }
    }
}
