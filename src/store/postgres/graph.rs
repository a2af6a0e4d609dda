//! A graph (HNSW) for each model with many vectors, for searches over large scopes.
//!
//! Adding a vector to a graph takes about a millisecond, ten times what storing the memory does.
//! So new vectors stay outside of it, where a search compares them exactly, and the upkeep brings
//! them in. Before there is a graph they are noted as its own: building it need not write them anew.
//! The graph has numbers of half the size: it is read all over, and has to fit in memory.
//!
//! Invariant: a vector is found whether it is in the graph or not; a graph that is missing or not
//! finished costs time and nothing else.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use tokio_postgres::Config;

use super::Shard;
use super::by_meaning::{NEAREST_IN_GRAPH, Way};
use super::failure::Failure;
use super::pool::Transaction;
use super::query::Query;
use super::rows::column;
use super::schema::{self, OpenError};
use super::scope::Scope;
use crate::store::StoreError;
use crate::store::ranking::CANDIDATES;

/// Vectors brought in by one transaction: about half a second.
const SETTLED_MAX: i64 = 500;
/// pgvector keeps in a graph's rows no more dimensions than this.
const DIMENSIONS_MAX: i32 = 4_000;
/// A scope that is a smaller part of a graph than one in so many is searched without it.
const PART_MAX: i64 = 20;
/// Vectors that are passed in search of those in the scope.
const SCOPE_WALKED_MAX: i64 = 20_000;
/// Vectors that are passed in search of those that a filter admits: some 20 ms. What is rarer is
/// found sooner among the memories.
const WALKED_MAX: i64 = 4_000;
/// Bytes of a vector's place in a graph that is built, besides its numbers.
const NODE_BYTES: i64 = 700;
/// Megabytes to build a graph with.
const MEMORY_MIN: i64 = 64;
const MEMORY_MAX: i64 = 2_000;
/// Names the lock that building a graph holds.
const GRAPH_LOCK: i64 = 0x746d_7776;

/// Which models have a graph, as far as this shard knows.
#[derive(Debug, Default)]
pub(super) struct Graphs {
    /// With about how many vectors are in it.
    models: RefCell<HashMap<i32, i64>>,
    tended: Cell<bool>,
}

impl Graphs {
    /// Does `model` have a graph?
    fn has(&self, model: i32) -> bool {
        self.models.borrow().contains_key(&model)
    }

    /// Does `model` have a graph in which `memories` are easily found? Among few of many it walks
    /// past so many others that comparing the few takes less.
    pub(super) fn serves(&self, model: i32, memories: i64) -> bool {
        let models = self.models.borrow();
        let vectors = models.get(&model);
        vectors.is_some_and(|vectors| memories.saturating_mul(PART_MAX) >= *vectors)
    }
}

/// A vector as it is in the graph: of length 1, so that none has numbers too large for it.
pub(super) fn rounded(vector: &str, dimension: usize) -> String {
    format!("public.l2_normalize({vector})::public.halfvec({dimension})")
}

/// Settings of a search in a graph: as many places as memories are wanted, and on from there until
/// enough of them are in the scope, or [`WALKED_MAX`] are passed in search of what a filter admits.
/// Sorting is for plans without the graph: with it a plan made once for all values may look as if
/// it needed none.
pub(super) fn settings(way: Way) -> Query {
    let (places, walked, plan) = match way {
        Way::Graph => (NEAREST_IN_GRAPH, SCOPE_WALKED_MAX, "force_generic_plan"),
        _ => (CANDIDATES + 1, WALKED_MAX, "force_custom_plan"),
    };
    let sql = "SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true),
         set_config('hnsw.ef_search', $1, true), set_config('hnsw.max_scan_tuples', $2, true),
         set_config('plan_cache_mode', $3, true), set_config('enable_sort', 'off', true)";
    let (places, walked) = (places.to_string(), walked.to_string());
    Query::new(sql).with(places).with(walked).with(plan).kept()
}

/// Looks which graphs are there and finished.
pub(super) async fn look(shard: &Shard) -> Result<(), StoreError> {
    let sql = "SELECT e.id, c.reltuples::bigint FROM embedding_model e JOIN pg_index i
         ON i.indexrelid = to_regclass('tmws.memory_vector_graph_' || e.id)
         JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indisvalid AND i.indisready";
    let answers = shard
        .pool
        .read(&Scope::operator(), vec![Query::new(sql)])
        .await?;
    let models: Result<_, Failure> = answers[0]
        .iter()
        .map(|row| Ok((column(row, 0)?, column(row, 1)?)))
        .collect();
    *shard.graphs.models.borrow_mut() = models?;
    Ok(())
}

