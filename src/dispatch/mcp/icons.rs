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
const MEMORY: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E%3Cpath d='M0 2l4-2 4 2-4 2zm0 2l4 2 4-2v2L4 8 0 6z'/%3E%3C/svg%3E";
/// A head over shoulders.
const AGENT: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E%3Cpath d='M2 2a2 2 0 1 1 4 0 2 2 0 0 1-4 0M0 8a4 3 0 0 1 8 0'/%3E%3C/svg%3E";
/// A pulse.
const SYSTEM: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E%3Cpath d='M0 4h2l1-3 2 6 1-3h2' fill='none' stroke='%23000'/%3E%3C/svg%3E";

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
