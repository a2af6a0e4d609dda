//! Posting, loading, counting and settling deliveries.

use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::super::rows::optional_id;
use super::super::writer::Batch;
use super::rows::{message, message_columns};
use crate::domain::message::WAITING_MAX;
use crate::domain::{AgentKey, Destination, Message, NewMessage, Timestamp, Unsettled, Waiting};
use crate::store::{Settled, StoreError, message_rules as rules};

/// How many deliveries `agent` has, at most [`WAITING_MAX`].
pub(super) fn waiting_for(connection: &Connection, agent: &AgentKey) -> Result<usize, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT count(*) FROM (
             SELECT 1 FROM delivery WHERE namespace = ?1 AND agent = ?2 LIMIT ?3)",
    )?;
    let values = (&*agent.namespace, &*agent.agent, WAITING_MAX as i64);
    let count: i64 = statement.query_row(values, |row| row.get(0))?;
    Ok(count as usize)
}

/// Stores a message with its deliveries; those to queues that are unknown make them `node`'s.
pub(in crate::store::sqlite) fn post(
    batch: &mut Batch<'_>,
    node: Uuid,
    new: &NewMessage,
) -> Result<Vec<i64>, StoreError> {
    let agents = new.to.iter().map(|to| &to.agent);
    batch.known.take(batch.connection, agents)?;
    let message = &*new.message;
    if new.to.is_empty() {
        return Ok(Vec::new());
    }
    if !store(batch.connection, message, rules::ttl(message))? {
        return Err(rules::taken(message.id));
    }
    for to in &new.to {
        if let Some(session) = to.session
            && !batch.known.has_queue(session)
        {
            begin_queue(batch.connection, node, &to.agent, session)?;
            batch.known.begin_queue(session);
        }
    }
    deliver_all(batch.connection, message, &new.to)
}

/// Rows that one statement inserts: SQLite notes the highest key of the table once for all of them.
const ROWS_AT_ONCE: usize = 32;

/// Inserts so many deliveries of one message.
static DELIVER: LazyLock<String> = LazyLock::new(|| {
    let row = |at: usize| {
        let own = [5, 6, 7, 8].map(|value| format!("?{}", value + 4 * at));
        let [namespace, agent, session, deliveries] = own;
        format!("(?1, {namespace}, {agent}, {session}, ?2, ?3, ?4, {deliveries})")
    };
    let rows: Vec<String> = (0..ROWS_AT_ONCE).map(row).collect();
    format!(
        "INSERT INTO delivery (message, namespace, agent, session, priority, bytes, expires_at, deliveries)
         VALUES {}",
        rows.join(", ")
    )
});

/// Stores the deliveries of a stored message, and answers their keys.
fn deliver_all(
    connection: &Connection,
    message: &Message,
    to: &[Destination],
) -> Result<Vec<i64>, StoreError> {
    let mut keys = Vec::with_capacity(to.len());
    let (chunks, rest) = to.as_chunks::<ROWS_AT_ONCE>();
    if !chunks.is_empty() {
        let mut statement = connection.prepare_cached(&DELIVER)?;
        for chunk in chunks {
            statement.raw_bind_parameter(1, message.id.as_bytes())?;
            statement.raw_bind_parameter(2, message.priority.rank() as i64)?;
            statement.raw_bind_parameter(3, message.body.as_str().len() as i64)?;
            statement.raw_bind_parameter(4, message.expires_at.as_micros())?;
            for (to, at) in chunk.iter().zip((5..).step_by(4)) {
                statement.raw_bind_parameter(at, &*to.agent.namespace)?;
                statement.raw_bind_parameter(at + 1, &*to.agent.agent)?;
                let session = to.session.as_ref().map(Uuid::as_bytes);
                statement.raw_bind_parameter(at + 2, session)?;
                statement.raw_bind_parameter(at + 3, u32::from(to.begun))?;
            }
            statement.raw_execute()?;
            let last = connection.last_insert_rowid();
            keys.extend(last - ROWS_AT_ONCE as i64 + 1..=last);
        }
    }
    for to in rest {
        let begun = u32::from(to.begun);
        let key = deliver(connection, message, &to.agent, to.session, begun)?;
        keys.push(key);
    }
    Ok(keys)
}

/// Stores one delivery of a message that was in memory only, and the message, unless they are there.
pub(super) fn keep(batch: &mut Batch<'_>, node: Uuid, one: &Unsettled) -> Result<i64, StoreError> {
    let there = batch
        .connection
        .prepare_cached(
            "SELECT key FROM delivery
             WHERE message = ?1 AND namespace = ?2 AND agent = ?3 AND session = ?4",
        )?
        .query_row(
            (
                one.message.id.as_bytes(),
                &*one.agent.namespace,
                &*one.agent.agent,
                one.session.as_bytes(),
            ),
            |row| row.get(0),
        )
        .optional()?;
    if let Some(key) = there {
        return Ok(key);
    }
    batch
        .known
        .take(batch.connection, std::iter::once(&one.agent))?;
    let message = &*one.message;
    store(batch.connection, message, rules::ttl(message))?;
    begin_queue(batch.connection, node, &one.agent, one.session)?;
    let session = Some(one.session);
    deliver(
        batch.connection,
        message,
        &one.agent,
        session,
        one.deliveries,
    )
}

