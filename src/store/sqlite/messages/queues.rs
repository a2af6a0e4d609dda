//! Queues: filling, taking over, closing, and what the upkeep does for sessions that are gone.

use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::super::rows::agent_key;
use super::super::writer::Batch;
use super::deliveries::{begin_queue, waiting_for};
use super::rows::{outline, outline_columns};
use crate::domain::message::WAITING_MAX;
use crate::domain::{AgentKey, Outline};
use crate::store::{Looked, Queue, StoreError, message_rules as rules};

/// Brings into the queue of `session` what waits in the inbox and, as copies, what waits for
/// sessions that are absent.
pub(super) fn fill(
    batch: &mut Batch<'_>,
    node: Uuid,
    agent: &AgentKey,
    session: Uuid,
    absent: &[Uuid],
) -> Result<Vec<Outline>, StoreError> {
    take_inbox(batch, agent, session)?;
    batch.known.forget(agent);
    for (original, message) in originals(batch, node, agent, session, absent)? {
        copy(batch, agent, session, original, &message)?;
    }
    let filled = filled(batch.connection, agent, session)?;
    if !filled.is_empty() {
        begin_queue(batch.connection, node, agent, session)?;
    }
    Ok(filled)
}

/// What came into the queue otherwise than by a post to it.
fn filled(
    connection: &Connection,
    agent: &AgentKey,
    session: Uuid,
) -> Result<Vec<Outline>, StoreError> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        outline_columns!(),
        " FROM delivery
         WHERE namespace = ?1 AND agent = ?2 AND session = ?3 AND filled = 1 ORDER BY message, key"
    ))?;
    let queue = (&*agent.namespace, &*agent.agent, session.as_bytes());
    let filled = statement.query_map(queue, outline)?;
    Ok(filled.collect::<Result<_, _>>()?)
}

/// Moves the inbox into the queue, but for messages that it has already: which may be originals whose
/// copies have returned to the inbox, and are none from then on.
fn take_inbox(batch: &Batch<'_>, agent: &AgentKey, session: Uuid) -> Result<(), StoreError> {
    batch
        .connection
        .prepare_cached(
            "UPDATE delivery SET copied = 0
             WHERE namespace = ?1 AND agent = ?2 AND session = ?3 AND copied = 1 AND EXISTS (
                 SELECT 1 FROM delivery d WHERE d.message = delivery.message
                 AND d.namespace = ?1 AND d.agent = ?2 AND d.session IS NULL)",
        )?
        .execute((&*agent.namespace, &*agent.agent, session.as_bytes()))?;
    batch
        .connection
        .prepare_cached(
            "DELETE FROM delivery
             WHERE namespace = ?1 AND agent = ?2 AND session IS NULL AND EXISTS (
                 SELECT 1 FROM delivery d WHERE d.message = delivery.message
                 AND d.namespace = ?1 AND d.agent = ?2 AND d.session = ?3)",
        )?
        .execute((&*agent.namespace, &*agent.agent, session.as_bytes()))?;
    let values = (
        &*agent.namespace,
        &*agent.agent,
        session.as_bytes(),
        batch.now.as_micros(),
    );
    batch
        .connection
        .prepare_cached(
            "UPDATE delivery SET session = ?3, filled = 1
             WHERE namespace = ?1 AND agent = ?2 AND session IS NULL AND expires_at > ?4",
        )?
        .execute(values)?;
    Ok(())
}

