//! Messages that were given up.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use uuid::Uuid;

use super::super::rows::agent_key;
use super::super::writer::Batch;
use super::deliveries::{deliver, store, waiting_for};
use super::rows::{letter, letter_columns};
use crate::domain::message::{DEAD_LETTERS_AT_ONCE, DEAD_LETTERS_MAX, WAITING_MAX};
use crate::domain::{AgentKey, DeadLetter, DeathCause, Letters, Page, Timestamp};
use crate::store::{StoreError, cursor, message_rules as rules};

/// Makes dead letters of deliveries; the oldest of an agent make room.
pub(super) fn bury(
    batch: &mut Batch<'_>,
    dead: Vec<(i64, DeathCause, Option<Box<str>>)>,
) -> Result<(), StoreError> {
    let mut owners = BTreeSet::new();
    for (key, cause, reason) in dead {
        owners.extend(bury_one(batch, key, cause, rules::storable(reason))?);
    }
    for owner in owners {
        make_room(batch.connection, &owner)?;
    }
    Ok(())
}

/// Makes a dead letter of a delivery and answers whose it is; none of one that expired while
/// another session has a copy, which becomes one itself.
fn bury_one(
    batch: &Batch<'_>,
    key: i64,
    cause: DeathCause,
    reason: Option<String>,
) -> Result<Option<AgentKey>, StoreError> {
    let mut statement = batch.connection.prepare_cached(
        "INSERT INTO dead_letter (id, namespace, agent, cause, reason, deliveries, died_at, message,
             sender_namespace, sender, topic, priority, sent_at, ttl, expires_at, correlation, body)
         SELECT ?2, d.namespace, d.agent, ?3, ?4, d.deliveries, ?5, m.id, m.namespace, m.agent,
             m.topic, m.priority, m.sent_at, m.ttl, d.expires_at, m.correlation, m.body
         FROM delivery d JOIN message m ON m.id = d.message
         WHERE d.key = ?1 AND NOT (d.copied AND ?3 = 'expired')
         RETURNING namespace, agent",
    )?;
    let id = Uuid::now_v7();
    let values = (
        key,
        id.as_bytes(),
        cause.as_str(),
        reason,
        batch.now.as_micros(),
    );
    let owner = statement
        .query_row(values, |row| {
            Ok(agent_key(
                row.get_ref(0)?.as_str()?,
                row.get_ref(1)?.as_str()?,
            ))
        })
        .optional()?;
    batch
        .connection
        .prepare_cached("DELETE FROM delivery WHERE key = ?1")?
        .execute([key])?;
    Ok(owner)
}

fn make_room(connection: &Connection, owner: &AgentKey) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "DELETE FROM dead_letter WHERE id IN (
                 SELECT id FROM dead_letter WHERE namespace = ?1 AND agent = ?2
                 ORDER BY id DESC LIMIT -1 OFFSET ?3)",
        )?
        .execute((&*owner.namespace, &*owner.agent, DEAD_LETTERS_MAX as i64))?;
    Ok(())
}

/// Gives up what has expired in inboxes and in queues of nodes that are gone. A live node buries its
/// own; what it has forgotten goes when no session can come back for it. Returns how many.
pub(super) fn bury_expired(
    batch: &mut Batch<'_>,
    node: Uuid,
    window_seconds: u64,
    limit: usize,
) -> Result<u64, StoreError> {
    let mut statement = batch.connection.prepare_cached(
        "SELECT key FROM delivery d
         WHERE expires_at <= ?1 AND (session IS NULL OR expires_at <= ?3 OR NOT EXISTS (
             SELECT 1 FROM queue q WHERE q.namespace = d.namespace AND q.agent = d.agent
             AND q.session = d.session AND q.node = ?2))
         ORDER BY expires_at LIMIT ?4",
    )?;
    let forgotten = rules::before(batch.now, window_seconds);
    let values = (
        batch.now.as_micros(),
        node.as_bytes(),
        forgotten,
        limit as i64,
    );
    let expired = statement
        .query_map(values, |row| Ok((row.get(0)?, DeathCause::Expired, None)))?
        .collect::<Result<Vec<_>, _>>()?;
    let buried = expired.len() as u64;
    bury(batch, expired)?;
    Ok(buried)
}

/// Removes dead letters whose time is over. Returns how many.
pub(super) fn remove_old(batch: &mut Batch<'_>, limit: usize) -> Result<u64, StoreError> {
    let removed = batch
        .connection
        .prepare_cached(
            "DELETE FROM dead_letter WHERE id IN (
                 SELECT id FROM dead_letter WHERE died_at <= ?1 ORDER BY died_at LIMIT ?2)",
        )?
        .execute((rules::letters_before(batch.now), limit as i64))?;
    Ok(removed as u64)
}

/// The part of a condition that `owner` adds, and its values.
fn owned(owner: Option<&AgentKey>) -> (&'static str, Vec<Value>) {
    match owner {
        Some(AgentKey { namespace, agent }) => (
            " AND namespace = ? AND agent = ?",
            vec![
                Value::Text(namespace.to_string()),
                Value::Text(agent.to_string()),
            ],
        ),
        None => ("", Vec::new()),
    }
}

