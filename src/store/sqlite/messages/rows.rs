//! Messages, outlines and dead letters as rows.

use rusqlite::Row;
use uuid::Uuid;

use super::super::rows::{agent_key, foreign, time};
use crate::domain::{DeadLetter, DeathCause, JsonText, Message, Outline, Priority};

/// The columns of a message `m` and its delivery `d`, in the order in which [`message`] reads them.
macro_rules! message_columns {
    () => {
        "m.id, m.namespace, m.agent, m.topic, m.priority, m.sent_at, d.expires_at, m.correlation, m.body"
    };
}
pub(super) use message_columns;

/// The columns of a delivery, in the order in which [`outline`] reads them.
macro_rules! outline_columns {
    () => {
        "key, priority, bytes, expires_at, deliveries, message"
    };
}
pub(super) use outline_columns;

/// The columns of a dead letter, in the order in which [`letter`] reads them.
macro_rules! letter_columns {
    () => {
        "id, namespace, agent, cause, reason, deliveries, died_at,
         message, sender_namespace, sender, topic, priority, sent_at, expires_at, correlation, body"
    };
}
pub(super) use letter_columns;

/// Reads a message whose columns begin at `first`.
pub(super) fn message(row: &Row<'_>, first: usize) -> rusqlite::Result<Message> {
    let text =
        |column: usize| -> rusqlite::Result<&str> { Ok(row.get_ref(first + column)?.as_str()?) };
    let sender = agent_key(text(1)?, text(2)?);
    Ok(Message {
        id: Uuid::from_bytes(row.get(first)?),
        sender,
        topic: text(3)?.into(),
        priority: priority(row, first + 4)?,
        sent_at: time(row, first + 5)?,
        expires_at: time(row, first + 6)?,
        correlation_id: row.get(first + 7)?,
        body: JsonText::of_store(text(8)?),
    })
}

/// Reads an outline whose columns are the first.
pub(super) fn outline(row: &Row<'_>) -> rusqlite::Result<Outline> {
    Ok(Outline {
        key: row.get(0)?,
        priority: priority(row, 1)?,
        bytes: row.get::<_, i64>(2)? as usize,
        expires_at: time(row, 3)?,
        deliveries: row.get(4)?,
        message: Uuid::from_bytes(row.get(5)?),
    })
}

/// Reads a dead letter.
pub(super) fn letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        id: Uuid::from_bytes(row.get(0)?),
        agent: agent_key(row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?),
        cause: DeathCause::parse(row.get_ref(3)?.as_str()?).ok_or_else(|| foreign(3))?,
        reason: row.get(4)?,
        deliveries: row.get(5)?,
        died_at: time(row, 6)?,
        message: message(row, 7)?,
    })
}

fn priority(row: &Row<'_>, column: usize) -> rusqlite::Result<Priority> {
    Priority::of_rank(row.get::<_, i64>(column)? as usize).ok_or_else(|| foreign(column))
}