/// The deliveries, with their messages, that are to be copied: no more than the agent has room for.
fn originals(
    batch: &Batch<'_>,
    node: Uuid,
    agent: &AgentKey,
    session: Uuid,
    absent: &[Uuid],
) -> Result<Vec<(i64, [u8; 16])>, StoreError> {
    let mut sources = left_by_nodes(batch.connection, node, agent)?;
    sources.extend(absent.iter().map(|absent| absent.into_bytes()));
    sources.retain(|source| source != session.as_bytes());
    sources.sort_unstable();
    sources.dedup();
    if sources.is_empty() {
        return Ok(Vec::new());
    }
    let mut statement = batch.connection.prepare_cached(
        "SELECT key, message FROM delivery
         WHERE namespace = ?1 AND agent = ?2 AND session = ?3 AND copied = 0 AND expires_at > ?4",
    )?;
    let mut originals = Vec::new();
    for source in sources {
        let values = (
            &*agent.namespace,
            &*agent.agent,
            source,
            batch.now.as_micros(),
        );
        let rows = statement.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
        for row in rows {
            originals.push(row?);
        }
    }
    originals.sort_unstable();
    originals.truncate(WAITING_MAX - waiting_for(batch.connection, agent)?);
    Ok(originals)
}

/// Sessions of `agent` whose queues belong to nodes that are gone.
fn left_by_nodes(
    connection: &Connection,
    node: Uuid,
    agent: &AgentKey,
) -> Result<Vec<[u8; 16]>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT session FROM queue WHERE namespace = ?1 AND agent = ?2 AND node <> ?3",
    )?;
    let values = (&*agent.namespace, &*agent.agent, node.as_bytes());
    let sessions = statement.query_map(values, |row| row.get(0))?;
    Ok(sessions.collect::<Result<_, _>>()?)
}

/// Copies a delivery into the queue of `session` unless its message is there already, and marks it.
/// What is there, though its copy may be this one, is no original any more.
fn copy(
    batch: &Batch<'_>,
    agent: &AgentKey,
    session: Uuid,
    original: i64,
    message: &[u8; 16],
) -> Result<(), StoreError> {
    batch
        .connection
        .prepare_cached("UPDATE delivery SET copied = 1 WHERE key = ?1")?
        .execute([original])?;
    let there = batch
        .connection
        .prepare_cached(
            "UPDATE delivery SET copied = 0
             WHERE message = ?1 AND namespace = ?2 AND agent = ?3 AND session = ?4",
        )?
        .execute((
            message,
            &*agent.namespace,
            &*agent.agent,
            session.as_bytes(),
        ))?;
    if there > 0 {
        return Ok(());
    }
    batch
        .connection
        .prepare_cached(
            "INSERT INTO delivery (message, namespace, agent, session, priority, bytes,
                 expires_at, deliveries, filled)
             SELECT message, namespace, agent, ?2, priority, bytes, expires_at, deliveries, 1
             FROM delivery WHERE key = ?1",
        )?
        .execute((original, session.as_bytes()))?;
    Ok(())
}

/// Takes the queue over; if there is none, the node that had it is `before`.
pub(super) fn resume(
    batch: &mut Batch<'_>,
    node: Uuid,
    agent: &AgentKey,
    session: Uuid,
    before: Uuid,
) -> Result<Queue, StoreError> {
    let volatile = batch
        .connection
        .prepare_cached(
            "SELECT volatile FROM node WHERE id = coalesce(
                 (SELECT node FROM queue WHERE namespace = ?1 AND agent = ?2 AND session = ?3), ?4)",
        )?
        .query_row(
            (
                &*agent.namespace,
                &*agent.agent,
                session.as_bytes(),
                before.as_bytes(),
            ),
            |row| row.get(0),
        )
        .optional()?;
    let known = node_of(batch.connection, agent, session)?.is_some();
    if known || volatile.is_some() {
        batch
            .connection
            .prepare_cached(
                "INSERT INTO queue (namespace, agent, session, node) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (namespace, agent, session) DO UPDATE SET node = excluded.node",
            )?
            .execute((
                &*agent.namespace,
                &*agent.agent,
                session.as_bytes(),
                node.as_bytes(),
            ))?;
    }
    Ok(Queue {
        waiting: waiting(batch.connection, agent, session)?,
        known,
        volatile,
    })
}

/// The queue as it is.
pub(super) fn look(
    connection: &Connection,
    agent: &AgentKey,
    session: Uuid,
) -> Result<Looked, StoreError> {
    Ok(Looked {
        node: node_of(connection, agent, session)?,
        waiting: waiting(connection, agent, session)?,
    })
}

