//! Counts: over one agent's memories, and over the store.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rusqlite::{Connection, params_from_iter};

use super::criteria::Criteria;
use super::rows::{split_list, time};
use super::schema::SCHEMA_VERSION;
use crate::domain::memory::TagCount;
use crate::domain::{Filter, MemoryStats, Timestamp};
use crate::store::{StoreError, StoreStatus, Viewer};

/// Tags that are reported.
const TOP_TAGS_MAX: usize = 20;

/// What `viewer` owns, superseded memories included, and what others let it read.
pub(super) fn memory_stats(
    connection: &Connection,
    viewer: &Viewer,
    now: Timestamp,
) -> Result<MemoryStats, StoreError> {
    let mut stats = MemoryStats {
        owned: 0,
        shared_with_me: count_shared(connection, viewer, now)?,
        superseded: 0,
        by_access_level: BTreeMap::new(),
        top_tags: Vec::new(),
        average_importance: 0.0,
        content_bytes: 0,
        oldest: None,
        newest: None,
    };
    let mut tags: HashMap<String, u64> = HashMap::new();
    let mut statement = connection.prepare_cached(
        "SELECT access, superseded_by IS NOT NULL, importance, content_bytes, created_at, tags
         FROM memory INDEXED BY memory_owner
         WHERE namespace = ?1 AND agent = ?2 AND deleted_at IS NULL
           AND (expires_at IS NULL OR expires_at > ?3)",
    )?;
    let key = (&*viewer.key.namespace, &*viewer.key.agent, now.as_micros());
    let mut rows = statement.query(key)?;
    while let Some(row) = rows.next()? {
        stats.owned += 1;
        stats.superseded += u64::from(row.get::<_, bool>(1)?);
        let level = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        match stats.by_access_level.get_mut(level) {
            Some(count) => *count += 1,
            None => {
                stats.by_access_level.insert(level.into(), 1);
            }
        }
        stats.average_importance += row.get::<_, f64>(2)?;
        stats.content_bytes += row.get::<_, i64>(3)? as u64;
        let created = time(row, 4)?;
        stats.oldest = Some(stats.oldest.map_or(created, |oldest| oldest.min(created)));
        stats.newest = Some(stats.newest.map_or(created, |newest| newest.max(created)));
        for tag in split_list(row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?) {
            *tags.entry(tag).or_default() += 1;
        }
    }
    stats.average_importance /= stats.owned.max(1) as f64;
    stats.top_tags = top(tags);
    Ok(stats)
}

fn top(tags: HashMap<String, u64>) -> Vec<TagCount> {
    let mut counts: Vec<_> = tags
        .into_iter()
        .map(|(tag, count)| TagCount { tag, count })
        .collect();
    counts.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.tag.cmp(&b.tag)));
    counts.truncate(TOP_TAGS_MAX);
    counts
}

/// What a recall without criteria would show of others.
fn count_shared(
    connection: &Connection,
    viewer: &Viewer,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut criteria = Criteria::of_filter(&Filter::default(), now);
    let sources = criteria.visible_sources(&viewer.key, false);
    let condition = criteria.condition();
    // The first source is what the viewer owns.
    let parts: Vec<_> = sources[1..]
        .iter()
        .map(|source| format!("SELECT count(*) AS n {source} AND {condition}"))
        .collect();
    let sql = format!("SELECT sum(n) FROM ({})", parts.join(" UNION ALL "));
    let count: i64 = connection
        .prepare_cached(&sql)?
        .query_row(params_from_iter(criteria.values), |row| row.get(0))?;
    Ok(count as u64)
}

/// A count that triggers keep.
pub(super) fn counter(connection: &Connection, name: &str) -> Result<u64, StoreError> {
    let value: i64 = connection
        .prepare_cached("SELECT value FROM counter WHERE name = ?1")?
        .query_row([name], |row| row.get(0))?;
    Ok(value as u64)
}

/// The state of the store as a reader finds it.
pub(super) fn status(connection: &Connection, database: &Path) -> Result<StoreStatus, StoreError> {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    Ok(StoreStatus {
        backend: "sqlite",
        schema_version: SCHEMA_VERSION,
        memories: counter(connection, "memories")?,
        agents: counter(connection, "agents")?,
        bytes: size(database) + size(Path::new(&log)),
    })
}
