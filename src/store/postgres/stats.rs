//! Counts: over one agent's memories, and over the store.

use std::collections::BTreeMap;

use super::failure::Failure;
use super::query::Query;
use super::rows::{column, optional_time};
use super::schema::SCHEMA_VERSION;
use super::scope::Scope;
use super::{Shard, criteria, sources};
use crate::domain::memory::TagCount;
use crate::domain::{Filter, MemoryStats};
use crate::store::{StoreError, StoreStatus, Viewer};

/// Tags that are reported.
const TOP_TAGS_MAX: i64 = 20;
/// Memories that are counted one by one for the status; of more an estimate is told.
const COUNTED_MAX: i64 = 100_000;

/// What is owned, and present or superseded: `$1` and `$2` are the owner, `$3` is the time.
macro_rules! owned {
    () => {
        " FROM memory m WHERE namespace = $1 AND agent = $2 AND deleted_at IS NULL
             AND (expires_at IS NULL OR expires_at > $3) "
    };
}

/// What `viewer` owns, superseded memories included, and what others let it read.
pub(super) async fn memory_stats(
    shard: &Shard,
    viewer: &Viewer,
) -> Result<MemoryStats, StoreError> {
    let now = shard.now();
    let of_owner = |sql: &'static str| {
        Query::new(sql)
            .with(viewer.key.namespace.to_string())
            .with(viewer.key.agent.to_string())
            .with(now.as_micros())
    };
    let totals = of_owner(concat!(
        "SELECT count(*), count(superseded_by), coalesce(avg(importance), 0),
             coalesce(sum(content_bytes), 0)::bigint, min(created_at), max(created_at)",
        owned!()
    ));
    let levels = of_owner(concat!(
        "SELECT access, count(*)",
        owned!(),
        "GROUP BY access"
    ));
    let tags = of_owner(concat!(
        "SELECT tag, count(*) FROM (SELECT unnest(tags) COLLATE \"C\" AS tag",
        owned!(),
        ") t
         GROUP BY tag ORDER BY 2 DESC, 1 LIMIT $4"
    ));
    let queries = vec![
        totals,
        levels,
        tags.with(TOP_TAGS_MAX),
        shared(shard, viewer),
    ];
    let answers = shard.pool.search(&Scope::of(viewer), queries).await?;
    let count = |row, place| Ok::<_, Failure>(column::<i64>(row, place)? as u64);
    let row = answers[0].first().ok_or_else(super::rows::foreign)?;
    let mut by_access_level = BTreeMap::new();
    for row in &answers[1] {
        by_access_level.insert(column(row, 0)?, count(row, 1)?);
    }
    let mut top_tags = Vec::new();
    for row in &answers[2] {
        top_tags.push(TagCount {
            tag: column(row, 0)?,
            count: count(row, 1)?,
        });
    }
    Ok(MemoryStats {
        owned: count(row, 0)?,
        shared_with_me: answers[3].first().map_or(Ok(0), |row| count(row, 0))?,
        superseded: count(row, 1)?,
        by_access_level,
        top_tags,
        average_importance: column(row, 2)?,
        content_bytes: count(row, 3)?,
        oldest: optional_time(row, 4)?,
        newest: optional_time(row, 5)?,
    })
}

/// Counts what a recall without criteria would show of others.
fn shared(shard: &Shard, viewer: &Viewer) -> Query {
    let mut query = Query::default();
    let present = criteria::present(&mut query, &Filter::default(), shard.now());
    let sources = sources::visible_sources(&mut query, &viewer.key, false);
    // The first source is what the viewer owns.
    let parts: Vec<_> = sources[1..]
        .iter()
        .map(|source| format!("SELECT count(*) AS n {source} AND {present}"))
        .collect();
    query.say(format!(
        "SELECT sum(n)::bigint FROM ({}) s",
        parts.join(" UNION ALL ")
    ))
}

/// The state of the store.
pub(super) async fn status(shard: &Shard) -> Result<StoreStatus, StoreError> {
    let counted = Query::new(
        "SELECT count(*) FROM (SELECT 1 FROM memory
             WHERE deleted_at IS NULL AND superseded_by IS NULL LIMIT $1) s",
    );
    let rest = Query::new(
        "SELECT greatest(reltuples, 0)::bigint, (SELECT count(*) FROM agent),
             pg_database_size(current_database())
         FROM pg_class WHERE oid = 'memory'::regclass",
    );
    let queries = vec![counted.with(COUNTED_MAX), rest];
    let answers = shard.pool.read(&Scope::operator(), queries).await?;
    let (Some(counted), Some(row)) = (answers[0].first(), answers[1].first()) else {
        return Err(super::rows::foreign().into());
    };
    let (counted, estimate): (i64, i64) = (column(counted, 0)?, column(row, 0)?);
    let memories = if counted < COUNTED_MAX {
        counted
    } else {
        estimate.max(counted)
    };
    Ok(StoreStatus {
        backend: "postgres",
        schema_version: SCHEMA_VERSION,
        memories: memories as u64,
        agents: column::<i64>(row, 1)? as u64,
        bytes: column::<i64>(row, 2)? as u64,
    })
}
