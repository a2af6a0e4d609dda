//! The full-text entry of a memory: written from the stored row, in the transaction of the row.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};

use super::rows::agent_key;
use super::{scope, terms};
use crate::domain::{Access, AgentKey};
use crate::store::StoreError;

/// A row whose entry is out of date.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changed {
    pub(super) seq: i64,
    /// There may be an entry already; false for a new row saves looking for it.
    pub(super) indexed: bool,
}

/// Rewrites the entries of `changed`, each once however often it is named; a row that is gone or
/// deleted has none.
pub(super) fn refresh(connection: &Connection, changed: &[Changed]) -> Result<(), StoreError> {
    let mut rows: BTreeMap<i64, bool> = BTreeMap::new();
    for change in changed {
        *rows.entry(change.seq).or_default() |= change.indexed;
    }
    for (seq, indexed) in rows {
        if indexed {
            connection
                .prepare_cached("DELETE FROM memory_text WHERE rowid = ?1")?
                .execute([seq])?;
        }
        insert(connection, seq)?;
    }
    Ok(())
}

fn insert(connection: &Connection, seq: i64) -> Result<(), StoreError> {
    let row = connection
        .prepare_cached(
            "SELECT namespace, agent, access, superseded_by IS NOT NULL, kind, tags, content
             FROM memory WHERE seq = ?1 AND deleted_at IS NULL",
        )?
        .query_row([seq], |row| {
            let owner = agent_key(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
            let access = Access::from_name(row.get_ref(2)?.as_str()?).unwrap_or_default();
            let content: String = row.get(6)?;
            let kind: Option<String> = row.get(4)?;
            let tags: String = row.get(5)?;
            Ok((owner, access, row.get::<_, bool>(3)?, kind, tags, content))
        })
        .optional()?;
    let Some((owner, access, superseded, kind, tags, content)) = row else {
        return Ok(());
    };
    let grantees = match access {
        Access::Private => Vec::new(),
        _ => grantees(connection, seq)?,
    };
    connection
        .prepare_cached(
            "INSERT INTO memory_text (rowid, content, tags, kind, scope) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((
            seq,
            terms::spaced(&content),
            terms::spaced(&tags),
            kind.as_deref().map(terms::spaced),
            scope::of_memory(&owner, access, &grantees, superseded),
        ))?;
    Ok(())
}

fn grantees(connection: &Connection, seq: i64) -> Result<Vec<AgentKey>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT namespace, agent FROM memory_grant WHERE memory = ?1")?;
    let keys = statement.query_map([seq], |row| {
        Ok(agent_key(
            row.get_ref(0)?.as_str()?,
            row.get_ref(1)?.as_str()?,
        ))
    })?;
    Ok(keys.collect::<Result<_, _>>()?)
}
