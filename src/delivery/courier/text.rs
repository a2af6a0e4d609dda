//! Messages as `tmws.v1` sends them.

use std::io::Write;
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::{Attendance, Terms};
use crate::config::limits::{
    ACK_SECONDS, WINDOW_BYTES_MAX, WINDOW_MESSAGES_MAX,
};
use crate::delivery::queue::Parcel;
use crate::domain::message::{BODY_BYTES_MAX, DELIVERIES_MAX};
use crate::domain::{JsonText, Message, Priority, Timestamp};
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
    body: &'a JsonText,
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
        body: &message.body,
    };
    let mut text = Vec::with_capacity(256 + message.body.as_str().len());
    if let Err(error) = json::write(&mut text, &members) {
        // Every part was JSON when it was taken in.
        tracing::error!(%error, id = %message.id, "a message could not be written");
    }
    Arc::new(Parcel {
        id: message.id,
        text: text.into(),
    })
}

/// A delivery to one session.
pub(super) fn delivery(epoch: u64, seq: u64, delivery: u32, parcel: &Parcel) -> Vec<u8> {
    let mut out = Vec::with_capacity(parcel.text.len() + 160);
    // Writing into memory cannot fail.
    let _ = write!(
        out,
        r#"{{"jsonrpc":"2.0","method":"notifications/delivery","params":{{"epoch":{epoch},"seq":{seq},"delivery":{delivery},"#
    );
    // The members without the brace that opens them.
    out.extend_from_slice(parcel.text.get(1..).unwrap_or(b"}"));
    out.push(b'}');
    out
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
