//! Memories by id, by criteria and through time.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use uuid::Uuid;

use super::criteria::Criteria;
use super::grants;
use super::rows::{by_id, by_seq, optional_id, split_list, time};
use crate::domain::{Memory, Order, Page, Recall, Revision, Timestamp};
use crate::store::cursor::{CursorKey, Position};
use crate::store::rights::{self, Right};
use crate::store::{StoreError, Viewer};

/// One memory with its row.
pub(super) fn get(
    connection: &Connection,
    viewer: &Viewer,
    id: Uuid,
    now: Timestamp,
) -> Result<(i64, Memory), StoreError> {
    let stored = by_id(connection, id, now)?
        .filter(|stored| !stored.deleted)
        .ok_or_else(rights::not_found)?;
    rights::require(grants::right(connection, viewer, &stored)?, Right::Read)?;
    Ok((stored.seq, stored.memory))
}

/// A page of memories with their rows.
pub(super) fn recall(
    connection: &Connection,
    viewer: &Viewer,
    recall: &Recall,
    now: Timestamp,
) -> Result<Page<(i64, Memory)>, StoreError> {
    let key = cursor_key(connection)?;
    let after = recall
        .cursor
        .as_deref()
        .map(|text| Position::parse(text, recall.order, &key))
        .transpose()?;
    let mut criteria = Criteria::of_filter(&recall.filter, now);
    if let Some(position) = after {
        add_start(&mut criteria, recall.order, position);
    }
    let mut positions = positions(connection, viewer, recall, criteria)?;
    let more = positions.len() > recall.limit as usize;
    positions.truncate(recall.limit as usize);
    let next_cursor = positions
        .last()
        .filter(|_| more)
        .map(|position| position.write(recall.order, &key));
    let mut items = Vec::with_capacity(positions.len());
    for position in positions {
        if let Some(stored) = by_seq(connection, position.seq, now)? {
            items.push((stored.seq, stored.memory));
        }
    }
    Ok(Page { items, next_cursor })
}

fn cursor_key(connection: &Connection) -> Result<CursorKey, StoreError> {
    let key = connection
        .prepare_cached("SELECT value FROM secret WHERE name = 'cursor'")?
        .query_row([], |row| row.get(0))?;
    Ok(CursorKey::new(key))
}

/// The key that a recall sorts by besides the row, and the direction of both.
fn sorting(order: Order) -> (&'static str, &'static str) {
    match order {
        Order::Newest => ("0", "DESC"),
        Order::Oldest => ("0", "ASC"),
        Order::Importance => ("m.importance", "DESC"),
        Order::Updated => ("m.updated_at", "DESC"),
    }
}

/// Continues behind `position`: what was inserted meanwhile moves no row to another page.
fn add_start(criteria: &mut Criteria, order: Order, position: Position) {
    let seq = criteria.bind(position.seq);
    let start = match order {
        Order::Newest => format!("m.seq < {seq}"),
        Order::Oldest => format!("m.seq > {seq}"),
        Order::Importance => {
            let key = criteria.bind(f64::from_bits(position.key as u64));
            format!("(m.importance, m.seq) < ({key}, {seq})")
        }
        Order::Updated => {
            let key = criteria.bind(position.key);
            format!("(m.updated_at, m.seq) < ({key}, {seq})")
        }
    };
    criteria.require(start);
}

/// One position more than the limit, if there is one: each source sorted and limited by itself,
/// then merged.
fn positions(
    connection: &Connection,
    viewer: &Viewer,
    recall: &Recall,
    mut criteria: Criteria,
) -> Result<Vec<Position>, StoreError> {
    let filter = &recall.filter;
    let (key, direction) = sorting(recall.order);
    let limit = criteria.bind(i64::from(recall.limit) + 1);
    let sources = if filter.ids.is_empty() {
        criteria.visible_sources(&viewer.key, !filter.include_shared)
    } else {
        let visible = criteria.visible(&viewer.key, !filter.include_shared);
        vec![format!("FROM memory m WHERE {visible}")]
    };
    let condition = criteria.condition();
    let sort = if key == "0" {
        String::new()
    } else {
        format!("{key} {direction}, ")
    };
    let parts: Vec<_> = sources
        .iter()
        .map(|source| {
            format!(
                "SELECT * FROM (SELECT {key} AS key, m.seq AS seq {source} AND {condition}
                 ORDER BY {sort}m.seq {direction} LIMIT {limit})"
            )
        })
        .collect();
    let sql = format!(
        "{} ORDER BY key {direction}, seq {direction} LIMIT {limit}",
        parts.join(" UNION ALL ")
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(criteria.values), |row| {
        let key = match row.get::<_, Value>(0)? {
            Value::Real(importance) => importance.to_bits() as i64,
            Value::Integer(key) => key,
            _ => 0,
        };
        Ok(Position {
            key,
            seq: row.get(1)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Every version of a memory; of a deleted one for those who could write it.
pub(super) fn history(
    connection: &Connection,
    viewer: &Viewer,
    id: Uuid,
    now: Timestamp,
) -> Result<Vec<Revision>, StoreError> {
    let stored = by_id(connection, id, now)?.ok_or_else(rights::not_found)?;
    let held = grants::right(connection, viewer, &stored)?;
    let needed = if stored.deleted {
        Right::Write
    } else {
        Right::Read
    };
    if held < needed {
        return Err(rights::not_found());
    }
    let mut revisions = revisions(connection, stored.seq)?;
    let memory = stored.memory;
    revisions.push(Revision {
        version: memory.version,
        superseded_by: memory
            .superseded_by
            .filter(|_| stored.change == "superseded"),
        change: stored.change,
        changed_by: stored.changed_by,
        recorded_at: memory.updated_at,
        content: memory.content,
        tags: memory.tags,
        importance: memory.importance,
    });
    Ok(revisions)
}

/// The versions of a memory before the present one, oldest first.
pub(super) fn revisions(connection: &Connection, seq: i64) -> Result<Vec<Revision>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT version, change, changed_by, recorded_at, tags, importance, superseded_by, content
         FROM revision WHERE memory = ?1 ORDER BY version",
    )?;
    let revisions = statement
        .query_map([seq], |row| {
            Ok(Revision {
                version: row.get::<_, i64>(0)? as u64,
                change: row.get(1)?,
                changed_by: row.get_ref(2)?.as_str()?.into(),
                recorded_at: time(row, 3)?,
                tags: split_list(row.get_ref(4)?.as_str()?),
                importance: row.get(5)?,
                superseded_by: None,
                content: row.get(7)?,
            })
            .and_then(|revision: Revision| {
                let by = optional_id(row, 6)?.filter(|_| revision.change == "superseded");
                Ok(Revision {
                    superseded_by: by,
                    ..revision
                })
            })
        })?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(revisions)
}
