//! Messages, outlines and dead letters as rows.

use tokio_postgres::Row;

use super::super::failure::Failure;
use super::super::rows::{column, foreign, time};
use crate::domain::{AgentKey, DeadLetter, DeathCause, JsonText, Message, Outline, Priority};

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
pub(super) fn message(row: &Row, first: usize) -> Result<Message, Failure> {
    Ok(Message {
        id: column(row, first)?,
        sender: agent_key(row, first + 1)?,
        topic: column::<&str>(row, first + 3)?.into(),
        priority: priority(row, first + 4)?,
        sent_at: time(row, first + 5)?,
        expires_at: time(row, first + 6)?,
        correlation_id: column::<Option<&str>>(row, first + 7)?.map(Into::into),
        body: JsonText::of_store(column(row, first + 8)?),
    })
}

/// Reads an outline whose columns are the first.
pub(super) fn outline(row: &Row) -> Result<Outline, Failure> {
    Ok(Outline {
        key: column(row, 0)?,
        priority: priority(row, 1)?,
        bytes: column::<i32>(row, 2)? as usize,
        expires_at: time(row, 3)?,
        deliveries: column::<i32>(row, 4)? as u32,
        message: column(row, 5)?,
    })
}

/// Reads a dead letter.
pub(super) fn letter(row: &Row) -> Result<DeadLetter, Failure> {
    Ok(DeadLetter {
        id: column(row, 0)?,
        agent: agent_key(row, 1)?,
        cause: DeathCause::parse(column(row, 3)?).ok_or_else(foreign)?,
        reason: column::<Option<&str>>(row, 4)?.map(Into::into),
        deliveries: column::<i32>(row, 5)? as u32,
        died_at: time(row, 6)?,
        message: message(row, 7)?,
    })
}

/// Reads a namespace and the agent that stands behind it.
pub(super) fn agent_key(row: &Row, first: usize) -> Result<AgentKey, Failure> {
    Ok(AgentKey {
        namespace: column::<&str>(row, first)?.into(),
        agent: column::<&str>(row, first + 1)?.into(),
    })
}

fn priority(row: &Row, place: usize) -> Result<Priority, Failure> {
    Priority::of_rank(column::<i32>(row, place)? as usize).ok_or_else(foreign)
}
