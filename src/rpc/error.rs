//! The one table of errors: condition to JSON-RPC code, string code, HTTP status, close code,
//! whether a retry can help, and log level (SPEC 14 and 16).

use std::borrow::Cow;

/// Severity of an error in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A mistake of one caller.
    Debug,
    /// A caller that deserves attention, or a passing shortage.
    Warn,
    /// A fault of the server.
    Error,
}

/// Everything that can be wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Not JSON (JSON-RPC 2.0, 5.1).
    InvalidJson,
    /// JSON, but no request (JSON-RPC 2.0, 5.1), or not at this point of the protocol.
    InvalidRequest,
    /// The id is neither a string nor a number, or too long.
    InvalidMessageId,
    /// No such method or tool.
    MethodNotFound,
    /// Arguments that break the schema or a rule.
    InvalidArguments,
    /// A revision of MCP that is not served (MCP 2026-07-28, `-32022`).
    InvalidProtocolVersion,
    /// A header of a modern HTTP request is missing or says something else than the body (MCP
    /// 2026-07-28, `-32020`).
    HeaderMismatch,
    /// The request needs a capability that its client did not declare (MCP 2026-07-28, `-32021`).
    MissingCapability,
    /// No such resource, in revisions before 2026-07-28 (`-32002`).
    ResourceNotFound,
    /// No credential, or an invalid one.
    Unauthenticated,
    /// The caller may not do this.
    Unauthorized,
    /// An Origin or Host that is not allowed.
    SecurityViolation,
    /// No such thing, or the caller may not see it.
    NotFound,
    /// The method is not allowed on this path (RFC 9110, 15.5.6).
    MethodNotAllowed,
    /// The client reads no kind of answer that there is (RFC 9110, 15.5.7).
    NotAcceptable,
    /// Another version is stored, or the state forbids it.
    Conflict,
    /// `If-Match` failed (RFC 9110, 15.5.13).
    PreconditionFailed,
    /// A message, body or batch beyond its bound.
    MessageTooLarge,
    /// The body is not JSON by its content type (RFC 9110, 15.5.16).
    UnsupportedMediaType,
    /// An idempotency key that was used for another call.
    IdempotencyMismatch,
    /// A WebSocket handshake of another version (RFC 6455, 4.4).
    UpgradeRequired,
    /// The request head is beyond its bound (RFC 6585, 5).
    HeadTooLarge,
    /// Too many requests.
    RateLimited,
    /// A fault of the server.
    Internal,
    /// The store cannot answer now.
    Unavailable,
    /// No room for another connection.
    ConnectionLimit,
    /// The deadline passed.
    Timeout,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// What happened.
    pub condition: Condition,
    /// JSON-RPC `error.code`.
    pub rpc: i32,
    /// `error.data.code`, and the code of every other wire.
    pub code: &'static str,
    /// HTTP status.
    pub http: u16,
    /// WebSocket close code, where the connection does not survive.
    pub close: Option<u16>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Severity in the log.
    pub level: Level,
}

const fn row(
    condition: Condition,
    rpc: i32,
    code: &'static str,
    http: u16,
    close: Option<u16>,
    retryable: bool,
    level: Level,
) -> Row {
    Row {
        condition,
        rpc,
        code,
        http,
        close,
        retryable,
        level,
    }
}

use Condition as C;
use Level as L;

