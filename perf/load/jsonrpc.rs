//! Requests as text, and answers judged.

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The first id of a template: all ids have ten digits, so all requests have one size.
pub(crate) const FIRST_ID: u64 = 1_000_000_000;
const ID_DIGITS: usize = 10;

pub(crate) const INITIALIZE: &[u8] = br#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"load","version":"1"}}}"#;
pub(crate) const INITIALIZED: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// A message in which only the id changes, wherever it stands.
pub(crate) struct Template {
    bytes: Vec<u8>,
    id_at: usize,
    /// The id again, so that contents differ.
    repeated_at: Vec<usize>,
}

impl Template {
    /// `text` has `$ID` where the id goes, first as the id of the request.
    pub(crate) fn new(text: &str) -> anyhow::Result<Self> {
        let mut bytes = Vec::new();
        let mut places = Vec::new();
        for (number, part) in text.split("$ID").enumerate() {
            if number > 0 {
                places.push(bytes.len());
                bytes.extend_from_slice(FIRST_ID.to_string().as_bytes());
            }
            bytes.extend_from_slice(part.as_bytes());
        }
        let mut places = places.into_iter();
        let id_at = places.next().context("the message has no $ID")?;
        Ok(Self {
            bytes,
            id_at,
            repeated_at: places.collect(),
        })
    }

    /// The message with this id, of ten digits.
    pub(crate) fn with_id(&mut self, id: u64) -> &[u8] {
        let mut rest = id;
        let id_end = self.id_at + ID_DIGITS;
        for digit in self.bytes[self.id_at..id_end].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        for place in &self.repeated_at {
            self.bytes.copy_within(self.id_at..id_end, *place);
        }
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The id of an answer that repeats the message, if it does.
    pub(crate) fn id_of_echo(&self, answer: &[u8]) -> Option<u64> {
        let (start, end) = (self.id_at, self.id_at + ID_DIGITS);
        let same = answer.len() == self.bytes.len()
            && answer[..start] == self.bytes[..start]
            && answer[end..] == self.bytes[end..];
        if !same {
            return None;
        }
        digits(&answer[start..end])
    }
}

/// The id of an answer that is a result and says of no error.
pub(crate) fn id_of_result(answer: &[u8]) -> Option<u64> {
    quick_id(answer).or_else(|| {
        let answer: Value = serde_json::from_slice(answer).ok()?;
        let good = answer
            .get("result")
            .is_some_and(|result| result["isError"] != true)
            && answer.get("error").is_none();
        answer["id"].as_u64().filter(|_| good)
    })
}

/// The id of an answer that is an error with this `data.code`.
pub(crate) fn id_of_error(answer: &[u8], code: &str) -> Option<u64> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let same = answer["error"]["data"]["code"] == code;
    answer["id"].as_u64().filter(|_| same)
}

/// The id of a result that is laid out as our server does it, at a hundredth of the cost.
fn quick_id(answer: &[u8]) -> Option<u64> {
    let rest = answer.strip_prefix(br#"{"jsonrpc":"2.0","id":"#)?;
    let (id, rest) = rest.split_at_checked(ID_DIGITS)?;
    let good = rest.starts_with(br#","result":{"#)
        && rest.ends_with(b"}}")
        && !rest.ends_with(br#""isError":true}}"#);
    if !good {
        return None;
    }
    digits(id)
}

fn digits(text: &[u8]) -> Option<u64> {
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
