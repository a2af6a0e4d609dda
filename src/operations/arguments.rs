//! Arguments: from JSON text to their type, and from their type to a schema.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;

use crate::rpc::{Condition, Fault, json};

/// Declares the arguments of an operation: unknown members are refused, since a mistyped filter
/// that is ignored finds the wrong thing; `_meta` is what the wire adds.
macro_rules! arguments {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[$field_meta])* $field: $type,)*
            #[serde(default, rename = "_meta")]
            #[schemars(skip)]
            _meta: Option<serde::de::IgnoredAny>,
        }
    };
}
pub(super) use arguments;

arguments! {
    /// No arguments.
    Nothing {}
}

/// Reads arguments; absent ones are an empty object.
pub(super) fn parse<A: DeserializeOwned>(text: Option<&str>) -> Result<A, Fault> {
    sonic_rs::from_str(text.unwrap_or("{}"))
        .map_err(|error| Fault::new(Condition::InvalidArguments, json::reason(&error)))
}

/// The schema of a type, whole in itself: references are resolved, so that a model sees all of it.
pub(super) fn schema<T: JsonSchema>() -> Schema {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("title");
    schema.remove("description");
    schema
}

/// Tells an absent member from null, for changes: absent keeps, null clears.
pub(super) fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    serde::Deserialize::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::{Nothing, parse, schema};

    arguments! {
        /// Of a test.
        Sample {
            /// Needed.
            name: String,
            /// Not needed.
            count: Option<u32>,
        }
    }

    #[test]
    fn a_mistyped_member_is_named_and_meta_is_not_one() {
        assert!(parse::<Nothing>(None).is_ok());
        let sample = parse::<Sample>(Some(r#"{"name":"x","_meta":{"a":1}}"#)).unwrap();
        assert_eq!((sample.name.as_str(), sample.count), ("x", None));
        let fault = parse::<Sample>(Some(r#"{"name":"x","cuont":1}"#)).unwrap_err();
        assert!(
            fault.message.contains("cuont") && fault.message.contains("count"),
            "{fault}"
        );
        assert!(!fault.message.contains('\n'));
        let fault = parse::<Sample>(Some("{}")).unwrap_err();
        assert!(fault.message.contains("name"), "{fault}");
    }

    #[test]
    fn a_schema_names_what_is_required_and_admits_nothing_else() {
        let schema = schema::<Sample>();
        assert_eq!(
            schema.get("required").unwrap(),
            &serde_json::json!(["name"])
        );
        assert_eq!(schema.get("additionalProperties").unwrap(), false);
        assert!(schema.get("properties").unwrap().get("_meta").is_none());
    }
}
