//! Calls under an idempotency key: one execution, and the same result each time.
//!
//! The key comes from the wire (`Idempotency-Key`, or `_meta` of `tools/call`) or from the arguments
//! (their `_meta`, or `idempotency_key`). How a repetition is answered is said by the operation's row:
//!
//! | [`Repeats`] | what is kept | for |
//! |---|---|---|
//! | `Again` | nothing | what changes nothing: the key is ignored |
//! | `Replay` | the store's answer, with the write | what makes the same result of the same answer |
//! | `Result` | the result, before it is answered | what may make another one, or writes elsewhere |
//! | `InSession` | the result, with the session | what changes the session and ends with it |
//!
//! Invariants: a call without a key costs no look at the store; a call that failed keeps nothing; an
//! operation whose result alone is kept can be repeated after a crash without changing more.

use std::rc::Rc;

use serde::Serialize;
use sha2::{Digest, Sha256};
use sonic_rs::{JsonContainerTrait, JsonValueMutTrait, Value};

use super::arguments::GivenKeys;
use super::operation::{Later, Pending, write};
use super::services::Context;
use crate::config::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use crate::delivery::Kept;
use crate::domain::{Keyed, Violation};
use crate::rpc::{Condition, Fault, json};
use crate::store::StoreError;

/// How a call is answered that is repeated under its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeats {
    /// As if it had no key.
    Again,
    /// The store answers as it did, and what follows from that is done again.
    Replay,
    /// The result is kept.
    Result {
        /// The caller's session is one of the arguments.
        of_session: bool,
    },
    /// The result is kept with the session.
    InSession,
}

/// What an operation's row says of its repetition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) method: &'static str,
    pub(super) repeats: Repeats,
}

/// The call's key with what it is for; `None` if it has none, or needs none.
pub(super) fn claimed(
    context: &Context<'_>,
    rule: Rule,
    given: GivenKeys<'_>,
    arguments: Option<&str>,
) -> Result<Option<Keyed>, Fault> {
    let mut keys = [context.key, given.meta, given.argument]
        .into_iter()
        .flatten();
    let Some(key) = keys.next() else {
        return Ok(None);
    };
    if rule.repeats == Repeats::Again {
        return Ok(None);
    }
    if keys.any(|other| other != key) {
        let text = "differs between the header, _meta and the arguments";
        return Err(Violation::new("idempotency_key", text).into());
    }
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX || !visible {
        let text = format!("must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible characters of ASCII");
        return Err(Violation::new("idempotency_key", text).into());
    }
    let mut call = format!("{}\n", rule.method).into_bytes();
    if rule.repeats == (Repeats::Result { of_session: true }) {
        call.extend_from_slice(context.session.id.get().as_bytes());
    }
    write_canonical(&mut call, arguments.unwrap_or("{}"))?;
    Ok(Some(Keyed {
        owner: context.session.agent(),
        key: key.into(),
        digest: hex(&Sha256::digest(&call)).into(),
    }))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}

/// Appends arguments as they mean the same: without what names the call, members in order, no blanks.
fn write_canonical(out: &mut Vec<u8>, arguments: &str) -> Result<(), Fault> {
    let invalid =
        |error: sonic_rs::Error| Fault::new(Condition::InvalidArguments, json::reason(&error));
    let mut arguments: Value = sonic_rs::from_str(arguments).map_err(invalid)?;
    if let Some(members) = arguments.as_object_mut() {
        members.remove(&"_meta");
        members.remove(&"idempotency_key");
    }
    write_sorted(out, &arguments).map_err(invalid)
}

/// Recurses no deeper than the message nests, which was checked.
fn write_sorted(out: &mut Vec<u8>, value: &Value) -> Result<(), sonic_rs::Error> {
    if let Some(members) = value.as_object() {
        let mut members: Vec<_> = members.iter().collect();
        members.sort_by_key(|(name, _)| *name);
        out.push(b'{');
        for (name, member) in members {
            json::write_string(out, name);
            out.push(b':');
            write_sorted(out, member)?;
            out.push(b',');
        }
        out.push(b'}');
        return Ok(());
    }
    if let Some(items) = value.as_array() {
        out.push(b'[');
        for item in items.iter() {
            write_sorted(out, item)?;
            out.push(b',');
        }
        out.push(b']');
        return Ok(());
    }
    json::write(out, value)
}

