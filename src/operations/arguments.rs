//! Arguments: from JSON text to their type.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::rpc::{Condition, Fault, json};

/// What names a call among others, where its arguments hold it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Meta {
    /// Calls of one key are one call.
    #[serde(rename = "tmws/idempotencyKey")]
    key: Option<String>,
}

impl Meta {
    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

/// The keys that arguments hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct GivenKeys<'a> {
    /// In their `_meta`.
    pub(super) meta: Option<&'a str>,
    /// Among them.
    pub(super) argument: Option<&'a str>,
}

/// Arguments of an operation.
pub(super) trait Arguments: DeserializeOwned {
    /// What they say of the call's key.
    fn keys(&self) -> GivenKeys<'_>;
}

/// Declares the arguments of an operation: unknown members are refused, since a mistyped filter
/// that is ignored finds the wrong thing. `_meta` is what the wire adds, and `idempotency_key` stands
/// for the key in it; neither is in the schema, where a model would pay for it in every tool.
macro_rules! arguments {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[$field_meta])* $field: $type,)*
            #[serde(default, rename = "_meta")]
            #[schemars(skip)]
            _meta: Option<crate::operations::arguments::Meta>,
            #[schemars(skip)]
            idempotency_key: Option<String>,
        }

        impl crate::operations::arguments::Arguments for $name {
            fn keys(&self) -> crate::operations::arguments::GivenKeys<'_> {
                crate::operations::arguments::GivenKeys {
                    meta: self._meta.as_ref().and_then(|meta| meta.key()),
                    argument: self.idempotency_key.as_deref(),
                }
            }
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
    use super::{Nothing, parse};

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
}
