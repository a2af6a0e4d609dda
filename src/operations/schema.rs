//! Schemas of arguments and results, in few words: a model pays for every token of a tool list.

use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// Formats that tell a model something; the others repeat how wide our integers are.
const FORMATS: [&str; 2] = ["date-time", "uuid"];

/// The schema of a type, whole in itself: references are resolved, so that a model sees all of it.
/// A member that may be absent is not said to take null as well, although it does.
pub(super) fn of_arguments<T: JsonSchema>() -> Schema {
    let mut schema = whole::<T>(SchemaSettings::draft2020_12());
    shorten(&mut schema);
    schema
}

/// The schema of what a type is written as: members that may be left out are not required.
pub(super) fn of_result<T: JsonSchema>() -> Schema {
    let mut schema = whole::<T>(SchemaSettings::draft2020_12().for_serialize());
    shorten(&mut schema);
    schema
}

/// A result's schema without words, and with what is always there only: programs check by it,
/// while a model reads the result itself.
pub fn outline(schema: &Schema) -> Schema {
    let mut outline = schema.clone();
    strip(&mut outline, 0);
    outline
}

/// The schema of what a tool gives: a result of this schema, or what went wrong and can be mended
/// (SPEC 16), since clients check errors by it too.
pub fn or_error(schema: &Schema) -> Schema {
    let mut either = schema.clone();
    let required = either.remove("required").unwrap_or_else(|| json!([]));
    let choices = json!([{"required": required}, {"required": ["code", "error"]}]);
    either.insert("anyOf".into(), choices);
    either
}

fn whole<T: JsonSchema>(mut settings: SchemaSettings) -> Schema {
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("title");
    schema.remove("description");
    schema
}

fn shorten(schema: &mut Schema) {
    transform_subschemas(&mut shorten, schema);
    if let Some(Value::String(format)) = schema.get("format")
        && !FORMATS.contains(&format.as_str())
    {
        schema.remove("format");
    }
    let Some(members) = schema.as_object_mut() else {
        return;
    };
    if let Some(kind) = members.get_mut("type")
        && let Some(kinds) = kind.as_array_mut()
    {
        kinds.retain(|kind| kind != "null");
        if kinds.len() == 1 {
            *kind = kinds.remove(0);
        }
    }
    unfold(members);
    join(members);
}

/// `anyOf` of one schema and null becomes that schema, under its own description.
fn unfold(members: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = members.get("anyOf") else {
        return;
    };
    let null = |choice: &Value| choice.get("type").is_some_and(|kind| kind == "null");
    let mut others = choices.iter().filter(|choice| !null(choice));
    let (Some(Value::Object(only)), None) = (others.next(), others.next()) else {
        return;
    };
    let only = only.clone();
    members.remove("anyOf");
    for (name, value) in only {
        members.entry(name).or_insert(value);
    }
}

/// `oneOf` of constants becomes an enumeration.
fn join(members: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = members.get("oneOf") else {
        return;
    };
    let constants: Option<Vec<Value>> = choices
        .iter()
        .map(|choice| choice.get("const").cloned())
        .collect();
    if let Some(constants) = constants {
        members.remove("oneOf");
        members.insert("type".into(), "string".into());
        members.insert("enum".into(), constants.into());
    }
}

fn strip(schema: &mut Schema, depth: usize) {
    for name in ["description", "format", "minimum", "maximum"] {
        schema.remove(name);
    }
    let Some(members) = schema.as_object_mut() else {
        return;
    };
    let required: Vec<Value> = match members.get("required") {
        Some(Value::Array(required)) => required.clone(),
        _ => Vec::new(),
    };
    if depth > 0 {
        // What lies deeper is told by its kind.
        members.retain(|name, _| name == "type" || name == "items" || name == "enum");
    } else if let Some(Value::Object(properties)) = members.get_mut("properties") {
        properties.retain(|name, _| required.iter().any(|known| known == name.as_str()));
    }
    transform_subschemas(&mut |schema: &mut Schema| strip(schema, depth + 1), schema);
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    use super::{json, of_arguments, of_result, outline};

    crate::operations::arguments::arguments! {
        /// Of a test.
        #[expect(dead_code, reason = "only its schema is looked at")]
        Sample {
            /// Needed
            name: String,
            /// Not needed
            count: Option<u32>,
            /// One of three
            kind: Option<Kind>,
        }
    }

    /// In general.
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        /// The first.
        One,
        /// The second.
        Two,
    }

    #[derive(Debug, Serialize, JsonSchema)]
    struct Inner {
        /// A number.
        value: u64,
    }

    #[derive(Debug, Serialize, JsonSchema)]
    struct Outer {
        /// Always there.
        list: Vec<Inner>,
        /// Sometimes.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        flag: bool,
        /// Sometimes.
        #[serde(skip_serializing_if = "Option::is_none")]
        kind: Option<Kind>,
    }

    #[test]
    fn arguments_are_told_in_few_words() {
        let expected = json!({
            "type": "object",
            "properties": {
                "name": {"description": "Needed", "type": "string"},
                "count": {"description": "Not needed", "type": "integer", "minimum": 0},
                "kind": {"description": "One of three", "type": "string", "enum": ["one", "two"]},
            },
            "additionalProperties": false,
            "required": ["name"],
        });
        assert_eq!(of_arguments::<Sample>().as_value(), &expected);
    }

    #[test]
    fn a_result_requires_only_what_is_always_written() {
        let schema = of_result::<Outer>();
        assert_eq!(schema.get("required"), Some(&json!(["list"])));
        let expected = json!({
            "type": "object",
            "properties": {"list": {"type": "array", "items": {"type": "object"}}},
            "required": ["list"],
        });
        assert_eq!(outline(&schema).as_value(), &expected);
    }
}
