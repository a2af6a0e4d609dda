//! A graph (HNSW) for each model with many vectors, for searches over large scopes.
//!
//! Adding a vector to a graph takes about a millisecond, ten times what storing the memory does.
//! So new vectors stay outside of it, where a search compares them exactly, and the upkeep brings
//! them in.
//!
//! Invariant: a vector is found whether it is in the graph or not; a graph that is missing or not
//! finished costs time and nothing else.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use tokio_postgres::Config;

use super::Shard;
use super::failure::Failure;
use super::pool::Transaction;
use super::query::Query;
use super::rows::column;
use super::schema::{self, OpenError};
use super::scope::Scope;
use crate::store::StoreError;
use crate::store::ranking::CANDIDATES;

/// Vectors of a model from which on it has a graph; fewer are compared one by one in 30 ms.
const VECTORS_MIN: i64 = 50_000;
/// Vectors brought in by one run of the upkeep: about half a second.
const SETTLED_MAX: i64 = 500;
/// pgvector keeps in a graph's rows no more dimensions than this.
const DIMENSIONS_MAX: i32 = 2_000;
/// Names the lock that building a graph holds.
const GRAPH_LOCK: i64 = 0x746d_7776;

/// Which models have a graph, as far as this shard knows.
#[derive(Debug, Default)]
pub(super) struct Graphs {
    models: RefCell<HashSet<i32>>,
    building: Cell<bool>,
}

impl Graphs {
    /// Does `model` have a graph?
    pub(super) fn has(&self, model: i32) -> bool {
        self.models.borrow().contains(&model)
    }
}

/// Settings of a search in a graph: as many places as there are candidates, and on from there
/// until enough of them are in the scope.
pub(super) fn settings() -> Vec<Query> {
    vec![
        Query::new("SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true)"),
        Query::new("SELECT set_config('hnsw.ef_search', $1, true)")
            .with((CANDIDATES + 1).to_string()),
    ]
}

/// Looks which graphs are there and finished.
pub(super) async fn look(shard: &Shard) -> Result<(), StoreError> {
    let sql = "SELECT e.id FROM embedding_model e JOIN pg_index i
         ON i.indexrelid = to_regclass('tmws.memory_vector_graph_' || e.id)
         WHERE i.indisvalid AND i.indisready";
    let answers = shard
        .pool
        .read(&Scope::operator(), vec![Query::new(sql)])
        .await?;
    let models: Result<_, Failure> = answers[0].iter().map(|row| column(row, 0)).collect();
    *shard.graphs.models.borrow_mut() = models?;
    Ok(())
}

/// Brings waiting vectors into the graph of the active model, which is begun if it is due.
pub(super) async fn tend(shard: &Rc<Shard>) -> Result<(), StoreError> {
    let sql = "SELECT id, dimension,
             (SELECT count(*) FROM (SELECT 1 FROM memory_vector v WHERE v.model = e.id LIMIT $1) s)
         FROM embedding_model e WHERE state = 'active'";
    let query = Query::new(sql).with(VECTORS_MIN);
    let answers = shard.pool.search(&Scope::operator(), vec![query]).await?;
    let Some(row) = answers[0].first() else {
        return Ok(());
    };
    let (model, dimension): (i32, i32) = (column(row, 0)?, column(row, 1)?);
    let many = column::<i64>(row, 2)? >= VECTORS_MIN;
    look(shard).await?;
    if shard.graphs.has(model) {
        settle(shard, model).await
    } else {
        if many && dimension <= DIMENSIONS_MAX {
            begin(shard, model, dimension);
        }
        Ok(())
    }
}

async fn settle(shard: &Shard, model: i32) -> Result<(), StoreError> {
    let sql = "UPDATE memory_vector SET in_graph = true WHERE model = $1 AND memory IN
             (SELECT memory FROM memory_vector WHERE model = $1 AND NOT in_graph
              ORDER BY memory LIMIT $2 FOR UPDATE SKIP LOCKED)";
    let work = async |transaction: &Transaction<'_>| {
        let query = Query::new(sql).with(model).with(SETTLED_MAX);
        transaction.commit(vec![query]).await.map(drop)
    };
    shard.pool.transact(Scope::operator(), work).await
}

/// Builds the graph of `model` beside everything else; it takes minutes.
fn begin(shard: &Rc<Shard>, model: i32, dimension: i32) {
    if shard.graphs.building.replace(true) {
        return;
    }
    let shard = shard.clone();
    tokio::task::spawn_local(async move {
        if let Err(error) = build(&shard.config, model, dimension).await {
            tracing::warn!(%error, "the graph of an embedding model is not built; searches stay exact");
        }
        shard.graphs.building.set(false);
    });
}

/// As the owner of the tables. All that is there goes in while the graph is still no graph, which
/// is the fast way; what comes meanwhile waits.
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
    // What an attempt has left that was cut off.
    let drop = format!("DROP INDEX CONCURRENTLY IF EXISTS memory_vector_graph_{model}");
    client.batch_execute(&drop).await?;
    let create = format!(
        "CREATE INDEX CONCURRENTLY memory_vector_graph_{model} ON memory_vector
         USING hnsw ((embedding::public.vector({dimension})) public.vector_cosine_ops)
         WHERE model = {model} AND in_graph"
    );
    client.batch_execute(&create).await?;
    Ok(())
}
