//! Icons: our own drawings, small enough to travel inside the lists.

use serde::Serialize;

use crate::rpc::json;
use crate::rpc::mcp::server_info;

/// An icon of MCP (2025-11-25).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Icon {
    src: &'static str,
    mime_type: &'static str,
}

const MIME_TYPE: &str = "image/svg+xml";
/// Three sheets of a stack.
const MEMORY: &str = "data:image/svg+xml,%3Csvg%20xmlns='http://www.w3.org/2000/svg'%20viewBox='0%200%208%208'%3E%3Cpath%20d='M0%202l4-2%204%202-4%202zm0%202l4%202%204-2v2L4%208%200%206z'/%3E%3C/svg%3E";
/// A head over shoulders.
const AGENT: &str = "data:image/svg+xml,%3Csvg%20xmlns='http://www.w3.org/2000/svg'%20viewBox='0%200%208%208'%3E%3Cpath%20d='M2%202a2%202%200%201%201%204%200%202%202%200%200%201-4%200M0%208a4%203%200%200%201%208%200'/%3E%3C/svg%3E";
/// A pulse.
const SYSTEM: &str = "data:image/svg+xml,%3Csvg%20xmlns='http://www.w3.org/2000/svg'%20viewBox='0%200%208%208'%3E%3Cpath%20d='M0%204h2l1-3%202%206%201-3h2'%20fill='none'%20stroke='%23000'/%3E%3C/svg%3E";

/// The icon of an operation's noun.
pub(super) fn icon_of(method: &str) -> Icon {
    let src = match method.split('/').next() {
        Some("memory" | "embedding") => MEMORY,
        Some("agent") => AGENT,
        _ => SYSTEM,
    };
    Icon {
        src,
        mime_type: MIME_TYPE,
    }
}

/// Appends what the server says of itself when it introduces itself; every other answer names it
/// only.
pub(super) fn write_implementation(out: &mut Vec<u8>) {
    let name = server_info().strip_suffix('}').unwrap_or_default();
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b",\"description\":");
    json::write_string(out, env!("CARGO_PKG_DESCRIPTION"));
    out.extend_from_slice(b",\"icons\":");
    json::write(out, &[icon_of("memory")]).expect("icons are JSON");
    out.push(b'}');
}
