//! Registrations of agents.

use rusqlite::{Connection, OptionalExtension, Row};

use super::rows::{foreign, join_list, list_item, split_list, time};
use super::writer::Batch;
use crate::domain::{Agent, AgentKey, JsonObject, NewAgent, Page};
use crate::store::StoreError;
use crate::store::cursor;

/// Registers an agent; what the registration leaves out stays as it was.
pub(super) fn register(batch: &mut Batch<'_>, new: &NewAgent) -> Result<Agent, StoreError> {
    let mut statement = batch.connection.prepare_cached(
        "INSERT INTO agent (namespace, agent, name, description, capabilities, metadata,
             registered_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, coalesce(?5, ''), coalesce(?6, '{}'), ?7, ?7)
         ON CONFLICT (namespace, agent) DO UPDATE SET
             name = coalesce(?3, name), description = coalesce(?4, description),
             capabilities = coalesce(?5, capabilities), metadata = coalesce(?6, metadata),
             updated_at = ?7",
    )?;
    statement.execute(rusqlite::params![
        &*new.key.namespace,
        &*new.key.agent,
        new.name,
        new.description,
        new.capabilities.as_deref().map(join_list),
        new.metadata.as_ref().map(JsonObject::as_str),
        batch.now.as_micros(),
    ])?;
    get(batch.connection, &new.key)
}

/// One registration.
pub(super) fn get(connection: &Connection, key: &AgentKey) -> Result<Agent, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT agent, namespace, name, description, capabilities, metadata, registered_at,
             updated_at
         FROM agent WHERE namespace = ?1 AND agent = ?2",
    )?;
    statement
        .query_row((&*key.namespace, &*key.agent), agent)
        .optional()?
        .ok_or(StoreError::NotFound { what: "agent" })
}

/// Registrations of a namespace in the order of their ids.
pub(super) fn list(
    connection: &Connection,
    namespace: &str,
    capability: Option<&str>,
    limit: u32,
    cursor: Option<&str>,
) -> Result<Page<Agent>, StoreError> {
    let after = cursor
        .map(cursor::parse_agent)
        .transpose()?
        .unwrap_or_default();
    let mut statement = connection.prepare_cached(
        "SELECT agent, namespace, name, description, capabilities, metadata, registered_at,
             updated_at
         FROM agent
         WHERE namespace = ?1 AND agent > ?2 AND (?3 IS NULL OR instr(capabilities, ?3) > 0)
         ORDER BY agent LIMIT ?4",
    )?;
    let wanted = capability.map(list_item);
    let mut items = statement
        .query_map((namespace, after, wanted, i64::from(limit) + 1), agent)?
        .collect::<Result<Vec<_>, _>>()?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next_cursor = items
        .last()
        .filter(|_| more)
        .map(|last| cursor::write_agent(&last.agent_id));
    Ok(Page { items, next_cursor })
}

fn agent(row: &Row<'_>) -> rusqlite::Result<Agent> {
    Ok(Agent {
        agent_id: row.get_ref(0)?.as_str()?.into(),
        namespace: row.get_ref(1)?.as_str()?.into(),
        name: row.get(2)?,
        description: row.get(3)?,
        capabilities: split_list(row.get_ref(4)?.as_str()?),
        metadata: JsonObject::parse(row.get_ref(5)?.as_str()?).ok_or_else(|| foreign(5))?,
        registered_at: time(row, 6)?,
        updated_at: time(row, 7)?,
    })
}