/// Runs a call under its key.
pub(super) fn run<A: 'static, R: Serialize + 'static>(
    context: &Context<'_>,
    repeats: Repeats,
    keyed: Keyed,
    arguments: A,
    handler: fn(&Context<'_>, A) -> Result<Pending<R>, Fault>,
) -> Result<Later, Fault> {
    let (services, session) = (Rc::clone(context.services), Rc::clone(context.session));
    match repeats {
        Repeats::Again | Repeats::Replay => {
            let once = Context {
                services: context.services,
                session: context.session,
                key: None,
                keyed: Some(&keyed),
            };
            let pending = handler(&once, arguments)?;
            Ok(Box::pin(async move { encoded(&pending.await?) }))
        }
        Repeats::InSession => {
            if let Some(result) = kept_in_session(context, &keyed)? {
                return Ok(Box::pin(async move { Ok(result) }));
            }
            let pending = handler(context, arguments)?;
            Ok(Box::pin(async move {
                let result = encoded(&pending.await?)?;
                session.keep(&keyed, &result);
                Ok(result)
            }))
        }
        Repeats::Result { .. } => Ok(Box::pin(async move {
            let _turn = services.turns.take(&keyed).await;
            if let Some(result) = services.store.kept_result(&keyed).await? {
                return Ok(result.into_bytes());
            }
            let once = Context {
                services: &services,
                session: &session,
                key: None,
                keyed: Some(&keyed),
            };
            let result = encoded(&handler(&once, arguments)?.await?)?;
            let result = String::from_utf8(result)
                .map_err(|_| Fault::new(Condition::Internal, "the result is no text"))?;
            Ok(services
                .store
                .keep_result(&keyed, result)
                .await?
                .into_bytes())
        })),
    }
}

/// The result that the session keeps under a key.
pub(super) fn kept_in_session(
    context: &Context<'_>,
    keyed: &Keyed,
) -> Result<Option<Vec<u8>>, Fault> {
    match context.session.kept(keyed) {
        Kept::Nothing => Ok(None),
        Kept::Result(result) => Ok(Some(result)),
        Kept::Other => Err(StoreError::Mismatch.into()),
    }
}

/// A result's JSON.
pub(super) fn encoded<R: Serialize>(result: &R) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::with_capacity(512);
    write(&mut out, result)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::write_canonical;

    fn canonical(arguments: &str) -> String {
        let mut out = Vec::new();
        write_canonical(&mut out, arguments).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn arguments_are_the_same_however_they_are_written() {
        let one = r#"{"b":[1,{"d":null,"c":"x"}],"a":"é"}"#;
        let other = r#" { "_meta":{"progressToken":7}, "a" : "\u00e9" , "idempotency_key":"k",
            "b":[ 1, {"c":"x","d":null} ] }"#;
        assert_eq!(canonical(one), canonical(other));
        assert_eq!(canonical("{}"), canonical(r#"{"_meta":{}}"#));
    }

    #[test]
    fn what_differs_in_anything_differs() {
        let all = [
            "{}",
            r#"{"a":1}"#,
            r#"{"a":2}"#,
            r#"{"a":"1"}"#,
            r#"{"a":[1]}"#,
            r#"{"a":{"_meta":1}}"#,
            r#"{"a":{"idempotency_key":1}}"#,
            r#"{"a":[1,2]}"#,
            r#"{"a":[2,1]}"#,
            r#"{"a":null}"#,
        ];
        for (at, one) in all.iter().enumerate() {
            for other in &all[at + 1..] {
                assert_ne!(canonical(one), canonical(other));
            }
        }
    }
}
