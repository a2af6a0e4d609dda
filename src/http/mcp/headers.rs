//! Headers of Streamable HTTP: which era a request is of, and whether they say what the body does
//! (MCP 2026-07-28, transports).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::ACCEPT;
use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

use crate::dispatch::Dispatcher;
use crate::rpc::jsonrpc::Call;
use crate::rpc::mcp::{Era, LEGACY, META_VERSION};
use crate::rpc::{Condition, Fault};

/// The revision of a request.
pub(super) const VERSION: &str = "mcp-protocol-version";
/// The method of the body.
const METHOD: &str = "mcp-method";
/// What the method is applied to.
const NAME: &str = "mcp-name";
/// A legacy session.
pub(super) const SESSION: &str = "mcp-session-id";
/// Where a broken stream goes on.
pub(super) const LAST_EVENT: &str = "last-event-id";

fn mismatch(message: String) -> Fault {
    Fault::new(Condition::HeaderMismatch, message)
}

/// The one value of a header, without blanks around it.
pub(super) fn value<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Fault> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(mismatch(format!("the header {name} stands more than once")));
    }
    let text = value
        .to_str()
        .map_err(|_| mismatch(format!("the header {name} holds characters beyond ASCII")))?;
    Ok(Some(text.trim_matches([' ', '\t'])))
}

/// The era of a request: a revision that is not a legacy one means the modern one, which answers
/// for all it does not know.
pub(super) fn era(headers: &HeaderMap) -> Result<Era, Fault> {
    Ok(match value(headers, VERSION)? {
        None => Era::Legacy,
        Some(version) if LEGACY.contains(&version) => Era::Legacy,
        Some(_) => Era::Modern,
    })
}

/// True if the client reads this type of answer.
pub(super) fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let mut lines = headers.get_all(ACCEPT).iter().peekable();
    if lines.peek().is_none() {
        return true;
    }
    let family = wanted.split('/').next().unwrap_or_default();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            let matches = kind == "*/*"
                || kind.eq_ignore_ascii_case(wanted)
                || kind
                    .strip_suffix("/*")
                    .is_some_and(|kind| kind.eq_ignore_ascii_case(family));
            matches && !refused
        })
}

/// Checks a legacy request: its body must not be of the other era.
pub(super) fn check_legacy(headers: &HeaderMap, call: &Call<'_>) -> Result<(), Fault> {
    let absent = value(headers, VERSION)?.is_none();
    let params = call.params.as_deref().unwrap_or_default();
    if absent && params.contains(META_VERSION) && body_version(params).is_some() {
        return Err(mismatch(format!(
            "the body names a revision in _meta, and the header {VERSION} is missing"
        )));
    }
    Ok(())
}

fn body_version(params: &str) -> Option<String> {
    let version = sonic_rs::get(params, ["_meta", META_VERSION]).ok()?;
    version.as_str().map(str::to_owned)
}

/// Checks that a modern request's headers say what its body says.
pub(super) fn check_modern(
    headers: &HeaderMap,
    call: &Call<'_>,
    dispatcher: &Dispatcher,
) -> Result<(), Fault> {
    let params = call.params.as_deref().unwrap_or("{}");
    let Some(version) = body_version(params) else {
        // The envelope is checked first, and says what is missing.
        return Ok(());
    };
    let header = value(headers, VERSION)?.unwrap_or_default();
    if header != version {
        return Err(mismatch(format!(
            "the header {VERSION} says {header}, the body {version}"
        )));
    }
    match value(headers, METHOD)? {
        Some(method) if method == call.method => {}
        Some(method) => {
            let body = &call.method;
            return Err(mismatch(format!(
                "the header {METHOD} says {method}, the body {body}"
            )));
        }
        None => return Err(mismatch(format!("the header {METHOD} is missing"))),
    }
    let member = match &*call.method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return Ok(()),
    };
    let named = sonic_rs::get(params, [member]).ok();
    let Some(named) = named.as_ref().and_then(|named| named.as_str()) else {
        // The method says what is wrong with its parameters.
        return Ok(());
    };
    let header = value(headers, NAME)?;
    match header.map(|header| decode(NAME, header)).transpose()? {
        Some(header) if header == named => {}
        Some(header) => {
            return Err(mismatch(format!(
                "the header {NAME} says {header}, the body {named}"
            )));
        }
        None => return Err(mismatch(format!("the header {NAME} is missing"))),
    }
    if call.method == "tools/call"
        && let Some(schema) = dispatcher.mirrored_schema(named)
    {
        check_parameters(headers, params, &schema)?;
    }
    Ok(())
}

