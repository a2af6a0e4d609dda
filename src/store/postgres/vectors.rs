//! Vectors and the models they belong to.
//!
//! Invariants: a memory has a vector only of its present text; one model at most is active, and
//! it changes in one transaction, so a search sees either the old one or the new one.

use uuid::Uuid;

use super::Shard;
use super::failure::Failure;
use super::pool::Transaction;
use super::query::Query;
use super::rows::column;
use super::scope::Scope;
use crate::domain::{EmbeddingState, Model, ModelProgress, NewVector, Unembedded, Vector};
use crate::store::StoreError;

/// Names the lock that a change of the models holds until its transaction ends.
const MODELS_LOCK: i64 = 0x746d_7774;

/// Refuses a vector that cannot be of `model`.
pub(super) fn check_dimension(model: &Model, vector: &Vector) -> Result<(), StoreError> {
    if vector.len() == model.dimension {
        return Ok(());
    }
    let (found, wanted) = (vector.len(), model.dimension);
    Err(StoreError::Conflict {
        message: format!("a vector of {found} dimensions for a model of {wanted}"),
        current_version: None,
    })
}

/// The statement that removes the vectors of a memory, of every model.
pub(super) fn removal(seq: i64) -> Query {
    Query::new("DELETE FROM memory_vector WHERE memory = $1").with(seq)
}

/// The number of `model`, if the store knows it; numbers never change.
pub(super) async fn known(shard: &Shard, model: &Model) -> Result<Option<i32>, StoreError> {
    if let Some(id) = shard.models.borrow().get(model) {
        return Ok(Some(*id));
    }
    let answers = shard
        .pool
        .read(&Scope::operator(), vec![id_of(model)])
        .await?;
    let id = answers[0].first().map(|row| column(row, 0)).transpose()?;
    if let Some(id) = id {
        shard.models.borrow_mut().insert(model.clone(), id);
    }
    Ok(id)
}

/// The number of `model`, a new one if need be. The first model becomes the active one.
pub(super) async fn enrolled(shard: &Shard, model: &Model) -> Result<i32, StoreError> {
    if let Some(id) = known(shard, model).await? {
        return Ok(id);
    }
    let work = async |transaction: &Transaction<'_>| enroll(transaction, model).await;
    let id = shard.pool.transact(Scope::operator(), work).await?;
    shard.models.borrow_mut().insert(model.clone(), id);
    Ok(id)
}

fn id_of(model: &Model) -> Query {
    Query::new("SELECT id FROM embedding_model WHERE name = $1 AND dimension = $2")
        .with(model.name.to_string())
        .with(model.dimension as i32)
}

async fn enroll(transaction: &Transaction<'_>, model: &Model) -> Result<i32, Failure> {
    let lock = Query::new("SELECT pg_advisory_xact_lock($1)").with(MODELS_LOCK);
    let insert = Query::new(
        "INSERT INTO embedding_model (name, dimension, state)
         SELECT $1, $2, CASE WHEN EXISTS (SELECT 1 FROM embedding_model WHERE state = 'active')
             THEN 'kept' ELSE 'active' END
         ON CONFLICT (name, dimension) DO NOTHING",
    );
    let insert = insert
        .with(model.name.to_string())
        .with(model.dimension as i32);
    let answers = transaction.run(vec![lock, insert, id_of(model)]).await?;
    let row = answers[2].first().ok_or_else(super::rows::foreign)?;
    column(row, 0)
}

/// Attaches what was computed for texts that are still the same.
pub(super) async fn attach(
    shard: &Shard,
    model: &Model,
    new: Vec<NewVector>,
) -> Result<u64, StoreError> {
    for new in &new {
        check_dimension(model, &new.vector)?;
    }
    if new.is_empty() {
        return Ok(0);
    }
    let id = enrolled(shard, model).await?;
    let ids: Vec<Uuid> = new.iter().map(|new| new.id).collect();
    let versions: Vec<i64> = new.iter().map(|new| new.text_version as i64).collect();
    let values: Vec<f32> = new
        .iter()
        .flat_map(|new| new.vector.iter().copied())
        .collect();
    // The rows are locked against a change of their text until the vectors stand.
    let sql = "WITH given AS (
            SELECT * FROM unnest($1, $2) WITH ORDINALITY AS given (id, text_version, place)
        ), fresh AS MATERIALIZED (
            SELECT m.seq, m.namespace, m.agent, m.access, given.place
            FROM given JOIN memory m ON m.id = given.id AND m.text_version = given.text_version
            WHERE m.deleted_at IS NULL ORDER BY m.seq FOR SHARE OF m
        ), one AS (
            SELECT DISTINCT ON (seq) * FROM fresh ORDER BY seq, place DESC
        ), attached AS (
            INSERT INTO memory_vector (memory, model, namespace, agent, access, in_graph, embedding)
            SELECT seq, $3, namespace, agent, access,
                to_regclass('tmws.memory_vector_graph_' || $3) IS NULL,
                ($4[(place - 1) * $5 + 1 : place * $5])::public.vector FROM one
            ON CONFLICT (memory, model) DO UPDATE
                SET embedding = excluded.embedding, in_graph = excluded.in_graph
        )
        SELECT count(*) FROM fresh";
    let work = async |transaction: &Transaction<'_>| {
        let query = Query::new(sql)
            .with(ids.clone())
            .with(versions.clone())
            .with(id)
            .with(values.clone())
            .with(model.dimension as i32);
        let answers = transaction.commit(vec![query]).await?;
        answers[0]
            .first()
            .map_or(Ok(0), |row| column::<i64>(row, 0))
    };
    let attached = shard.pool.transact(Scope::operator(), work).await?;
    Ok(attached as u64)
}

