//! Requests as text, and answers judged.

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The first id: all ids have ten digits, so all requests have one size.
pub(crate) const FIRST_ID: u64 = 1_000_000_000;
pub(crate) const DIGITS: usize = 10;

pub(crate) const INITIALIZE: &[u8] = br#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"load","version":"1"}}}"#;
pub(crate) const INITIALIZED: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A result that says of no error.
    Result,
    /// The error that stands for a server that is asked for more than it can do.
    Refusal,
    /// Any other error.
    Error,
}

/// The id of an answer that is a result and says of no error.
pub(crate) fn id_of_result(answer: &[u8]) -> Option<u64> {
    let (id, outcome) = outcome(answer, None)?;
    (outcome == Outcome::Result).then_some(id)
}

/// The id of an answer and what it is; `refusal` is the `data.code` of the error that is a refusal. None for
/// what is no answer.
pub(crate) fn outcome(answer: &[u8], refusal: Option<&str>) -> Option<(u64, Outcome)> {
    if let Some(id) = quick_id(answer) {
        return Some((id, Outcome::Result));
    }
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let outcome = match (answer.get("result"), answer.get("error")) {
        (Some(result), None) if result["isError"] != true => Outcome::Result,
        (None, Some(error)) if refusal.is_some_and(|code| error["data"]["code"] == code) => {
            Outcome::Refusal
        }
        _ => Outcome::Error,
    };
    Some((answer["id"].as_u64()?, outcome))
}

/// The id of a result that is laid out as our server does it, at a hundredth of the cost.
fn quick_id(answer: &[u8]) -> Option<u64> {
    let rest = answer.strip_prefix(br#"{"jsonrpc":"2.0","id":"#)?;
    let (id, rest) = rest.split_at_checked(DIGITS)?;
    let good = rest.starts_with(br#","result":{"#)
        && rest.ends_with(b"}}")
        && !rest.ends_with(br#""isError":true}}"#);
    if !good {
        return None;
    }
    number(id)
}

/// The number that these digits are.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u64::from(digit - b'0'))
    })
}

/// An answer as its id and its result.
pub(crate) fn result<T: DeserializeOwned>(answer: &[u8]) -> anyhow::Result<(u64, T)> {
    let mut answer: Value = serde_json::from_slice(answer)?;
    if let Some(error) = answer.get("error") {
        bail!("{error}");
    }
    let id = answer["id"].as_u64().context("an answer without an id")?;
    Ok((id, serde_json::from_value(answer["result"].take())?))
}

/// A request as text.
pub(crate) fn request(id: u64, method: &str, params: &Value) -> Vec<u8> {
    let params = params.to_string();
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#).into_bytes()
}