/// A value as it was before `=?base64?...?=` made it fit a header.
fn decode(name: &str, text: &str) -> Result<String, Fault> {
    let encoded = text
        .strip_prefix("=?base64?")
        .and_then(|rest| rest.strip_suffix("?="));
    let Some(encoded) = encoded else {
        return Ok(text.to_owned());
    };
    let bytes = STANDARD.decode(encoded).ok();
    // What decodes to the same may be written in one way only.
    let bytes = bytes.filter(|bytes| STANDARD.encode(bytes) == encoded);
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| mismatch(format!("the header {name} is not proper base64 of a text")))
}

/// Checks the headers that a tool's schema asks for by `x-mcp-header`.
fn check_parameters(headers: &HeaderMap, params: &str, schema: &Value) -> Result<(), Fault> {
    let properties = schema.get("properties").and_then(|list| list.as_object());
    for (property, schema) in properties.into_iter().flatten() {
        let Some(asked) = schema.get("x-mcp-header").and_then(|name| name.as_str()) else {
            continue;
        };
        let name = format!("mcp-param-{}", asked.to_ascii_lowercase());
        let given = sonic_rs::get(params, ["arguments", property]).ok();
        let given = given.filter(|given| !given.is_null());
        let body = given.as_ref().map(|given| match given.as_str() {
            Some(text) => text.to_owned(),
            None => given.as_raw_str().to_owned(),
        });
        let header = value(headers, &name)?;
        let header = header.map(|header| decode(&name, header)).transpose()?;
        if header != body {
            return Err(mismatch(format!(
                "the header {name} and the argument {property} differ"
            )));
        }
    }
    Ok(())
}

/// Everything that is read from headers before a body is looked at, for the fuzz targets.
#[cfg(fuzzing)]
pub fn examine(headers: &HeaderMap) {
    let _ = era(headers);
    for name in [VERSION, METHOD, NAME, SESSION, LAST_EVENT] {
        if let Ok(Some(text)) = value(headers, name)
            && let Ok(decoded) = decode(name, text)
        {
            // What is decoded can be written in one way only.
            let again = format!("=?base64?{}?=", STANDARD.encode(&decoded));
            assert!(decoded == text || again == text);
        }
    }
    let accepted = |kind| accepts(headers, kind);
    // Whoever takes a type takes it in any letter case.
    assert_eq!(accepted("application/json"), accepted("Application/JSON"));
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{accepts, decode, era};
    use crate::rpc::mcp::Era;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn what_is_no_legacy_revision_is_for_the_modern_era() {
        let of = |lines: &[(&'static str, &'static str)]| era(&headers(lines));
        assert_eq!(of(&[]), Ok(Era::Legacy));
        assert_eq!(
            of(&[("mcp-protocol-version", "2025-06-18")]),
            Ok(Era::Legacy)
        );
        assert_eq!(
            of(&[("mcp-protocol-version", " 2026-07-28\t")]),
            Ok(Era::Modern)
        );
        assert_eq!(
            of(&[("mcp-protocol-version", "1900-01-01")]),
            Ok(Era::Modern)
        );
        assert!(
            of(&[
                ("mcp-protocol-version", "2026-07-28"),
                ("mcp-protocol-version", "2026-07-28")
            ])
            .is_err()
        );
    }

    #[test]
    fn accept_is_read_as_ranges() {
        let json = "application/json";
        assert!(accepts(&headers(&[]), json));
        for line in [
            "*/*",
            "application/*",
            "text/event-stream, application/json",
            "application/json;q=0.5",
        ] {
            assert!(accepts(&headers(&[("accept", line)]), json), "{line}");
        }
        for line in ["text/event-stream", "application/json;q=0", "text/*"] {
            assert!(!accepts(&headers(&[("accept", line)]), json), "{line}");
        }
    }

    #[test]
    fn only_proper_base64_is_decoded() {
        assert_eq!(decode("n", "plain").unwrap(), "plain");
        assert_eq!(decode("n", "=?base64?w6k=?=").unwrap(), "\u{e9}");
        for wrong in [
            "=?base64?w6k?=",
            "=?base64?!!?=",
            "=?base64?/w==?=",
            "=?base64?w6l=?=",
        ] {
            assert!(decode("n", wrong).is_err(), "{wrong}");
        }
    }
}