fn blob(id: Uuid) -> Value {
    Value::Blob(id.as_bytes().to_vec())
}

/// A page, the latest first.
pub(super) fn list(
    connection: &Connection,
    owner: Option<&AgentKey>,
    limit: u32,
    cursor: Option<&str>,
) -> Result<Page<DeadLetter>, StoreError> {
    let before = cursor
        .map(cursor::parse_dead_letter)
        .transpose()?
        .unwrap_or(Uuid::max());
    let (condition, owner) = owned(owner);
    let sql = format!(
        "SELECT {} FROM dead_letter WHERE id < ?{condition} ORDER BY id DESC LIMIT ?",
        letter_columns!()
    );
    let mut values = vec![blob(before)];
    values.extend(owner);
    values.push(Value::Integer(i64::from(limit) + 1));
    let mut items = connection
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), letter)?
        .collect::<Result<Vec<_>, _>>()?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let last = items.last().filter(|_| more);
    Ok(Page {
        next_cursor: last.map(|last| cursor::write_dead_letter(last.id)),
        items,
    })
}

/// One dead letter.
pub(super) fn get(
    connection: &Connection,
    owner: Option<&AgentKey>,
    id: Uuid,
) -> Result<DeadLetter, StoreError> {
    let (condition, owner) = owned(owner);
    let sql = format!(
        "SELECT {} FROM dead_letter WHERE id = ?{condition}",
        letter_columns!()
    );
    let mut values = vec![blob(id)];
    values.extend(owner);
    connection
        .prepare_cached(&sql)?
        .query_row(params_from_iter(values), letter)
        .optional()?
        .ok_or_else(rules::not_found)
}

/// The ids of those that a call is about, oldest first.
fn chosen(
    connection: &Connection,
    owner: Option<&AgentKey>,
    letters: &Letters,
) -> Result<Vec<Uuid>, StoreError> {
    let (condition, owner) = owned(owner);
    let read = |sql: &str, values: Vec<Value>| -> Result<Vec<Uuid>, StoreError> {
        let mut statement = connection.prepare_cached(sql)?;
        let ids = statement.query_map(params_from_iter(values), |row| {
            Ok(Uuid::from_bytes(row.get(0)?))
        })?;
        Ok(ids.collect::<Result<_, _>>()?)
    };
    let Letters::Ids(ids) = letters else {
        let sql = format!("SELECT id FROM dead_letter WHERE true{condition} ORDER BY id LIMIT ?");
        let mut values = owner;
        values.push(Value::Integer(DEAD_LETTERS_AT_ONCE as i64));
        return read(&sql, values);
    };
    let sql = format!("SELECT id FROM dead_letter WHERE id = ?{condition}");
    let mut found = Vec::new();
    for id in ids.iter().collect::<BTreeSet<_>>() {
        let values = std::iter::once(blob(*id)).chain(owner.clone());
        found.extend(read(&sql, values.collect())?);
        if found.len() == DEAD_LETTERS_AT_ONCE {
            break;
        }
    }
    Ok(found)
}

/// Puts dead letters back into inboxes that have room.
pub(super) fn retry(
    batch: &mut Batch<'_>,
    owner: Option<&AgentKey>,
    letters: &Letters,
) -> Result<Vec<(AgentKey, u64)>, StoreError> {
    let mut room = BTreeMap::new();
    let mut put_back = BTreeMap::new();
    for id in chosen(batch.connection, owner, letters)? {
        let letter = get(batch.connection, None, id)?;
        let room = match room.entry(letter.agent.clone()) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                new.insert(WAITING_MAX - waiting_for(batch.connection, &letter.agent)?)
            }
        };
        if *room > 0 {
            *room -= 1;
            *put_back.entry(letter.agent.clone()).or_insert(0) += 1;
            batch.known.forget(&letter.agent);
            put_back_one(batch, letter)?;
        }
    }
    Ok(put_back.into_iter().collect())
}

fn put_back_one(batch: &Batch<'_>, mut letter: DeadLetter) -> Result<(), StoreError> {
    let connection = batch.connection;
    let ttl: i64 = connection
        .prepare_cached("DELETE FROM dead_letter WHERE id = ?1 RETURNING ttl")?
        .query_row([letter.id.as_bytes()], |row| row.get(0))?;
    letter.message.expires_at =
        Timestamp::from_micros(batch.now.as_micros().saturating_add(ttl)).unwrap_or(batch.now);
    // It is still there if it waits for others too.
    store(connection, &letter.message, ttl)?;
    deliver(connection, &letter.message, &letter.agent, None, 0)?;
    Ok(())
}

/// Removes dead letters.
pub(super) fn purge(
    batch: &mut Batch<'_>,
    owner: Option<&AgentKey>,
    letters: &Letters,
) -> Result<u64, StoreError> {
    let chosen = chosen(batch.connection, owner, letters)?;
    let mut statement = batch
        .connection
        .prepare_cached("DELETE FROM dead_letter WHERE id = ?1")?;
    for id in &chosen {
        statement.execute([id.as_bytes()])?;
    }
    Ok(chosen.len() as u64)
}
