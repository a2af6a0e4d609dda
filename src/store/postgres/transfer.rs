//! Memories out of the store and into it, with everything that hangs on them.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Row;
use uuid::Uuid;

use super::failure::{Failure, no_nul};
use super::insert::{self, New};
use super::pool::Transaction;
use super::query::Query;
use super::recall::revision;
use super::rows::{self, column};
use super::scope::Scope;
use super::{PostgresStore, Shard};
use crate::domain::{AgentKey, Grant, Imported, Page, Permission, Record, Revision, Timestamp};
use crate::store::{StoreError, cursor};

/// Memories in the order of their creation, deleted ones included; what has expired is gone.
pub(super) async fn export(
    shard: &Shard,
    limit: u32,
    cursor: Option<&str>,
) -> Result<Page<Record>, StoreError> {
    let after = cursor.map(cursor::parse_export).transpose()?.unwrap_or(0);
    let now = shard.now();
    let scope = Scope::operator();
    let sql = "SELECT seq FROM memory
         WHERE seq > $1 AND (expires_at IS NULL OR expires_at > $2) ORDER BY seq LIMIT $3";
    let query = Query::new(sql)
        .with(after)
        .with(now.as_micros())
        .with(i64::from(limit) + 1);
    let answers = shard.pool.search(&scope, vec![query]).await?;
    let mut seqs = answers[0]
        .iter()
        .map(|row| column::<i64>(row, 0))
        .collect::<Result<Vec<_>, _>>()?;
    let more = seqs.len() > limit as usize;
    seqs.truncate(limit as usize);
    let next_cursor = seqs
        .last()
        .filter(|_| more)
        .map(|seq| cursor::write_export(*seq));
    let nobody = AgentKey {
        namespace: "".into(),
        agent: "".into(),
    };
    let grants = "SELECT memory, namespace, agent, permission FROM memory_grant
         WHERE memory = ANY ($1) ORDER BY namespace, agent";
    let revisions = "SELECT version, change, changed_by, recorded_at, tags, importance,
             superseded_by, content, memory
         FROM revision WHERE memory = ANY ($1) ORDER BY version";
    let queries = vec![
        rows::by_seqs(&nobody, seqs.clone(), now),
        Query::new(grants).with(seqs.clone()),
        Query::new(revisions).with(seqs),
    ];
    let answers = shard.pool.search(&scope, queries).await?;
    let mut grants: HashMap<i64, Vec<Grant>> = HashMap::new();
    for row in &answers[1] {
        grants.entry(column(row, 0)?).or_default().push(grant(row)?);
    }
    let mut revisions: HashMap<i64, Vec<Revision>> = HashMap::new();
    for row in &answers[2] {
        revisions
            .entry(column(row, 8)?)
            .or_default()
            .push(revision(row)?);
    }
    // Relevance as of the latest read, as it is stored: a copy decays from there.
    let stored = answers[0]
        .iter()
        .map(|row| rows::stored(row, Timestamp::EPOCH));
    let mut stored = stored.collect::<Result<Vec<_>, _>>()?;
    stored.sort_by_key(|stored| stored.seq);
    let record = |stored: rows::Stored| Record {
        grants: grants.remove(&stored.seq).unwrap_or_default(),
        revisions: revisions.remove(&stored.seq).unwrap_or_default(),
        memory: stored.memory,
        deleted: stored.deleted,
        change: stored.change,
        changed_by: stored.changed_by,
    };
    Ok(Page {
        items: stored.into_iter().map(record).collect(),
        next_cursor,
    })
}

fn grant(row: &Row) -> Result<Grant, Failure> {
    Ok(Grant {
        namespace: column::<&str>(row, 1)?.into(),
        agent_id: column::<&str>(row, 2)?.into(),
        permission: Permission::from_name(column(row, 3)?).unwrap_or_default(),
    })
}

/// Stores records whose ids are not known yet, all of them or none.
pub(super) async fn import(
    store: &PostgresStore,
    records: Vec<Record>,
) -> Result<Imported, StoreError> {
    let work = async |transaction: &Transaction<'_>| {
        let ids: Vec<Uuid> = records.iter().map(|record| record.memory.id).collect();
        let known = Query::new("SELECT id FROM memory WHERE id = ANY ($1)").with(ids);
        let answers = transaction.run(vec![known]).await?;
        let mut known: HashSet<Uuid> = HashSet::new();
        for row in &answers[0] {
            known.insert(column(row, 0)?);
        }
        // What has expired since it was exported is not brought back to life.
        let now = store.shard.now();
        let lives = |record: &&Record| record.memory.expires_at.is_none_or(|end| end > now);
        let fresh: Vec<&Record> = records
            .iter()
            .filter(lives)
            .filter(|record| known.insert(record.memory.id))
            .collect();
        let news = fresh
            .iter()
            .map(|record| unknown(record))
            .collect::<Result<Vec<_>, _>>()?;
        let all: Vec<&New> = news.iter().collect();
        let insertion = transaction
            .prepared(insert::SQL, insert::values(&all, None))
            .await?;
        let answers = transaction.run_steps(vec![insertion]).await?;
        let mut seqs: HashMap<Uuid, i64> = HashMap::new();
        for row in &answers[0] {
            seqs.insert(column(row, 0)?, column(row, 1)?);
        }
        let queries = fresh.iter().filter_map(|record| {
            let seq = *seqs.get(&record.memory.id)?;
            Some(attachments(seq, record))
        });
        transaction.commit(queries.flatten().collect()).await?;
        Ok(Imported {
            created: fresh.len() as u64,
            skipped: (records.len() - fresh.len()) as u64,
        })
    };
    store.transact(Scope::operator(), work).await
}

fn unknown(record: &Record) -> Result<New, Failure> {
    let new = New {
        memory: record.memory.clone(),
        change: record.change.clone(),
        changed_by: record.changed_by.to_string(),
        deleted: record.deleted,
        vector: None,
    };
    if new.is_storable() {
        Ok(new)
    } else {
        Err(no_nul("content").into())
    }
}

/// The statements that write what hangs on the memory in row `seq`.
fn attachments(seq: i64, record: &Record) -> Vec<Query> {
    let memory = &record.memory;
    let access = memory.last_accessed_at.map(|at| {
        Query::new(
            "INSERT INTO memory_access (memory, count, relevance, accessed_at)
             VALUES ($1, $2, $3, $4)",
        )
        .with(seq)
        .with(memory.access_count as i64)
        .with(memory.relevance)
        .with(at.as_micros())
    });
    let grants = record.grants.iter().map(|grant| {
        Query::new(
            "INSERT INTO memory_grant (memory, namespace, agent, permission, owner_namespace)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .with(seq)
        .with(grant.namespace.to_string())
        .with(grant.agent_id.to_string())
        .with(grant.permission.as_str())
        .with(memory.namespace.to_string())
    });
    let revisions = record.revisions.iter().map(|revision| {
        Query::new(
            "INSERT INTO revision (memory, version, change, changed_by, recorded_at, tags,
                 importance, superseded_by, content)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .with(seq)
        .with(revision.version as i64)
        .with(revision.change.clone())
        .with(revision.changed_by.to_string())
        .with(revision.recorded_at.as_micros())
        .with(revision.tags.clone())
        .with(revision.importance)
        .with(revision.superseded_by)
        .with(revision.content.clone())
    });
    access.into_iter().chain(grants).chain(revisions).collect()
}
