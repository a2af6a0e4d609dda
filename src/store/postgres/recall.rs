//! Memories by id, by criteria and through time.

use tokio_postgres::Row;
use uuid::Uuid;

use super::failure::Failure;
use super::query::Query;
use super::rows::{self, column, time};
use super::scope::Scope;
use super::{Shard, criteria, sources};
use crate::domain::{Memory, Order, Page, Recall, Revision, Timestamp};
use crate::store::cursor::Position;
use crate::store::rights::{self, Right};
use crate::store::{StoreError, Viewer};

/// One memory with its row.
pub(super) async fn get(
    shard: &Shard,
    viewer: &Viewer,
    id: Uuid,
) -> Result<(i64, Memory), StoreError> {
    let now = shard.now();
    let values = || -> super::session::Values {
        let key = &viewer.key;
        let names = (key.namespace.to_string(), key.agent.to_string());
        vec![
            Box::new(now.as_micros()),
            Box::new(names.0),
            Box::new(names.1),
            Box::new(id),
        ]
    };
    let scope = Scope::of(viewer);
    let found = shard
        .pool
        .read_prepared(&scope, rows::BY_ID, values)
        .await?;
    let stored = found
        .first()
        .map(|row| rows::stored(row, now))
        .transpose()?
        .filter(|stored| !stored.deleted)
        .ok_or_else(rights::not_found)?;
    rights::require(
        rights::of(viewer, &stored.memory, stored.granted),
        Right::Read,
    )?;
    Ok((stored.seq, stored.memory))
}

/// A page of memories with their rows.
pub(super) async fn recall(
    shard: &Shard,
    viewer: &Viewer,
    recall: &Recall,
) -> Result<Page<(i64, Memory)>, StoreError> {
    let now = shard.now();
    let after = recall
        .cursor
        .as_deref()
        .map(|text| Position::parse(text, recall.order, &shard.cursor_key))
        .transpose()?;
    let scope = Scope::of(viewer);
    let answers = shard
        .pool
        .search(&scope, vec![positions(viewer, recall, after, now)])
        .await?;
    let position = |row| position(row, recall.order);
    let mut found = answers[0]
        .iter()
        .map(position)
        .collect::<Result<Vec<_>, _>>()?;
    let more = found.len() > recall.limit as usize;
    found.truncate(recall.limit as usize);
    let next_cursor = found
        .last()
        .filter(|_| more)
        .map(|position| position.write(recall.order, &shard.cursor_key));
    let seqs: Vec<i64> = found.iter().map(|position| position.seq).collect();
    let items = load(shard, viewer, &seqs, now).await?;
    Ok(Page { items, next_cursor })
}

/// The memories in the rows `seqs` that are still to be read, in that order.
pub(super) async fn load(
    shard: &Shard,
    viewer: &Viewer,
    seqs: &[i64],
    now: Timestamp,
) -> Result<Vec<(i64, Memory)>, StoreError> {
    if seqs.is_empty() {
        return Ok(Vec::new());
    }
    let query = rows::by_seqs(&viewer.key, seqs.to_vec(), now);
    let answers = shard.pool.search(&Scope::of(viewer), vec![query]).await?;
    let mut items = Vec::with_capacity(seqs.len());
    for row in &answers[0] {
        let stored = rows::stored(row, now)?;
        // Things may have changed since the rows were found.
        let right = rights::of(viewer, &stored.memory, stored.granted);
        if !stored.deleted && right >= Right::Read {
            items.push((stored.seq, stored.memory));
        }
    }
    items.sort_by_key(|(seq, _)| seqs.iter().position(|wanted| wanted == seq));
    Ok(items)
}

/// The key that a recall sorts by besides the row, and the direction of both.
fn sorting(order: Order) -> (&'static str, &'static str) {
    match order {
        Order::Newest => ("0::bigint", "DESC"),
        Order::Oldest => ("0::bigint", "ASC"),
        Order::Importance => ("m.importance", "DESC"),
        Order::Updated => ("m.updated_at", "DESC"),
    }
}

