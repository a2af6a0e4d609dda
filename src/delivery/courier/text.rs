//! Messages as `tmws.v1` sends them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Attendance, Terms};
use crate::config::limits::{ACK_SECONDS, WINDOW_BYTES_MAX, WINDOW_MESSAGES_MAX};
use crate::delivery::queue::Parcel;
use crate::domain::message::{BODY_BYTES_MAX, DELIVERIES_MAX};
use crate::domain::{AgentKey, JsonText, Message, Priority, Timestamp};
use crate::rpc::json;

/// The members of a delivery that are the same for every receiver.
#[derive(Serialize)]
struct Members<'a> {
    priority: Priority,
    topic: &'a str,
    id: Uuid,
    from: From<'a>,
    sent_at: Timestamp,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
}

#[derive(Serialize)]
struct From<'a> {
    agent_id: &'a str,
    namespace: &'a str,
}

/// Writes a message once for all who receive it.
pub(super) fn parcel(message: &Message) -> Arc<Parcel> {
    let members = Members {
        priority: message.priority,
        topic: &message.topic,
        id: message.id,
        from: From {
            agent_id: &message.sender.agent,
            namespace: &message.sender.namespace,
        },
        sent_at: message.sent_at,
        expires_at: message.expires_at,
        correlation_id: message.correlation_id.as_deref(),
    };
    let body = message.body.as_str();
    let mut text = Vec::with_capacity(256 + body.len());
    if let Err(error) = json::write(&mut text, &members) {
        // Every part was JSON when it was taken in.
        tracing::error!(%error, id = %message.id, "a message could not be written");
    }
    // The body is JSON already and goes last: a serializer would read it again to copy it.
    text.pop();
    text.extend_from_slice(br#","body":"#);
    text.extend_from_slice(body.as_bytes());
    text.push(b'}');
    Arc::new(Parcel {
        id: message.id,
        text: text.into(),
    })
}

/// The same members as they are read again.
#[derive(Deserialize)]
struct Written {
    priority: Priority,
    topic: String,
    id: Uuid,
    from: WrittenFrom,
    sent_at: Timestamp,
    expires_at: Timestamp,
    correlation_id: Option<Box<str>>,
    body: JsonText,
}

#[derive(Deserialize)]
struct WrittenFrom {
    agent_id: String,
    namespace: String,
}

/// The message of a parcel.
pub(super) fn message(parcel: &Parcel) -> Option<Message> {
    let written: Written = sonic_rs::from_slice(&parcel.text).ok()?;
    Some(Message {
        id: written.id,
        sender: AgentKey::new(&written.from.namespace, &written.from.agent_id).ok()?,
        topic: written.topic.into(),
        priority: written.priority,
        sent_at: written.sent_at,
        expires_at: written.expires_at,
        correlation_id: written.correlation_id,
        body: written.body,
    })
}

#[derive(Serialize)]
struct Notification<'a, P> {
    jsonrpc: &'a str,
    method: &'a str,
    params: P,
}

#[derive(Serialize)]
struct Welcome<'a> {
    session_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    resume_token: &'a str,
    limits: Limits,
    ping_interval_ms: u64,
    reconnect_window_ms: u64,
    server: Server,
}

#[derive(Serialize)]
struct Limits {
    window_messages: usize,
    window_bytes: usize,
    message_bytes: usize,
    body_bytes: usize,
    ack_ms: u64,
    deliveries: u32,
}

#[derive(Serialize)]
struct Server {
    name: &'static str,
    version: &'static str,
}

/// What a client is told first.
pub(super) fn welcome(attendance: &Attendance, token: &str, terms: Terms) -> Vec<u8> {
    let params = params(attendance.session(), Some(attendance.epoch()), token, terms);
    written(&Notification {
        jsonrpc: "2.0",
        method: "notifications/session/welcome",
        params,
    })
}

/// The same for a client that takes no deliveries yet, as an object.
pub(super) fn introduction(session: Uuid, token: &str, terms: Terms) -> Vec<u8> {
    written(&params(session, None, token, terms))
}

fn params(session_id: Uuid, epoch: Option<u64>, token: &str, terms: Terms) -> Welcome<'_> {
    Welcome {
        session_id,
        epoch,
        resume_token: token,
        limits: Limits {
            window_messages: WINDOW_MESSAGES_MAX,
            window_bytes: WINDOW_BYTES_MAX,
            message_bytes: terms.message_bytes_max,
            body_bytes: BODY_BYTES_MAX,
            ack_ms: ACK_SECONDS * 1_000,
            deliveries: DELIVERIES_MAX,
        },
        ping_interval_ms: terms.ping_interval_ms,
        reconnect_window_ms: terms.reconnect_window_ms,
        server: Server {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
        },
    }
}

fn written(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(640);
    if let Err(error) = json::write(&mut out, value) {
        tracing::error!(%error, "a welcome could not be written");
    }
    out
}

#[derive(Serialize)]
struct Closing {
    reason: &'static str,
    reconnect_window_ms: u64,
    retry_after_ms: u64,
}

/// What a client that takes deliveries is told before a server that stops closes its connection: for
/// how long it may take its session up again, and when a server is likely to be there.
pub fn closing(reconnect_window_ms: u64, retry_after_ms: u64) -> Vec<u8> {
    written(&Notification {
        jsonrpc: "2.0",
        method: "notifications/session/closing",
        params: Closing {
            reason: "restart",
            reconnect_window_ms,
            retry_after_ms,
        },
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{message, parcel};
    use crate::domain::{AgentKey, JsonText, Message, Priority, Timestamp};

    #[test]
    fn a_parcel_holds_its_whole_message() {
        let sent_at = Timestamp::now();
        for (correlation, body) in [(None, "null"), (Some("c \"1\""), r#"{"a":[1,"\u0000é"]}"#)] {
            let sent = Message {
                id: Uuid::now_v7(),
                sender: AgentKey::new("space", "team/a").unwrap(),
                topic: "topic:news".into(),
                priority: Priority::Urgent,
                sent_at,
                expires_at: sent_at.plus_millis(1_001).unwrap(),
                correlation_id: correlation.map(Into::into),
                body: JsonText::parse(body).unwrap(),
            };
            assert_eq!(message(&parcel(&sent)), Some(sent));
        }
    }
}
