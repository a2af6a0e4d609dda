//! What may become of messages: the rules that every backend shares.

use uuid::Uuid;

use super::StoreError;
use crate::domain::message::{DEAD_LETTER_DAYS, WAITING_MAX};
use crate::domain::{AgentKey, Message, Timestamp};

/// Bytes that a delivery takes in a store beside the body of its message.
pub(super) const DELIVERY_BYTES: usize = 256;

/// The dead letter does not exist for this agent, or not any more.
pub(super) fn not_found() -> StoreError {
    StoreError::NotFound {
        what: "dead letter",
    }
}

/// Another message has the id.
pub(super) fn taken(id: Uuid) -> StoreError {
    StoreError::Conflict {
        message: format!("there is a message {id} already"),
        current_version: None,
    }
}

/// More waits for `agent` than may.
pub(super) fn full(agent: &AgentKey) -> StoreError {
    StoreError::Conflict {
        message: format!(
            "the agent {} has {WAITING_MAX} messages waiting and takes no more before it has settled some",
            agent.agent
        ),
        current_version: None,
    }
}

/// How long `message` lives from when it is sent, in microseconds.
pub(super) fn ttl(message: &Message) -> i64 {
    let (sent, expires) = (message.sent_at.as_micros(), message.expires_at.as_micros());
    expires.saturating_sub(sent).max(0)
}

/// Before when a dead letter was given up that is to be removed, in microseconds.
pub(super) fn letters_before(now: Timestamp) -> i64 {
    before(now, DEAD_LETTER_DAYS * 24 * 3_600)
}

/// The point `seconds` before `now`, in microseconds.
pub(super) fn before(now: Timestamp, seconds: u64) -> i64 {
    now.as_micros().saturating_sub(seconds as i64 * 1_000_000)
}

/// What a receiver said, as every store can keep it: PostgreSQL has no U+0000.
pub(super) fn storable(reason: Option<Box<str>>) -> Option<String> {
    reason.map(|reason| reason.replace('\0', "\u{fffd}"))
}
