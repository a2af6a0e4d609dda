//! JSON that a caller attaches and the server keeps as it was written: an object, or any value.

use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sonic_rs::LazyValue;

/// The text of one JSON object. It is checked when it enters and copied verbatim from then on.
#[derive(Clone, PartialEq, Eq)]
pub struct JsonObject(Box<str>);

impl JsonObject {
    /// Takes over `text`, which must be one JSON object.
    pub fn parse(text: &str) -> Option<Self> {
        let value: LazyValue<'_> = sonic_rs::from_str(text).ok()?;
        Self::from_value(&value)
    }

    fn from_value(value: &LazyValue<'_>) -> Option<Self> {
        let text = text_of(value)?;
        text.starts_with('{').then(|| Self(text.into()))
    }

    /// The object's JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Levels of nesting, the object itself being the first.
    pub fn depth(&self) -> usize {
        depth(&self.0)
    }
}

/// Levels of nesting of a JSON text; 0 if it is neither an object nor an array.
fn depth(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut depth, mut deepest, mut at) = (0_usize, 0_usize, 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = after_string(bytes, at),
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    deepest
}

/// The place after a string whose text begins at `at`. Most of a long text lies in its strings, so they
/// are not walked through byte by byte.
fn after_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(rest) = bytes.get(at..)
        && let Some(found) = memchr::memchr2(b'"', b'\\', rest)
    {
        at += found + 1;
        if rest[found] == b'"' {
            return at;
        }
        // Whatever a backslash stands before is no end.
        at += 1;
    }
    bytes.len()
}

/// The text of a value, if it parses from end to end.
fn text_of<'v>(value: &'v LazyValue<'_>) -> Option<&'v str> {
    let text = value.as_raw_str();
    // A lazy value knows where it ends, not what its strings and numbers hold: one bad escape
    // would spoil every answer that the value is copied into.
    sonic_rs::from_str::<Whole>(text).ok()?;
    Some(text)
}

/// Any value, read from end to end and forgotten.
struct Whole;

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor)
    }
}

struct WholeVisitor;

impl<'de> Visitor<'de> for WholeVisitor {
    type Value = Whole;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Whole, E> {
        Ok(Whole)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Whole, E> {
        Ok(Whole)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Whole, E> {
        Ok(Whole)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Whole, E> {
        Ok(Whole)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Whole, E> {
        Ok(Whole)
    }

    fn visit_str<E>(self, _: &str) -> Result<Whole, E> {
        Ok(Whole)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Whole, A::Error> {
        while elements.next_element::<Whole>()?.is_some() {}
        Ok(Whole)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Whole, A::Error> {
        while members.next_entry::<Whole, Whole>()?.is_some() {}
        Ok(Whole)
    }
}

impl Default for JsonObject {
    fn default() -> Self {
        Self("{}".into())
    }
}

impl fmt::Debug for JsonObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for JsonObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: LazyValue<'_> =
            sonic_rs::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        value.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = LazyValue::deserialize(deserializer)?;
        Self::from_value(&value).ok_or_else(|| serde::de::Error::custom("expected a JSON object"))
    }
}

impl schemars::JsonSchema for JsonObject {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Object".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "object"})
    }
}

/// The text of one JSON value of any kind. It is checked when it enters and copied verbatim from
/// then on; copies share it.
#[derive(Clone, PartialEq, Eq)]
pub struct JsonText(Arc<str>);

impl JsonText {
    /// Takes over `text`, which must be one JSON value.
    pub fn parse(text: &str) -> Option<Self> {
        let value: LazyValue<'_> = sonic_rs::from_str(text).ok()?;
        text_of(&value).map(|text| Self(text.into()))
    }

    /// Takes over what a store kept, which was checked when it entered.
    pub fn of_store(text: &str) -> Self {
        Self(text.into())
    }

    /// The value's JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Levels of nesting; 0 for what is neither an object nor an array.
    pub fn depth(&self) -> usize {
        depth(&self.0)
    }
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for JsonText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: LazyValue<'_> =
            sonic_rs::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        value.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = LazyValue::deserialize(deserializer)?;
        let text = text_of(&value).ok_or_else(|| serde::de::Error::custom("expected JSON"))?;
        Ok(Self(text.into()))
    }
}

impl schemars::JsonSchema for JsonText {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Json".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!(true)
    }
}

#[cfg(test)]
mod tests {
    use super::{JsonObject, JsonText};

    #[test]
    fn depth_counts_brackets_outside_strings() {
        for (text, depth) in [
            ("{}", 1),
            (r#"{"a":"[{\"["}"#, 1),
            (r#"{"a":"\\","b":[{"c":"\\\""}]}"#, 3),
            (r#"{"a":[{}],"b":[]}"#, 3),
        ] {
            assert_eq!(JsonObject::parse(text).unwrap().depth(), depth, "{text}");
        }
    }

    #[test]
    fn only_whole_objects_are_taken() {
        assert_eq!(
            JsonObject::parse(r#"{"a":[1,"\u00e9"]}"#).unwrap().as_str(),
            r#"{"a":[1,"\u00e9"]}"#
        );
        for text in [
            "[]",
            "1",
            "{",
            r#"{"a":"\uiiii"}"#,
            r#"{"a":"\x"}"#,
            "{\"a\":\"\u{1}\"}",
            r#"{"a":01}"#,
            "{} x",
        ] {
            assert!(JsonObject::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn values_of_any_kind_are_kept_as_they_were_written() {
        for text in [
            "null",
            "true",
            "-0.5e-3",
            "18446744073709551616",
            r#""\ud83d\ude00 \" \\ é""#,
            r#"[1, {"a" : [null,false]}]"#,
        ] {
            assert_eq!(JsonText::parse(text).unwrap().as_str(), text);
            let padded = format!(" \n{text} ");
            assert_eq!(JsonText::parse(&padded).unwrap().as_str(), text);
            let inside: Vec<JsonText> = sonic_rs::from_str(&format!("[ {text} ]")).unwrap();
            assert_eq!(inside[0].as_str(), text);
        }
        for text in [
            "",
            "nul",
            "1e",
            "-",
            "1e999",
            r#""\ud83d""#,
            r#"{"a\x":1}"#,
            "[1,]",
            "{1:2}",
        ] {
            assert!(JsonText::parse(text).is_none(), "{text}");
            assert!(
                sonic_rs::from_str::<Vec<JsonText>>(&format!("[{text}]")).is_err()
                    || text.is_empty()
            );
        }
    }
}
