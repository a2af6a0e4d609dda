//! JSON-RPC 2.0: one message in, one answer out.

use std::borrow::Cow;

use serde::Deserialize;

use super::error::{Condition, Fault};
use super::json::{self, Member};
use crate::config::limits::REQUEST_ID_BYTES_MAX;

/// A parsed message, borrowed from its text.
#[derive(Debug)]
pub enum Message<'a> {
    /// Wants an answer.
    Request {
        /// The id's JSON text, to be echoed unchanged.
        id: Cow<'a, str>,
        /// What is asked.
        call: Call<'a>,
    },
    /// Wants none.
    Notification(Call<'a>),
    /// Answers a request of ours.
    Response {
        /// The id's JSON text.
        id: Cow<'a, str>,
        /// The JSON text of the result, or of the error object.
        outcome: Result<Cow<'a, str>, Cow<'a, str>>,
    },
    /// Several messages: the text of a JSON array.
    Batch(&'a str),
}

/// A method and its parameters.
#[derive(Debug)]
pub struct Call<'a> {
    /// The method's name.
    pub method: Cow<'a, str>,
    /// The parameters' JSON text, an object; `None` if absent.
    pub params: Option<Cow<'a, str>>,
}

/// A message that cannot be understood; `id` is its id where one could be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The id's JSON text.
    pub id: Option<String>,
    /// What is wrong.
    pub fault: Fault,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    jsonrpc: Member<'a>,
    #[serde(borrow, default)]
    id: Member<'a>,
    #[serde(borrow, default)]
    method: Member<'a>,
    #[serde(borrow, default)]
    params: Member<'a>,
    #[serde(borrow, default)]
    result: Member<'a>,
    #[serde(borrow, default)]
    error: Member<'a>,
}

/// Declares a type without content that is read from one string only: a request that is read in
/// one pass holds no text that is known beforehand.
macro_rules! literal {
    ($(#[$meta:meta])* $visibility:vis $name:ident = $text:literal) => {
        $(#[$meta])*
        #[derive(Debug)]
        $visibility struct $name;

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("the string ", $text))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        if text == $text { Ok($name) } else { Err(E::custom("another string")) }
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }
    };
}
pub(crate) use literal;

literal! {
    /// The version of JSON-RPC.
    Version = "2.0"
}

/// A request whose method is `M` and whose parameters are read in the same pass.
#[derive(Deserialize)]
struct Typed<'a, M, P> {
    #[serde(rename = "jsonrpc")]
    _jsonrpc: Version,
    #[serde(borrow)]
    id: Member<'a>,
    #[serde(rename = "method")]
    _method: M,
    params: P,
}

/// Reads a request of the method `M` with its parameters in one pass: its id and its parameters.
/// `None` says only that [`parse`] is to look at it: it may be malformed, or anything else.
pub fn parse_request<'a, M, P>(text: &'a str) -> Option<(Cow<'a, str>, P)>
where
    M: Deserialize<'a>,
    P: Deserialize<'a>,
{
    if json::is_too_deep(text) {
        return None;
    }
    let typed: Typed<'a, M, P> = sonic_rs::from_str(text).ok()?;
    read_id(typed.id)
        .ok()
        .flatten()
        .map(|id| (id, typed.params))
}

/// Parses one message.
pub fn parse(text: &str) -> Result<Message<'_>, Malformed> {
    let malformed = |condition, message: Cow<'static, str>| Malformed {
        id: None,
        fault: Fault::new(condition, message),
    };
    if json::is_too_deep(text) {
        return Err(malformed(
            Condition::InvalidRequest,
            format!(
                "nests deeper than {} levels",
                crate::config::limits::JSON_DEPTH_MAX
            )
            .into(),
        ));
    }
    if text.trim_ascii_start().starts_with('[') {
        return Ok(Message::Batch(text));
    }
    let envelope: Envelope<'_> = sonic_rs::from_str(text).map_err(|error| {
        if error.is_unmatched_type() || is_valid(text) {
            let reason = json::reason(&error);
            malformed(
                Condition::InvalidRequest,
                format!("not a JSON-RPC message: {reason}").into(),
            )
        } else {
            malformed(
                Condition::InvalidJson,
                format!("not JSON: {}", json::reason(&error)).into(),
            )
        }
    })?;
    envelope.into_message()
}

