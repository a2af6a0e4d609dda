//! Results of MCP as either era shapes them.

use super::Era;
use crate::rpc::Fault;
use crate::rpc::json;

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

/// Appends a `tools/call` result of content blocks: the text of a JSON array.
pub fn write_content(out: &mut Vec<u8>, era: Era, content: &str, is_error: bool) {
    begin_object(out, era);
    out.extend_from_slice(b"\"content\":");
    out.extend_from_slice(content.as_bytes());
    out.extend_from_slice(if is_error {
        b",\"isError\":true"
    } else {
        b",\"isError\":false"
    });
    end_object(out, era);
}

#[cfg(test)]
mod tests {
    use sonic_rs::{JsonValueTrait, Value};

    use super::{Era, write_direct_result, write_tool_error, write_tool_result};
    use crate::rpc::{Condition, Fault};

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
