//! Small pieces of JSON reading and writing that the codecs share.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use sonic_rs::LazyValue;

use crate::config::limits::JSON_DEPTH_MAX;

/// A member that may be absent, as the text of its value. Unlike `Option`, it tells `null` from
/// absence, and it borrows wherever the parser can.
#[derive(Debug, Default, Clone)]
pub struct Member<'a>(Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Member<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        LazyValue::deserialize(deserializer).map(|value| Self(Some(value.as_raw_cow())))
    }
}

impl<'a> Member<'a> {
    /// The member whose value has this JSON text.
    pub(super) fn of(raw: Option<&'a str>) -> Self {
        Self(raw.map(Cow::Borrowed))
    }

    /// The JSON text of the value; `None` if the member is absent.
    pub fn raw(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The JSON text of the value, for longer than the member lives.
    pub fn into_raw(self) -> Option<Cow<'a, str>> {
        self.0
    }

    /// The text of a JSON string; `None` if absent or of another type.
    pub fn string(&self) -> Option<Cow<'_, str>> {
        string(Cow::Borrowed(self.raw()?))
    }

    /// True if the member is there and not null.
    pub fn is_present(&self) -> bool {
        self.raw().is_some_and(|raw| raw != "null")
    }

    /// True if the member is a JSON object.
    pub fn is_object(&self) -> bool {
        self.raw().is_some_and(|raw| raw.starts_with('{'))
    }
}

/// A member that may be absent and is a string, borrowed unless it holds escapes. It is read in
/// one pass with what surrounds it, which is a third faster than a [`Member`] read again.
#[derive(Debug, Default, Clone)]
pub struct Text<'a>(Option<Cow<'a, str>>);

impl<'a> Text<'a> {
    /// The member with this text.
    pub(super) fn of(text: Option<&'a str>) -> Self {
        Self(text.map(Cow::Borrowed))
    }

    /// The text; `None` if the member is absent.
    pub fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Borrowed(text))))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Some(Cow::Owned(text.to_owned()))))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// The text of a JSON string, borrowed unless it holds escapes.
pub fn string(raw: Cow<'_, str>) -> Option<Cow<'_, str>> {
    if !(raw.len() >= 2 && raw.starts_with('"') && raw.ends_with('"')) {
        return None;
    }
    if memchr::memchr(b'\\', raw.as_bytes()).is_some() {
        return sonic_rs::from_str::<String>(&raw).ok().map(Cow::Owned);
    }
    Some(match raw {
        Cow::Borrowed(raw) => Cow::Borrowed(&raw[1..raw.len() - 1]),
        Cow::Owned(raw) => Cow::Owned(raw[1..raw.len() - 1].to_owned()),
    })
}

/// True if `text` nests deeper than a message may. Parsers recurse, so this comes first.
pub fn is_too_deep(text: &str) -> bool {
    let bytes = text.as_bytes();
    // A short text cannot nest deeper and be JSON; if it is not, its parser goes no deeper than
    // twice the bound.
    if bytes.len() < 2 * (JSON_DEPTH_MAX + 1) {
        return false;
    }
    // Few messages hold more brackets than the bound; counting them is much faster than a walk.
    if memchr::memchr2_iter(b'{', b'[', bytes)
        .take(JSON_DEPTH_MAX + 1)
        .count()
        <= JSON_DEPTH_MAX
    {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in bytes {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > JSON_DEPTH_MAX {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Appends `value` as JSON.
pub fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), sonic_rs::Error> {
    let start = out.len();
    sonic_rs::to_writer(&mut *out, value).inspect_err(|_| out.truncate(start))
}

/// Appends `text` as a JSON string.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    write(out, text).expect("a string is always representable");
}

/// The first line of a parser's message: what follows quotes the input, which stays out of logs
/// and answers.
pub fn reason(error: &sonic_rs::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let end = line.rfind(" at line ").unwrap_or(line.len());
    line[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::{is_too_deep, string};
    use crate::config::limits::JSON_DEPTH_MAX;

    #[test]
    fn depth_counts_brackets_outside_strings() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!is_too_deep(&nested(JSON_DEPTH_MAX)));
        assert!(is_too_deep(&nested(JSON_DEPTH_MAX + 1)));
        assert!(!is_too_deep(&format!(
            "[\"{}\\\"{}\"]",
            "[".repeat(100),
            "{".repeat(100)
        )));
        assert!(!is_too_deep(&"{}".repeat(1000)));
    }

    #[test]
    fn strings_are_borrowed_unless_escaped() {
        assert!(matches!(
            string("\"ping\"".into()),
            Some(std::borrow::Cow::Borrowed("ping"))
        ));
        assert_eq!(string("\"p\\u0069ng\"".into()).unwrap(), "ping");
        assert_eq!(string("7".into()), None);
        assert_eq!(string("\"".into()), None);
    }
}
