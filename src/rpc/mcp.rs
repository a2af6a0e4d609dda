//! The Model Context Protocol: revisions, what requests carry, how results are written.
//!
//! Two eras share an endpoint. *Legacy* revisions negotiate once with `initialize`; the *modern*
//! one (2026-07-28) carries version and capabilities in `_meta` of every request and answers with
//! a `resultType`.

use serde::Deserialize;

use super::error::{Condition, Fault};
use super::json::{self, Member, Text};

/// The modern revision.
pub const MODERN: &str = "2026-07-28";
/// Legacy revisions, newest first.
pub const LEGACY: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
/// The legacy revision in which an array is a batch.
pub const BATCHES: &str = "2025-03-26";
/// `_meta` key of the version in modern requests.
pub const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// `_meta` key of the client's capabilities in modern requests.
pub const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// How long a client may keep `tools/list` and `server/discover` of the modern era.
pub const CACHE_TTL_MS: u64 = 3_600_000;

/// How a result is shaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// Revisions before 2026-07-28.
    Legacy,
    /// 2026-07-28.
    Modern,
}

/// The parameters that methods of MCP use; whatever else they hold is ignored.
#[derive(Debug, Default, Deserialize)]
pub struct Params<'a> {
    /// `_meta`.
    #[serde(borrow, default, rename = "_meta")]
    pub meta: Member<'a>,
    /// Of lists.
    #[serde(borrow, default)]
    pub cursor: Member<'a>,
    /// Of `initialize`.
    #[serde(borrow, default, rename = "protocolVersion")]
    pub version: Member<'a>,
    /// Of `initialize`.
    #[serde(borrow, default, rename = "clientInfo")]
    pub client: Member<'a>,
    /// Of `initialize`.
    #[serde(borrow, default)]
    pub capabilities: Member<'a>,
}

super::jsonrpc::literal! {
    /// The method `tools/call`.
    pub ToolsCall = "tools/call"
}

/// The parameters of `tools/call`.
#[derive(Debug, Default, Deserialize)]
pub struct ToolCall<'a> {
    /// `_meta`.
    #[serde(borrow, default, rename = "_meta")]
    pub meta: Member<'a>,
    /// The tool.
    #[serde(borrow, default)]
    pub name: Text<'a>,
    /// Its arguments.
    #[serde(borrow, default)]
    pub arguments: Member<'a>,
}

impl<'a> ToolCall<'a> {
    /// Reads the parameters of a call.
    pub fn parse(params: Option<&'a str>) -> Result<Self, Fault> {
        let invalid = |reason| Fault::new(Condition::InvalidArguments, format!("params: {reason}"));
        sonic_rs::from_str(params.unwrap_or("{}")).map_err(|error| invalid(json::reason(&error)))
    }

    /// The tool's name and the JSON text of its arguments, if it has any.
    pub fn target(&self) -> Result<(&str, Option<&str>), Fault> {
        let invalid = |message| Fault::new(Condition::InvalidArguments, message);
        let Some(name) = self.name.get() else {
            return Err(invalid("params.name must be a string"));
        };
        if self.arguments.is_present() && !self.arguments.is_object() {
            return Err(invalid("params.arguments must be an object"));
        }
        Ok((name, self.arguments.raw().filter(|raw| *raw != "null")))
    }
}

impl<'a> Params<'a> {
    /// Reads the parameters of a call.
    pub fn parse(params: Option<&'a str>) -> Result<Self, Fault> {
        match params {
            None => Ok(Self::default()),
            Some(text) => sonic_rs::from_str(text).map_err(|error| {
                Fault::new(
                    Condition::InvalidArguments,
                    format!("params: {}", json::reason(&error)),
                )
            }),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, rename = "io.modelcontextprotocol/protocolVersion")]
    version: Member<'a>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientCapabilities")]
    capabilities: Member<'a>,
}

/// True if `_meta` carries any key of the modern envelope.
pub fn is_enveloped(meta: &Member<'_>) -> bool {
    // A look at the text spares most requests the parse; an escape could hide a key from it.
    meta.raw()
        .filter(|raw| raw.contains("io.modelcontextprotocol/") || raw.contains('\\'))
        .is_some_and(|raw| {
            sonic_rs::from_str::<Meta<'_>>(raw)
                .is_ok_and(|meta| meta.version.raw().is_some() || meta.capabilities.raw().is_some())
        })
}