/// The node that has the queue.
fn node_of(
    connection: &Connection,
    agent: &AgentKey,
    session: Uuid,
) -> Result<Option<Uuid>, StoreError> {
    let queue = (&*agent.namespace, &*agent.agent, session.as_bytes());
    let sql = "SELECT node FROM queue WHERE namespace = ?1 AND agent = ?2 AND session = ?3";
    let node = connection
        .prepare_cached(sql)?
        .query_row(queue, |row| row.get(0))
        .optional()?;
    Ok(node.map(Uuid::from_bytes))
}

/// Everything in the queue.
fn waiting(
    connection: &Connection,
    agent: &AgentKey,
    session: Uuid,
) -> Result<Vec<Outline>, StoreError> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        outline_columns!(),
        " FROM delivery WHERE namespace = ?1 AND agent = ?2 AND session = ?3 ORDER BY message, key"
    ))?;
    let queue = (&*agent.namespace, &*agent.agent, session.as_bytes());
    let waiting = statement.query_map(queue, outline)?;
    Ok(waiting.collect::<Result<_, _>>()?)
}

/// Returns what waits in the queue to the inbox, but for what another session has a copy of and for
/// messages that the inbox has already. A queue of another node than `node` is left alone.
pub(super) fn close(
    batch: &mut Batch<'_>,
    node: Uuid,
    agent: &AgentKey,
    session: Uuid,
) -> Result<u64, StoreError> {
    let queue = (&*agent.namespace, &*agent.agent, session.as_bytes());
    let connection = batch.connection;
    if node_of(connection, agent, session)?.is_some_and(|owner| owner != node) {
        return Ok(0);
    }
    batch.known.end_queue(session);
    connection
        .prepare_cached("DELETE FROM queue WHERE namespace = ?1 AND agent = ?2 AND session = ?3")?
        .execute(queue)?;
    connection
        .prepare_cached(
            "DELETE FROM delivery
             WHERE namespace = ?1 AND agent = ?2 AND session = ?3 AND (copied = 1 OR EXISTS (
                 SELECT 1 FROM delivery d WHERE d.message = delivery.message
                 AND d.namespace = ?1 AND d.agent = ?2 AND d.session IS NULL))",
        )?
        .execute(queue)?;
    let returned = connection
        .prepare_cached(
            "UPDATE delivery SET session = NULL, filled = 0
             WHERE namespace = ?1 AND agent = ?2 AND session = ?3",
        )?
        .execute(queue)?;
    Ok(returned as u64)
}

/// Closes queues of nodes that have been gone for longer than a session may be resumed; stops when
/// about `limit` deliveries have moved. Returns how many queues.
pub(super) fn close_left(
    batch: &mut Batch<'_>,
    node: Uuid,
    window_seconds: u64,
    limit: usize,
) -> Result<u64, StoreError> {
    let silent = rules::before(batch.now, window_seconds);
    let mut statement = batch.connection.prepare_cached(
        "SELECT namespace, agent, session, node FROM queue WHERE node <> ?1
         AND NOT EXISTS (SELECT 1 FROM node n WHERE n.id = queue.node AND n.seen_at > ?2)
         LIMIT ?3",
    )?;
    let left = statement
        .query_map((node.as_bytes(), silent, limit as i64), |row| {
            let agent = agent_key(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
            let [session, node] = [row.get(2)?, row.get(3)?].map(Uuid::from_bytes);
            Ok((agent, session, node))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let (mut closed, mut moved) = (0, 0);
    for (agent, session, node) in left {
        moved += close(batch, node, &agent, session)?;
        closed += 1;
        if moved >= limit as u64 {
            break;
        }
    }
    batch
        .connection
        .prepare_cached(
            "DELETE FROM node WHERE id <> ?1 AND seen_at <= ?2
             AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.node = node.id)",
        )?
        .execute((node.as_bytes(), silent))?;
    Ok(closed)
}
