//! Messages of the server that answer nothing: notifications, and requests to legacy clients.

use super::META_SUBSCRIPTION;
use crate::rpc::json;
use crate::rpc::{Condition, Fault};

/// Severity of a log line for clients (RFC 5424, 6.2.1), lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For developers.
    Debug,
    /// What happens.
    Info,
    /// Uncommon, but no fault.
    Notice,
    /// May become a fault.
    Warning,
    /// Something failed.
    Error,
    /// A part failed.
    Critical,
    /// Act at once.
    Alert,
    /// Nothing works.
    Emergency,
}

impl LogLevel {
    const NAMES: [(&'static str, Self); 8] = [
        ("debug", Self::Debug),
        ("info", Self::Info),
        ("notice", Self::Notice),
        ("warning", Self::Warning),
        ("error", Self::Error),
        ("critical", Self::Critical),
        ("alert", Self::Alert),
        ("emergency", Self::Emergency),
    ];

    /// The level of this name.
    pub fn parse(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name)?;
        Some(found.1)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self as usize].0
    }

    /// The fault of a name that is no level.
    pub fn unknown(place: &str) -> Fault {
        let message = format!(
            "{place}: the level is one of debug, info, notice, warning, error, critical, alert, emergency"
        );
        Fault::new(Condition::InvalidArguments, message)
    }
}

fn begin(out: &mut Vec<u8>, method: &str) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"method\":\"");
    out.extend_from_slice(method.as_bytes());
    out.extend_from_slice(b"\",\"params\":{");
}

fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"}}");
}

/// Appends `notifications/progress` for a token, the text of a JSON string or number.
pub fn write_progress(
    out: &mut Vec<u8>,
    token: &str,
    progress: f64,
    total: Option<f64>,
    message: Option<&str>,
) {
    begin(out, "notifications/progress");
    out.extend_from_slice(b"\"progressToken\":");
    out.extend_from_slice(token.as_bytes());
    out.extend_from_slice(format!(",\"progress\":{progress}").as_bytes());
    if let Some(total) = total {
        out.extend_from_slice(format!(",\"total\":{total}").as_bytes());
    }
    if let Some(message) = message {
        out.extend_from_slice(b",\"message\":");
        json::write_string(out, message);
    }
    end(out);
}

/// Appends `notifications/message`; `data` is JSON text.
pub fn write_log(out: &mut Vec<u8>, level: LogLevel, logger: &str, data: &str) {
    begin(out, "notifications/message");
    out.extend_from_slice(b"\"level\":\"");
    out.extend_from_slice(level.as_str().as_bytes());
    out.extend_from_slice(b"\",\"logger\":");
    json::write_string(out, logger);
    out.extend_from_slice(b",\"data\":");
    out.extend_from_slice(data.as_bytes());
    end(out);
}

fn write_subscription(out: &mut Vec<u8>, subscription: Option<&str>) {
    let Some(id) = subscription else { return };
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.extend_from_slice(b"\"_meta\":{\"");
    out.extend_from_slice(META_SUBSCRIPTION.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(id.as_bytes());
    out.push(b'}');
}

/// Appends a notification that says only that something changed; `subscription` is the JSON text
/// of the listen request's id.
pub fn write_changed(out: &mut Vec<u8>, method: &str, subscription: Option<&str>) {
    begin(out, method);
    write_subscription(out, subscription);
    end(out);
}

/// Appends `notifications/resources/updated`.
pub fn write_updated(out: &mut Vec<u8>, uri: &str, subscription: Option<&str>) {
    begin(out, "notifications/resources/updated");
    out.extend_from_slice(b"\"uri\":");
    json::write_string(out, uri);
    write_subscription(out, subscription);
    end(out);
}

/// Appends `notifications/subscriptions/acknowledged` with the filter that is honoured, the text
/// of a JSON object.
pub fn write_acknowledged(out: &mut Vec<u8>, filter: &str, subscription: &str) {
    begin(out, "notifications/subscriptions/acknowledged");
    out.extend_from_slice(b"\"notifications\":");
    out.extend_from_slice(filter.as_bytes());
    write_subscription(out, Some(subscription));
    end(out);
}

/// Appends a request to a legacy client; `params` is the text of a JSON object.
pub fn write_request(out: &mut Vec<u8>, id: &str, method: &str, params: &str) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    json::write_string(out, id);
    out.extend_from_slice(b",\"method\":\"");
    out.extend_from_slice(method.as_bytes());
    out.extend_from_slice(b"\",\"params\":");
    out.extend_from_slice(params.as_bytes());
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use sonic_rs::{JsonValueTrait, Value};

    use super::{LogLevel, write_changed, write_log, write_progress, write_request, write_updated};

    fn value(write: impl FnOnce(&mut Vec<u8>)) -> Value {
        let mut out = Vec::new();
        write(&mut out);
        sonic_rs::from_slice(&out).expect("JSON")
    }

    #[test]
    fn notifications_are_json_and_name_what_they_belong_to() {
        let message = value(|out| write_progress(out, "\"t\"", 50.0, Some(100.0), Some("half")));
        assert_eq!(message["params"]["progressToken"].as_str(), Some("t"));
        assert_eq!(message["params"]["progress"].as_f64(), Some(50.0));
        let message = value(|out| write_log(out, LogLevel::Notice, "tool", "\"x\""));
        assert_eq!(message["params"]["level"].as_str(), Some("notice"));
        let key = "io.modelcontextprotocol/subscriptionId";
        for subscription in [None, Some("7")] {
            let message =
                value(|out| write_changed(out, "notifications/tools/list_changed", subscription));
            assert_eq!(
                message["params"]["_meta"]
                    .get(key)
                    .and_then(|id| id.as_u64()),
                subscription.map(|_| 7)
            );
            let message = value(|out| write_updated(out, "memory://a/b", subscription));
            assert_eq!(message["params"]["uri"].as_str(), Some("memory://a/b"));
            assert_eq!(
                message["params"].get("_meta").is_some(),
                subscription.is_some()
            );
        }
        let message = value(|out| write_request(out, "tmws-1", "roots/list", "{}"));
        assert_eq!(message["id"].as_str(), Some("tmws-1"));
    }

    #[test]
    fn levels_are_ordered_and_named() {
        assert!(LogLevel::Debug < LogLevel::Emergency);
        for (name, level) in LogLevel::NAMES {
            assert_eq!(LogLevel::parse(name), Some(level));
            assert_eq!(level.as_str(), name);
        }
        assert_eq!(LogLevel::parse("verbose"), None);
    }
}