/// Checks what every modern request must carry: both keys first, then the version.
pub fn check_envelope(meta: &Member<'_>) -> Result<(), Fault> {
    let missing = |name: &str| {
        Fault::new(
            Condition::InvalidArguments,
            format!("params._meta lacks {name}"),
        )
    };
    let Some(raw) = meta.raw() else {
        return Err(missing(META_VERSION));
    };
    let parsed: Meta<'_> = sonic_rs::from_str(raw).map_err(|error| {
        Fault::new(
            Condition::InvalidArguments,
            format!("params._meta: {}", json::reason(&error)),
        )
    })?;
    if parsed.version.raw().is_none() {
        return Err(missing(META_VERSION));
    }
    if !parsed.capabilities.is_object() {
        return Err(missing(META_CAPABILITIES));
    }
    let Some(version) = parsed.version.string() else {
        return Err(Fault::new(
            Condition::InvalidArguments,
            format!("params._meta: {META_VERSION} must be a string"),
        ));
    };
    if version == MODERN {
        Ok(())
    } else {
        Err(unsupported(&version))
    }
}

/// A revision that is not served in the modern era.
pub fn unsupported(requested: &str) -> Fault {
    Fault::new(
        Condition::InvalidProtocolVersion,
        "Unsupported protocol version",
    )
    .with("supported", &[MODERN])
    .with("requested", requested)
}

/// The legacy revision to answer `initialize` with: the one asked for if it is known, else the
/// newest.
pub fn negotiate(requested: &str) -> &'static str {
    LEGACY
        .into_iter()
        .find(|version| *version == requested)
        .unwrap_or(LEGACY[0])
}

/// Appends what a result of the modern era carries besides its own members: after it, members
/// follow.
pub fn begin_object(out: &mut Vec<u8>, era: Era) {
    out.push(b'{');
    if era == Era::Modern {
        out.extend_from_slice(b"\"resultType\":\"complete\",");
    }
}

/// Appends the end of a result object that has at least one member of its own.
pub fn end_object(out: &mut Vec<u8>, era: Era) {
    if era == Era::Modern {
        out.extend_from_slice(b",\"_meta\":{\"io.modelcontextprotocol/serverInfo\":");
        out.extend_from_slice(server_info().as_bytes());
        out.push(b'}');
    }
    out.push(b'}');
}

/// `serverInfo` as JSON.
pub fn server_info() -> &'static str {
    concat!(
        "{\"name\":\"tmws\",\"title\":\"TMWS\",\"version\":\"",
        env!("CARGO_PKG_VERSION"),
        "\"}"
    )
}

/// Appends a `tools/call` result: `structured` (a JSON object) as structured content, and as text
/// for clients that read nothing else.
pub fn write_tool_result(out: &mut Vec<u8>, era: Era, structured: &str, is_error: bool) {
    begin_object(out, era);
    out.extend_from_slice(b"\"content\":[{\"type\":\"text\",\"text\":");
    json::write_string(out, structured);
    out.extend_from_slice(b"}],\"structuredContent\":");
    out.extend_from_slice(structured.as_bytes());
    out.extend_from_slice(if is_error {
        b",\"isError\":true"
    } else {
        b",\"isError\":false"
    });
    end_object(out, era);
}

/// Appends a `tools/call` result for what the caller can mend: a sentence as text, and the code
/// with whatever helps as structured content (SPEC 16).
pub fn write_tool_error(out: &mut Vec<u8>, era: Era, fault: &Fault) {
    begin_object(out, era);
    out.extend_from_slice(b"\"content\":[{\"type\":\"text\",\"text\":");
    json::write_string(out, &fault.message);
    out.extend_from_slice(b"}],\"structuredContent\":{\"code\":\"");
    out.extend_from_slice(fault.condition.row().code.as_bytes());
    out.extend_from_slice(b"\",\"error\":");
    json::write_string(out, &fault.message);
    fault.write_members(out);
    out.extend_from_slice(b"},\"isError\":true");
    end_object(out, era);
}