/// Whether a text that does not fit the envelope is JSON all the same.
fn is_valid(text: &str) -> bool {
    sonic_rs::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

impl<'a> Envelope<'a> {
    fn into_message(self) -> Result<Message<'a>, Malformed> {
        let outcome = match (self.result.into_raw(), self.error.into_raw()) {
            (_, Some(error)) => Some(Err(error)),
            (Some(result), None) => Some(Ok(result)),
            (None, None) => None,
        };
        let id = read_id(self.id)?;
        let malformed = |id: Option<Cow<'a, str>>, message: &'static str| Malformed {
            id: id.map(Cow::into_owned),
            fault: Fault::new(Condition::InvalidRequest, message),
        };
        if self.jsonrpc.raw() != Some("\"2.0\"") {
            return Err(malformed(id, "jsonrpc must be \"2.0\""));
        }
        let Some(method) = self.method.into_raw() else {
            return match (id, outcome) {
                (Some(id), Some(outcome)) => Ok(Message::Response { id, outcome }),
                (id, _) => Err(malformed(id, "method is missing")),
            };
        };
        let Some(method) = json::string(method) else {
            return Err(malformed(id, "method must be a string"));
        };
        let params = self.params.into_raw();
        if params.as_deref().is_some_and(|raw| !raw.starts_with('{')) {
            return Err(malformed(id, "params must be an object"));
        }
        let call = Call { method, params };
        Ok(match id {
            Some(id) => Message::Request { id, call },
            None => Message::Notification(call),
        })
    }
}

fn read_id(id: Member<'_>) -> Result<Option<Cow<'_, str>>, Malformed> {
    let problem = match id.raw() {
        None => return Ok(None),
        Some(raw) if raw.len() > REQUEST_ID_BYTES_MAX => {
            format!("id exceeds {REQUEST_ID_BYTES_MAX} bytes")
        }
        Some(raw) if is_echoable(raw) => return Ok(id.into_raw()),
        Some(_) => "id must be a string or a number".to_owned(),
    };
    Err(Malformed {
        id: None,
        fault: Fault::new(Condition::InvalidMessageId, problem),
    })
}

/// True for the text of a string or number that is JSON wherever it is copied to: the parser that
/// skipped it looked for its end only.
pub(crate) fn is_echoable(raw: &str) -> bool {
    match raw.as_bytes() {
        [b'"', inner @ .., b'"'] => {
            let plain = inner.iter().all(|&byte| byte >= b' ' && byte != b'\\');
            plain || sonic_rs::from_str::<String>(raw).is_ok()
        }
        [b'0'..=b'9'] => true,
        [b'-' | b'0'..=b'9', ..] => sonic_rs::from_str::<sonic_rs::Number>(raw).is_ok(),
        _ => false,
    }
}

/// Appends what stands before the result: `{"jsonrpc":"2.0","id":ID,"result":`.
pub fn begin_result(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b",\"result\":");
}

/// Appends what stands behind the result.
pub fn end_result(out: &mut Vec<u8>) {
    out.push(b'}');
}

/// Appends an error answer; without an id it carries null (JSON-RPC 2.0, 5).
pub fn write_error(out: &mut Vec<u8>, id: Option<&str>, fault: &Fault) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.unwrap_or("null").as_bytes());
    out.extend_from_slice(b",\"error\":");
    write_error_object(out, fault);
    out.push(b'}');
}