fn position(row: &Row, order: Order) -> Result<Position, Failure> {
    let key = match order {
        Order::Importance => column::<f64>(row, 0)?.to_bits() as i64,
        _ => column(row, 0)?,
    };
    Ok(Position {
        key,
        seq: column(row, 1)?,
    })
}

/// Continues behind `position`: what was inserted meanwhile moves no row to another page.
fn start(query: &mut Query, order: Order, position: Position) -> String {
    let seq = query.bind(position.seq);
    match order {
        Order::Newest => format!("m.seq < {seq}"),
        Order::Oldest => format!("m.seq > {seq}"),
        Order::Importance => {
            let key = query.bind(f64::from_bits(position.key as u64));
            format!("(m.importance, m.seq) < ({key}, {seq})")
        }
        Order::Updated => {
            let key = query.bind(position.key);
            format!("(m.updated_at, m.seq) < ({key}, {seq})")
        }
    }
}

/// One position more than the limit, if there is one: each source sorted and limited by itself,
/// then merged.
fn positions(viewer: &Viewer, recall: &Recall, after: Option<Position>, now: Timestamp) -> Query {
    let mut query = Query::default();
    let filter = &recall.filter;
    let mut condition = criteria::present(&mut query, filter, now);
    condition += " AND ";
    condition += &criteria::admitted(&mut query, filter);
    if let Some(position) = after {
        condition += " AND ";
        condition += &start(&mut query, recall.order, position);
    }
    let sources = if filter.ids.is_empty() {
        sources::visible_sources(&mut query, &viewer.key, !filter.include_shared)
    } else {
        let visible = criteria::visible(&mut query, &viewer.key, !filter.include_shared);
        vec![format!("FROM memory m WHERE {visible}")]
    };
    let (key, direction) = sorting(recall.order);
    let limit = query.bind(i64::from(recall.limit) + 1);
    let sort = if key.starts_with('0') {
        String::new()
    } else {
        format!("{key} {direction}, ")
    };
    let parts: Vec<_> = sources
        .iter()
        .map(|source| {
            format!(
                "(SELECT {key} AS key, m.seq AS seq {source} AND {condition}
                 ORDER BY {sort}m.seq {direction} LIMIT {limit})"
            )
        })
        .collect();
    query.say(format!(
        "SELECT key, seq FROM ({}) p ORDER BY key {direction}, seq {direction} LIMIT {limit}",
        parts.join(" UNION ALL ")
    ))
}

/// Every version of a memory; of a deleted one for those who could write it.
pub(super) async fn history(
    shard: &Shard,
    viewer: &Viewer,
    id: Uuid,
) -> Result<Vec<Revision>, StoreError> {
    let now = shard.now();
    let sql = "SELECT version, change, changed_by, recorded_at, tags, importance, superseded_by,
             content, memory
         FROM revision WHERE memory = (SELECT seq FROM memory WHERE id = $1) ORDER BY version";
    let queries = vec![rows::by_id(&viewer.key, id, now), Query::new(sql).with(id)];
    let answers = shard.pool.read(&Scope::of(viewer), queries).await?;
    let row = answers[0].first().ok_or_else(rights::not_found)?;
    let stored = rows::stored(row, now)?;
    let needed = if stored.deleted {
        Right::Write
    } else {
        Right::Read
    };
    if rights::of(viewer, &stored.memory, stored.granted) < needed {
        return Err(rights::not_found());
    }
    let mut revisions = answers[1]
        .iter()
        .map(revision)
        .collect::<Result<Vec<_>, _>>()?;
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

/// Reads version, change, author, time, tags, importance, successor and text.
pub(super) fn revision(row: &Row) -> Result<Revision, Failure> {
    let change: String = column(row, 1)?;
    let by: Option<Uuid> = column(row, 6)?;
    Ok(Revision {
        version: column::<i64>(row, 0)? as u64,
        superseded_by: by.filter(|_| change == "superseded"),
        change,
        changed_by: column::<&str>(row, 2)?.into(),
        recorded_at: time(row, 3)?,
        content: column(row, 7)?,
        tags: column(row, 4)?,
        importance: column(row, 5)?,
    })
}
