//! `GET /ws/mcp/performance`: query parameters as arguments of `system/performance`.

use percent_encoding::percent_decode_str;

use crate::rpc::{Condition, Fault, json};

/// The path.
pub(super) const PATH: &str = "/ws/mcp/performance";

/// The arguments that a query means. The operation judges them: what it does not know is refused there.
pub(super) fn arguments(query: &str) -> Result<Vec<u8>, Fault> {
    let mut out = vec![b'{'];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name)?, decoded(value)?);
        if out.len() > 1 {
            out.push(b',');
        }
        json::write_string(&mut out, &name);
        out.push(b':');
        if name == "metrics" {
            list(&mut out, &value);
        } else if value
            .parse::<u64>()
            .is_ok_and(|number| number.to_string() == value)
        {
            out.extend_from_slice(value.as_bytes());
        } else {
            json::write_string(&mut out, &value);
        }
    }
    out.push(b'}');
    Ok(out)
}

fn decoded(text: &str) -> Result<String, Fault> {
    // A plus is a space in forms.
    let text = text.replace('+', " ");
    match percent_decode_str(&text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(Fault::new(
            Condition::InvalidArguments,
            "the query is not UTF-8",
        )),
    }
}

/// Names between commas.
fn list(out: &mut Vec<u8>, names: &str) {
    out.push(b'[');
    for (index, name) in names.split(',').filter(|name| !name.is_empty()).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json::write_string(out, name.trim());
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::arguments;

    #[test]
    fn parameters_become_members_and_are_judged_elsewhere() {
        for (query, expected) in [
            ("", "{}"),
            (
                "interval=30&history_minutes=5",
                r#"{"interval":30,"history_minutes":5}"#,
            ),
            ("metrics=cpu,%20disk", r#"{"metrics":["cpu","disk"]}"#),
            ("metrics=", r#"{"metrics":[]}"#),
            ("interval=030", r#"{"interval":"030"}"#),
            ("interval", r#"{"interval":""}"#),
            ("a%22b=%22", r#"{"a\"b":"\""}"#),
        ] {
            let text = String::from_utf8(arguments(query).unwrap()).unwrap();
            assert_eq!(text, expected, "{query}");
        }
        assert!(arguments("metrics=%ff").is_err());
    }
}
