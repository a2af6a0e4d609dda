//! `POST /ws/mcp/broadcast/{agent_id}`: a message to all sessions of an agent.

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::domain::{JsonText, Priority};
use crate::rpc::{Condition, Fault, json};

/// Where the agent's id follows.
pub(super) const PATH: &str = "/ws/mcp/broadcast/";

/// The body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Broadcast {
    body: JsonText,
    priority: Option<Priority>,
    ttl: Option<u64>,
    idempotency_key: Option<String>,
}

/// Arguments of `agent/send`.
#[derive(Serialize)]
struct Send<'a> {
    to: To<'a>,
    body: JsonText,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
}

#[derive(Serialize)]
struct To<'a> {
    agent: &'a str,
}

/// The arguments of `agent/send` that a request means; `id` is the rest of its path.
pub(super) fn arguments(id: &str, body: &[u8]) -> Result<Vec<u8>, Fault> {
    let invalid = |message: String| Fault::new(Condition::InvalidArguments, message);
    let agent = percent_decode_str(id)
        .decode_utf8()
        .map_err(|_| invalid("the agent in the path is not UTF-8".into()))?;
    let given: Broadcast =
        sonic_rs::from_slice(body).map_err(|error| invalid(json::reason(&error)))?;
    let send = Send {
        to: To { agent: &agent },
        body: given.body,
        priority: given.priority,
        ttl: given.ttl,
        idempotency_key: given.idempotency_key,
    };
    let mut out = Vec::with_capacity(body.len() + 64);
    json::write(&mut out, &send).map_err(|error| invalid(json::reason(&error)))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::arguments;

    #[test]
    fn the_path_names_the_agent_and_the_body_the_rest() {
        let sent = arguments(
            "team%2Fbob",
            br#"{"body":{"a":1},"priority":"high","ttl":5}"#,
        )
        .unwrap();
        let text = String::from_utf8(sent).unwrap();
        let expected = r#"{"to":{"agent":"team/bob"},"body":{"a":1},"priority":"high","ttl":5}"#;
        assert_eq!(text, expected);
        let keyed = arguments("bob", br#"{"body":1,"idempotency_key":"k"}"#).unwrap();
        let text = String::from_utf8(keyed).unwrap();
        assert!(
            text.ends_with(r#""body":1,"idempotency_key":"k"}"#),
            "{text}"
        );
        assert!(arguments("bob", br#"{"to":{"agent":"eve"},"body":1}"#).is_err());
        assert!(arguments("bob", b"{}").is_err());
        assert!(arguments("%ff", br#"{"body":1}"#).is_err());
    }
}