/// Stores a message; false if there is one of that id.
pub(super) fn store(
    connection: &Connection,
    message: &Message,
    ttl: i64,
) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO message (id, namespace, agent, topic, priority, sent_at, ttl, correlation, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (id) DO NOTHING",
    )?;
    let stored = statement.execute(rusqlite::params![
        message.id.as_bytes(),
        &*message.sender.namespace,
        &*message.sender.agent,
        &*message.topic,
        message.priority.rank() as i64,
        message.sent_at.as_micros(),
        ttl,
        message.correlation_id,
        message.body.as_str(),
    ])?;
    Ok(stored > 0)
}

/// Stores a delivery of a stored message, and answers its key.
pub(super) fn deliver(
    connection: &Connection,
    message: &Message,
    agent: &AgentKey,
    session: Option<Uuid>,
    deliveries: u32,
) -> Result<i64, StoreError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO delivery (message, namespace, agent, session, priority, bytes, expires_at, deliveries)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    Ok(statement.insert(rusqlite::params![
        message.id.as_bytes(),
        &*agent.namespace,
        &*agent.agent,
        session.as_ref().map(Uuid::as_bytes),
        message.priority.rank() as i64,
        message.body.as_str().len() as i64,
        message.expires_at.as_micros(),
        deliveries,
    ])?)
}

/// Makes a queue `node`'s unless it is known.
pub(super) fn begin_queue(
    connection: &Connection,
    node: Uuid,
    agent: &AgentKey,
    session: Uuid,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO queue (namespace, agent, session, node) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
        )?
        .execute((
            &*agent.namespace,
            &*agent.agent,
            session.as_bytes(),
            node.as_bytes(),
        ))?;
    Ok(())
}

/// The messages of deliveries.
pub(super) fn load(
    connection: &Connection,
    keys: &[i64],
) -> Result<Vec<(i64, Message)>, StoreError> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        message_columns!(),
        " FROM delivery d JOIN message m ON m.id = d.message WHERE d.key = ?1"
    ))?;
    let mut loaded = Vec::with_capacity(keys.len());
    for key in keys {
        let mut rows = statement.query([key])?;
        if let Some(row) = rows.next()? {
            loaded.push((*key, message(row, 0)?));
        }
    }
    Ok(loaded)
}

/// Counts one more delivery of each.
pub(super) fn count(batch: &mut Batch<'_>, keys: &[i64]) -> Result<(), StoreError> {
    let mut statement = batch
        .connection
        .prepare_cached("UPDATE delivery SET deliveries = deliveries + 1 WHERE key = ?1")?;
    for key in keys {
        statement.execute([key])?;
    }
    Ok(())
}

/// Ends deliveries; a message goes with its last one (`message_over` in the schema).
pub(super) fn settle(batch: &mut Batch<'_>, keys: &[i64]) -> Result<(), StoreError> {
    let mut statement = batch
        .connection
        .prepare_cached("DELETE FROM delivery WHERE key = ?1")?;
    for key in keys {
        statement.execute([key])?;
    }
    Ok(())
}

/// What waits for `agent`, each message once.
pub(super) fn waiting(
    connection: &Connection,
    agent: &AgentKey,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<Waiting>, StoreError> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        message_columns!(),
        ", d.deliveries
         FROM (SELECT message, min(key) AS key, max(deliveries) AS deliveries,
                   max(expires_at) AS expires_at, priority
               FROM delivery
               WHERE namespace = ?1 AND agent = ?2 AND expires_at > ?3
               GROUP BY message ORDER BY priority, min(key) LIMIT ?4) d
         JOIN message m ON m.id = d.message
         ORDER BY d.priority, d.key"
    ))?;
    let values = (&*agent.namespace, &*agent.agent, now.as_micros(), limit);
    let rows = statement.query_map(values, |row| {
        Ok(Waiting {
            message: message(row, 0)?,
            deliveries: row.get(9)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Ends the deliveries of messages to `agent`, in whatever queues they are.
pub(super) fn settle_messages(
    batch: &mut Batch<'_>,
    agent: &AgentKey,
    ids: &[Uuid],
) -> Result<Vec<Settled>, StoreError> {
    let mut statement = batch.connection.prepare_cached(
        "DELETE FROM delivery WHERE message = ?1 AND namespace = ?2 AND agent = ?3
         RETURNING key, session",
    )?;
    let mut settled = Vec::new();
    for id in ids {
        let rows =
            statement.query_map((id.as_bytes(), &*agent.namespace, &*agent.agent), |row| {
                Ok(Settled {
                    key: row.get(0)?,
                    session: optional_id(row, 1)?,
                })
            })?;
        for row in rows {
            settled.push(row?);
        }
    }
    Ok(settled)
}
