//! `tmws serve --print-config`: the result of all sources as a file that can be used again.

use std::fmt::Write as _;

use super::keys::{KEYS, Key};
use super::sources::{Settings, Source};
use super::value::{Kind, Value};

/// The settings as `tmws.toml`, each with its help and where its value came from. Secrets are
/// left out.
pub fn print(settings: &Settings) -> String {
    let mut text = String::from("# flags > TMWS_* variables > this file > defaults\n");
    for key in KEYS {
        let (value, source) = settings.get(key.name);
        let origin = match source {
            Source::Default => "default".to_owned(),
            Source::File => "this file".to_owned(),
            Source::Environment => key.variable(),
            Source::Flag => key.flag(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n# {} ({origin})\n{}", key.help, line(key, value));
    }
    text
}

fn line(key: &Key, value: &Value) -> String {
    let value = match (key.kind, value) {
        (Kind::Secret, Value::Text(text)) if !text.is_empty() => {
            return format!("# {} = (set, not shown)", key.name);
        }
        (_, Value::Boolean(value)) => toml::Value::Boolean(*value),
        (_, Value::Integer(number)) => toml::Value::Integer(*number),
        (_, Value::Text(text)) => toml::Value::String(text.clone()),
        (_, Value::List(items)) => items
            .iter()
            .cloned()
            .map(toml::Value::String)
            .collect::<Vec<_>>()
            .into(),
    };
    format!("{} = {value}", key.name)
}

#[cfg(test)]
mod tests {
    use super::super::gather;
    use super::print;

    #[test]
    fn the_printed_configuration_is_a_file_that_says_the_same() {
        let environment = [
            ("TMWS_WS_PORT".to_owned(), "9001".to_owned()),
            (
                "TMWS_CORS_ORIGINS".to_owned(),
                "https://a.example, https://b.example".to_owned(),
            ),
        ];
        let settings = gather(None, &environment, &[]).unwrap();
        let again = gather(Some(&print(&settings)), &[], &[]).unwrap();
        assert_eq!(again.get("ws_port").0, settings.get("ws_port").0);
        assert_eq!(again.get("cors_origins").0, settings.get("cors_origins").0);
        assert!(print(&settings).contains("(TMWS_WS_PORT)"));
    }

    #[test]
    fn secrets_are_not_printed() {
        let environment = [("TMWS_SECRET_KEY".to_owned(), "s3cr3t-value".to_owned())];
        let text = print(&gather(None, &environment, &[]).unwrap());
        assert!(!text.contains("s3cr3t-value"));
    }
}