/// Appends the error object of a fault.
pub fn write_error_object(out: &mut Vec<u8>, fault: &Fault) {
    let row = fault.condition.row();
    out.extend_from_slice(b"{\"code\":");
    out.extend_from_slice(row.rpc.to_string().as_bytes());
    out.extend_from_slice(b",\"message\":");
    json::write_string(out, &fault.message);
    out.extend_from_slice(b",\"data\":{\"code\":\"");
    out.extend_from_slice(row.code.as_bytes());
    out.push(b'"');
    fault.write_members(out);
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::{Message, parse, parse_request, write_error};
    use crate::rpc::json::Member;
    use crate::rpc::{Condition, Fault};

    super::literal! {
        /// A method of the tests.
        M = "m"
    }

    fn condition(text: &str) -> (Condition, Option<String>) {
        let malformed = parse(text).expect_err(text);
        (malformed.fault.condition, malformed.id)
    }

    #[test]
    fn a_request_is_borrowed_from_its_text() {
        let text =
            r#"{"jsonrpc":"2.0","id":"a-1","method":"memory/create","params":{"content":"x"}}"#;
        let Ok(Message::Request { id, call }) = parse(text) else {
            panic!("a request")
        };
        assert!(matches!(id, Cow::Borrowed("\"a-1\"")));
        assert!(matches!(call.method, Cow::Borrowed("memory/create")));
        assert!(matches!(
            call.params,
            Some(Cow::Borrowed(r#"{"content":"x"}"#))
        ));
    }

    #[test]
    fn ids_are_echoed_as_they_were_written() {
        for id in [
            "0",
            "-7",
            "1.50",
            "1e3",
            "\"\\u0041\"",
            "\"\"",
            "9007199254740993",
        ] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            let Ok(Message::Request { id: read, .. }) = parse(&text) else {
                panic!("{id}")
            };
            assert_eq!(read, id);
        }
    }

    #[test]
    fn what_is_not_json_is_told_from_what_is_no_request() {
        assert_eq!(condition("{").0, Condition::InvalidJson);
        assert_eq!(condition("").0, Condition::InvalidJson);
        assert_eq!(condition("{\"a\":1,}").0, Condition::InvalidJson);
        assert_eq!(condition("nonsense").0, Condition::InvalidJson);
        assert_eq!(condition("7").0, Condition::InvalidRequest);
        assert_eq!(condition("\"x\"").0, Condition::InvalidRequest);
        assert_eq!(condition("null").0, Condition::InvalidRequest);
        assert_eq!(condition("{}").0, Condition::InvalidRequest);
        assert_eq!(
            condition(r#"{"jsonrpc":"1.0","id":5,"method":"ping"}"#),
            (Condition::InvalidRequest, Some("5".to_owned()))
        );
        assert_eq!(
            condition(r#"{"jsonrpc":"2.0","id":5,"method":7}"#),
            (Condition::InvalidRequest, Some("5".to_owned()))
        );
        assert_eq!(
            condition(r#"{"jsonrpc":"2.0","id":5,"method":"ping","params":[1]}"#),
            (Condition::InvalidRequest, Some("5".to_owned()))
        );
        assert_eq!(
            condition(r#"{"jsonrpc":"2.0","id":5,"id":6,"method":"ping"}"#).0,
            Condition::InvalidRequest
        );
        for id in ["null", "true", "{}", "[]"] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            assert_eq!(condition(&text).0, Condition::InvalidMessageId, "{id}");
        }
    }

    #[test]
    fn an_id_that_would_break_its_answer_is_refused() {
        for id in [
            "\"\\uiiii\"",
            "\"\\x\"",
            "\"\u{1}\"",
            "01",
            "1.",
            "-",
            "1e",
            "+1",
        ] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            let refused = condition(&text).0;
            let known = [Condition::InvalidMessageId, Condition::InvalidJson];
            assert!(known.contains(&refused), "{id}: {refused:?}");
        }
    }

    #[test]
    fn a_request_read_in_one_pass_is_the_one_that_is_parsed() {
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":[1]}}"#,
            r#"{"params":{},"id":"x","method":"\u006d","jsonrpc":"2.0","more":{}}"#,
        ] {
            let (id, params) = parse_request::<M, Member<'_>>(text).expect(text);
            let Ok(Message::Request { id: parsed, call }) = parse(text) else {
                panic!("{text}")
            };
            assert_eq!((id, params.into_raw()), (parsed, call.params));
        }
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"method":"other","params":{}}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"m","params":{}}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"m","params":{}}"#,
            r#"{"jsonrpc":"2.0","method":"m","params":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{}} x"#,
        ] {
            assert!(parse_request::<M, Member<'_>>(text).is_none(), "{text}");
        }
    }

    #[test]
    fn depth_is_refused_before_it_is_parsed() {
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{}"#,
            "[".repeat(100_000)
        );
        assert_eq!(condition(&deep).0, Condition::InvalidRequest);
    }

    #[test]
    fn notifications_responses_and_batches_are_recognised() {
        assert!(matches!(
            parse(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#),
            Ok(Message::Notification(_))
        ));
        assert!(matches!(
            parse(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#),
            Ok(Message::Response { outcome: Ok(_), .. })
        ));
        assert!(matches!(parse(" [1]"), Ok(Message::Batch(_))));
    }

    #[test]
    fn an_error_escapes_its_message_and_carries_its_code() {
        let mut out = Vec::new();
        write_error(
            &mut out,
            None,
            &Fault::new(Condition::InvalidJson, "not JSON: \"\n"),
        );
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"not JSON: \"\n","data":{"code":"INVALID_JSON"}}}"#
        );
    }
}