/// Brings waiting vectors into the graph of the active model, which is begun if it is due.
pub(super) async fn tend(shard: &Rc<Shard>) -> Result<(), StoreError> {
    let sql = "SELECT id, dimension,
             (SELECT count(*) FROM (SELECT 1 FROM memory_vector v WHERE v.model = e.id LIMIT $1) s)
         FROM embedding_model e WHERE state = 'active'";
    let query = Query::new(sql).with(shard.bounds.graph_min);
    let answers = shard.pool.search(&Scope::operator(), vec![query]).await?;
    let Some(row) = answers[0].first() else {
        return Ok(());
    };
    let (model, dimension): (i32, i32) = (column(row, 0)?, column(row, 1)?);
    let many = column::<i64>(row, 2)? >= shard.bounds.graph_min;
    look(shard).await?;
    let has = shard.graphs.has(model);
    let due = has || (many && dimension <= DIMENSIONS_MAX);
    if due && !shard.graphs.tended.replace(true) {
        let shard = shard.clone();
        tokio::task::spawn_local(async move {
            let result = match has {
                true => grow(&shard, model).await.map_err(|error| error.to_string()),
                false => build(&shard.config, model, dimension)
                    .await
                    .map_err(|error| error.to_string()),
            };
            if let Err(error) = result {
                tracing::warn!(
                    error,
                    "the graph of an embedding model is not tended; what is not in it is compared one by one"
                );
            }
            shard.graphs.tended.set(false);
        });
    }
    Ok(())
}

/// Brings in what waits, and removes the graphs of models that are not active any more: they take
/// room, and are built anew if ever they are needed.
async fn grow(shard: &Shard, model: i32) -> Result<(), StoreError> {
    if shard.graphs.models.borrow().len() > 1 {
        let removed = remove_others(&shard.config, model).await;
        removed.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        look(shard).await?;
    }
    while settle(shard, model).await? == SETTLED_MAX as u64 {}
    Ok(())
}

async fn settle(shard: &Shard, model: i32) -> Result<u64, StoreError> {
    let sql = "UPDATE memory_vector SET in_graph = true WHERE model = $1 AND memory IN
             (SELECT memory FROM memory_vector WHERE model = $1 AND NOT in_graph
              ORDER BY memory LIMIT $2 FOR UPDATE SKIP LOCKED)
         RETURNING 1";
    let work = async |transaction: &Transaction<'_>| {
        let query = Query::new(sql).with(model).with(SETTLED_MAX);
        let answers = transaction.commit(vec![query]).await?;
        Ok(answers[0].len() as u64)
    };
    shard.pool.transact(Scope::operator(), work).await
}

/// Builds the graph of `model` beside everything else, which takes minutes; as the owner of the
/// tables. All that is there goes in while the graph is still no graph, which is the fast way; what
/// comes meanwhile waits.
async fn build(config: &Config, model: i32, dimension: i32) -> Result<(), OpenError> {
    let client = schema::connect(config).await?;
    let row = client
        .query_one("SELECT pg_try_advisory_lock($1)", &[&GRAPH_LOCK])
        .await?;
    if !row.try_get::<_, bool>(0)? {
        return Ok(());
    }
    // Row security binds the owner as well.
    client
        .batch_execute("SET tmws.standing TO 'operator'")
        .await?;
    let all =
        format!("UPDATE memory_vector SET in_graph = true WHERE model = {model} AND NOT in_graph");
    client.batch_execute(&all).await?;
    // No analysis runs beside the build, and what is not known of the table makes for plans that
    // leave the graph out.
    client
        .batch_execute("ANALYZE memory, memory_vector")
        .await?;
    // A graph that outgrows its memory while it is built takes many times as long. Workers would
    // have to share that memory, and what a system lets processes share is often little.
    let sql = "SELECT count(*) FROM memory_vector WHERE model = $1";
    let vectors: i64 = client.query_one(sql, &[&model]).await?.try_get(0)?;
    let bytes = vectors * (i64::from(dimension) * 2 + NODE_BYTES);
    let megabytes = (bytes / 1_000_000 + MEMORY_MIN).min(MEMORY_MAX);
    let settings = format!(
        "SET maintenance_work_mem TO '{megabytes}MB'; SET max_parallel_maintenance_workers TO 0"
    );
    client.batch_execute(&settings).await?;
    // What an attempt has left that was cut off.
    let drop = format!("DROP INDEX CONCURRENTLY IF EXISTS memory_vector_graph_{model}");
    client.batch_execute(&drop).await?;
    let create = format!(
        "CREATE INDEX CONCURRENTLY memory_vector_graph_{model} ON memory_vector
         USING hnsw (({}) public.halfvec_cosine_ops) WHERE model = {model} AND in_graph",
        rounded("embedding", dimension as usize)
    );
    client.batch_execute(&create).await?;
    Ok(())
}

/// Drops every graph but that of `model`.
async fn remove_others(config: &Config, model: i32) -> Result<(), OpenError> {
    let client = schema::connect(config).await?;
    let sql = "SELECT id FROM embedding_model WHERE id <> $1 AND state <> 'active'
         AND to_regclass('tmws.memory_vector_graph_' || id) IS NOT NULL";
    for row in client.query(sql, &[&model]).await? {
        let other: i32 = row.try_get(0)?;
        let drop = format!("DROP INDEX CONCURRENTLY IF EXISTS memory_vector_graph_{other}");
        client.batch_execute(&drop).await?;
    }
    Ok(())
}
