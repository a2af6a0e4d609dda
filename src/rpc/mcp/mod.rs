//! The Model Context Protocol: revisions, what requests carry, how results are written.
//!
//! Two eras share an endpoint. *Legacy* revisions negotiate once with `initialize`; the *modern*
//! one (2026-07-28) carries version and capabilities in `_meta` of every request and answers with
//! a `resultType`.

mod capability;
mod envelope;
mod notification;
mod params;
mod parse_cache;
mod result;

pub use capability::ClientCapabilities;
pub use envelope::{Extras, check_envelope, idempotency_key, is_enveloped};
pub use notification::{
    LogLevel, write_acknowledged, write_changed, write_log, write_progress, write_request,
    write_updated,
};
pub use params::{Params, ToolCall, ToolsCall};
pub use parse_cache::{Known, ParseCache, Target};
pub use result::{
    begin_object, end_object, server_info, write_content, write_direct_result, write_tool_error,
    write_tool_result,
};

use super::error::{Condition, Fault};

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
/// Key of `_meta` by which a call that comes twice happens once.
pub const META_IDEMPOTENCY: &str = "tmws/idempotencyKey";
/// `_meta` key of the listen request that a notification belongs to.
pub const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
/// The extension of calls that go on after their answer (SEP-2663).
pub const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";
/// How long a client may keep lists that are the same while the server runs, and `server/discover`.
pub const CACHE_TTL_MS: u64 = 3_600_000;

/// How a result is shaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// Revisions before 2026-07-28.
    Legacy,
    /// 2026-07-28.
    Modern,
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

#[cfg(test)]
mod tests {
    use super::negotiate;

    #[test]
    fn an_unknown_legacy_revision_is_answered_with_the_newest() {
        assert_eq!(negotiate("2025-06-18"), "2025-06-18");
        assert_eq!(negotiate("1999-01-01"), "2025-11-25");
    }
}