/// Appends a direct operation's result. In the modern era the object gains `resultType` and the
/// server's name.
pub fn write_direct_result(out: &mut Vec<u8>, era: Era, object: &str) {
    match era {
        Era::Legacy => out.extend_from_slice(object.as_bytes()),
        Era::Modern => {
            begin_object(out, era);
            // The object's own members, without its braces.
            let members = object
                .trim()
                .trim_start_matches('{')
                .strip_suffix('}')
                .unwrap_or_default();
            if members.trim().is_empty() {
                out.pop();
            } else {
                out.extend_from_slice(members.as_bytes());
            }
            end_object(out, era);
        }
    }
}

#[cfg(test)]
mod tests {
    use sonic_rs::{JsonValueTrait, Value};

    use super::{
        Era, Params, check_envelope, is_enveloped, negotiate, write_direct_result,
        write_tool_error, write_tool_result,
    };
    use crate::rpc::{Condition, Fault};

    fn envelope(meta: &str) -> Result<(), Condition> {
        let text = format!(r#"{{"_meta":{meta}}}"#);
        let params = Params::parse(Some(&text)).unwrap();
        check_envelope(&params.meta).map_err(|fault| fault.condition)
    }

    #[test]
    fn the_envelope_is_checked_in_the_order_of_the_ladder() {
        let version = r#""io.modelcontextprotocol/protocolVersion""#;
        let capabilities = r#""io.modelcontextprotocol/clientCapabilities":{}"#;
        assert_eq!(
            envelope(&format!(r#"{{{version}:"2026-07-28",{capabilities}}}"#)),
            Ok(())
        );
        assert_eq!(envelope("{}"), Err(Condition::InvalidArguments));
        assert_eq!(
            envelope(&format!(r#"{{{version}:"1900-01-01"}}"#)),
            Err(Condition::InvalidArguments)
        );
        assert_eq!(
            envelope(&format!(r#"{{{version}:"1900-01-01",{capabilities}}}"#)),
            Err(Condition::InvalidProtocolVersion)
        );
        assert_eq!(
            envelope(&format!(r#"{{{version}:7,{capabilities}}}"#)),
            Err(Condition::InvalidArguments)
        );
        let progress = Params::parse(Some(r#"{"_meta":{"progressToken":1}}"#)).unwrap();
        assert!(!is_enveloped(&progress.meta));
        let escaped = r#"{"_meta":{"\u0069o.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#;
        assert!(is_enveloped(&Params::parse(Some(escaped)).unwrap().meta));
    }

    #[test]
    fn an_unknown_legacy_revision_is_answered_with_the_newest() {
        assert_eq!(negotiate("2025-06-18"), "2025-06-18");
        assert_eq!(negotiate("1999-01-01"), "2025-11-25");
    }

    #[test]
    fn results_are_json_in_both_eras() {
        for era in [Era::Legacy, Era::Modern] {
            let mut out = Vec::new();
            write_tool_result(&mut out, era, r#"{"text":"a \"b\""}"#, false);
            let value: Value = sonic_rs::from_slice(&out).unwrap();
            assert_eq!(value["structuredContent"]["text"].as_str(), Some("a \"b\""));
            assert_eq!(
                value["content"][0]["text"].as_str(),
                Some(r#"{"text":"a \"b\""}"#)
            );
            assert_eq!(value.get("resultType").is_some(), era == Era::Modern);

            out.clear();
            let fault = Fault::new(Condition::NotFound, "memory not found");
            write_tool_error(&mut out, era, &fault);
            let value: Value = sonic_rs::from_slice(&out).unwrap();
            assert_eq!(
                value["structuredContent"]["code"].as_str(),
                Some("NOT_FOUND")
            );
            assert_eq!(value["isError"].as_bool(), Some(true));

            for object in ["{}", r#"{"a":{}}"#] {
                out.clear();
                write_direct_result(&mut out, era, object);
                let value: Value = sonic_rs::from_slice(&out).unwrap();
                assert_eq!(value.get("_meta").is_some(), era == Era::Modern);
                assert_eq!(value.get("a").is_some(), object.contains('a'));
            }
        }
    }
}