/// The table, in the order of [`Condition`].
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    row(C::InvalidJson,            -32700, "INVALID_JSON",             400, None,       false, L::Debug),
    row(C::InvalidRequest,         -32600, "INVALID_MESSAGE_FORMAT",   400, None,       false, L::Debug),
    row(C::InvalidMessageId,       -32600, "INVALID_MESSAGE_ID",       400, None,       false, L::Debug),
    row(C::MethodNotFound,         -32601, "METHOD_NOT_FOUND",         404, None,       false, L::Debug),
    row(C::InvalidArguments,       -32602, "INVALID_ARGUMENTS",        400, None,       false, L::Debug),
    row(C::InvalidProtocolVersion, -32022, "INVALID_PROTOCOL_VERSION", 400, None,       false, L::Debug),
    row(C::HeaderMismatch,         -32020, "INVALID_MESSAGE_FORMAT",   400, None,       false, L::Debug),
    row(C::MissingCapability,      -32021, "MISSING_CAPABILITY",       400, None,       false, L::Debug),
    row(C::ResourceNotFound,       -32002, "NOT_FOUND",                404, None,       false, L::Debug),
    row(C::Unauthenticated,          1401, "UNAUTHENTICATED",          401, Some(1008), false, L::Warn),
    row(C::Unauthorized,             1403, "UNAUTHORIZED_ACCESS",      403, None,       false, L::Warn),
    row(C::SecurityViolation,        1403, "SECURITY_VIOLATION",       403, Some(1008), false, L::Warn),
    row(C::NotFound,                 1404, "NOT_FOUND",                404, None,       false, L::Debug),
    row(C::MethodNotAllowed,         1405, "METHOD_NOT_ALLOWED",       405, None,       false, L::Debug),
    row(C::NotAcceptable,            1406, "NOT_ACCEPTABLE",           406, None,       false, L::Debug),
    row(C::Conflict,                 1409, "CONFLICT",                 409, None,       false, L::Debug),
    row(C::PreconditionFailed,       1409, "CONFLICT",                 412, None,       false, L::Debug),
    row(C::MessageTooLarge,          1413, "MESSAGE_TOO_LARGE",        413, Some(1009), false, L::Warn),
    row(C::UnsupportedMediaType,     1415, "UNSUPPORTED_MEDIA_TYPE",   415, None,       false, L::Debug),
    row(C::IdempotencyMismatch,      1422, "IDEMPOTENCY_MISMATCH",     422, None,       false, L::Debug),
    row(C::UpgradeRequired,          1426, "UPGRADE_REQUIRED",         426, None,       false, L::Debug),
    row(C::HeadTooLarge,             1431, "MESSAGE_TOO_LARGE",        431, None,       false, L::Warn),
    row(C::RateLimited,              1429, "RATE_LIMIT_EXCEEDED",      429, None,       true,  L::Warn),
    row(C::Internal,               -32603, "INTERNAL_ERROR",           500, None,       false, L::Error),
    row(C::Unavailable,              1503, "UNAVAILABLE",              503, None,       true,  L::Warn),
    row(C::ConnectionLimit,          1503, "CONNECTION_FAILED",        503, Some(1013), true,  L::Warn),
    row(C::Timeout,                  1504, "TIMEOUT",                  504, None,       true,  L::Warn),
];

impl Condition {
    /// The row of this condition.
    pub const fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

// The table is indexed by the enum, so their order must agree.
const _: () = {
    let mut index = 0;
    while index < TABLE.len() {
        assert!(
            TABLE[index].condition as usize == index,
            "a row is out of order"
        );
        index += 1;
    }
};

/// Milliseconds after which a retryable request is worth repeating: a few group commits.
pub const RETRY_AFTER_MS: u64 = 250;

/// A condition with its sentence and what a caller can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What happened.
    pub condition: Condition,
    /// In a sentence, for the caller.
    pub message: Cow<'static, str>,
    /// More members of `error.data`, as the text of JSON members, each with a leading comma.
    pub members: String,
}

impl Fault {
    /// A fault without further members.
    pub fn new(condition: Condition, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            condition,
            message: message.into(),
            members: String::new(),
        }
    }

    /// Adds a member to `error.data`.
    #[must_use]
    pub fn with<T: serde::Serialize + ?Sized>(mut self, name: &str, value: &T) -> Self {
        if let Ok(value) = sonic_rs::to_string(value) {
            self.members.push_str(",\"");
            self.members.push_str(name);
            self.members.push_str("\":");
            self.members.push_str(&value);
        }
        self
    }

    /// The members that follow `code`: `retry_after_ms` where a retry can help, then the rest.
    pub fn write_members(&self, out: &mut Vec<u8>) {
        if self.condition.row().retryable {
            out.extend_from_slice(b",\"retryable\":true,\"retry_after_ms\":");
            out.extend_from_slice(RETRY_AFTER_MS.to_string().as_bytes());
        }
        out.extend_from_slice(self.members.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::{Condition, Fault, TABLE};

    #[test]
    fn our_own_codes_stay_outside_the_reserved_range() {
        for row in TABLE {
            let reserved = (-32768..=-32000).contains(&row.rpc);
            let ours = row.rpc > 0;
            assert!(reserved != ours, "{row:?}");
            if ours && !matches!(row.condition, Condition::PreconditionFailed) {
                assert_eq!(row.rpc - 1000, i32::from(row.http), "{row:?}");
            }
        }
    }

    #[test]
    fn a_retryable_fault_says_when() {
        let mut members = Vec::new();
        Fault::new(Condition::Unavailable, "x")
            .with("shard", &1)
            .write_members(&mut members);
        let text = String::from_utf8(members).unwrap();
        assert_eq!(
            text,
            ",\"retryable\":true,\"retry_after_ms\":250,\"shard\":1"
        );
    }
}