/// Memories without a vector of `model`, newest first.
pub(super) async fn unembedded(
    shard: &Shard,
    model: &Model,
    limit: u32,
) -> Result<Vec<Unembedded>, StoreError> {
    let id = known(shard, model).await?.unwrap_or(0);
    let answers = shard
        .pool
        .search(&Scope::operator(), vec![lacking(id, limit)])
        .await?;
    let read = |row| {
        Ok(Unembedded {
            id: column(row, 0)?,
            text_version: column::<i64>(row, 1)? as u64,
            content: column(row, 2)?,
        })
    };
    let rows: Result<_, Failure> = answers[0].iter().map(read).collect();
    Ok(rows?)
}

fn lacking(model: i32, limit: u32) -> Query {
    Query::new(
        "SELECT m.id, m.text_version, m.content FROM memory m
         WHERE m.deleted_at IS NULL AND NOT EXISTS
             (SELECT 1 FROM memory_vector v WHERE v.memory = m.seq AND v.model = $1)
         ORDER BY m.seq DESC LIMIT $2",
    )
    .with(model)
    .with(i64::from(limit))
}

/// The models in use.
pub(super) async fn state(shard: &Shard) -> Result<EmbeddingState, StoreError> {
    let models = Query::new(
        "SELECT e.state, e.name, e.dimension,
             (SELECT count(*) FROM memory_vector v WHERE v.model = e.id)
         FROM embedding_model e WHERE e.state IN ('active', 'target')",
    );
    let memories = Query::new("SELECT count(*) FROM memory WHERE deleted_at IS NULL");
    let answers = shard
        .pool
        .search(&Scope::operator(), vec![models, memories])
        .await?;
    let progress = |state: &str| -> Result<Option<ModelProgress>, Failure> {
        for row in &answers[0] {
            if column::<&str>(row, 0)? == state {
                let model = Model {
                    name: column::<&str>(row, 1)?.into(),
                    dimension: column::<i32>(row, 2)? as usize,
                };
                let embedded = column::<i64>(row, 3)? as u64;
                return Ok(Some(ModelProgress { model, embedded }));
            }
        }
        Ok(None)
    };
    Ok(EmbeddingState {
        active: progress("active")?,
        target: progress("target")?,
        memories: answers[1]
            .first()
            .map_or(Ok(0), |row| column::<i64>(row, 0))? as u64,
    })
}

/// Makes `model` the active one if nothing lacks a vector of it, or else the target.
pub(super) async fn activate(shard: &Shard, model: &Model) -> Result<bool, StoreError> {
    let work = async |transaction: &Transaction<'_>| {
        let id = enroll(transaction, model).await?;
        let active = Query::new("SELECT 1 FROM embedding_model WHERE id = $1 AND state = 'active'");
        let answers = transaction
            .run(vec![active.with(id), lacking(id, 1)])
            .await?;
        let abandon = "UPDATE embedding_model SET state = 'kept' WHERE state = 'target'";
        if !answers[0].is_empty() {
            transaction.commit(vec![Query::new(abandon)]).await?;
            return Ok(true);
        }
        let complete = answers[1].is_empty();
        let (state, replaces) = if complete {
            let both =
                "UPDATE embedding_model SET state = 'kept' WHERE state IN ('active', 'target')";
            ("active", both)
        } else {
            ("target", abandon)
        };
        let set = Query::new("UPDATE embedding_model SET state = $2 WHERE id = $1");
        let queries = vec![Query::new(replaces), set.with(id).with(state)];
        transaction.commit(queries).await?;
        Ok(complete)
    };
    shard.pool.transact(Scope::operator(), work).await
}
