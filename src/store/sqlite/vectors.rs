//! Vectors and the models they belong to.
//!
//! Invariants: a memory has a vector only of its present text; the index in memory holds those of
//! the active model, and changes to another one under its lock, whole.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row};

use super::stats::counter;
use super::writer::Batch;
use crate::domain::{EmbeddingState, Model, ModelProgress, NewVector, Unembedded, Vector};
use crate::store::StoreError;
use crate::store::vectors::Quantized;

/// Bits of a key that hold the memory's row.
const ROW_BITS: u32 = 48;

fn key(model: i64, seq: i64) -> i64 {
    (model << ROW_BITS) | seq
}

/// The active model with its id.
pub(super) fn active(connection: &Connection) -> Result<Option<(i64, Model)>, StoreError> {
    in_state(connection, "active")
}

fn in_state(connection: &Connection, state: &str) -> Result<Option<(i64, Model)>, StoreError> {
    let sql = "SELECT id, name, dimension FROM embedding_model WHERE state = ?1";
    let model = connection.prepare_cached(sql)?.query_row([state], |row| {
        let name = row.get_ref(1)?.as_str()?.into();
        let dimension = row.get::<_, i64>(2)? as usize;
        Ok((row.get(0)?, Model { name, dimension }))
    });
    Ok(model.optional()?)
}

fn id_of(connection: &Connection, model: &Model) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT id FROM embedding_model WHERE name = ?1 AND dimension = ?2";
    let id = connection
        .prepare_cached(sql)?
        .query_row((&*model.name, model.dimension as i64), |row| row.get(0));
    Ok(id.optional()?)
}

/// The id of `model`, a new one if need be. The first model becomes the active one.
fn enroll(batch: &mut Batch<'_>, model: &Model) -> Result<i64, StoreError> {
    if let Some(id) = id_of(batch.connection, model)? {
        return Ok(id);
    }
    let first = active(batch.connection)?.is_none();
    let state = if first { "active" } else { "kept" };
    let sql = "INSERT INTO embedding_model (name, dimension, state) VALUES (?1, ?2, ?3)";
    let values = (&*model.name, model.dimension as i64, state);
    let id = batch.connection.prepare_cached(sql)?.insert(values)?;
    if first {
        batch.cut_over(id, model.clone());
    }
    Ok(id)
}

/// Stores the vector of a memory, whose text it was computed from.
pub(super) fn put(
    batch: &mut Batch<'_>,
    model: &Model,
    seq: i64,
    vector: &Vector,
) -> Result<(), StoreError> {
    if vector.len() != model.dimension {
        let (found, wanted) = (vector.len(), model.dimension);
        return Err(StoreError::Conflict {
            message: format!("a vector of {found} dimensions for a model of {wanted}"),
            current_version: None,
        });
    }
    let model_id = enroll(batch, model)?;
    let quantized = Quantized::new(vector);
    let exact: Vec<u8> = vector
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let key = key(model_id, seq);
    batch
        .connection
        .prepare_cached("INSERT OR REPLACE INTO vector (key, quantized) VALUES (?1, ?2)")?
        .execute((key, quantized.to_bytes()))?;
    batch
        .connection
        .prepare_cached("INSERT OR REPLACE INTO vector_exact (key, exact) VALUES (?1, ?2)")?
        .execute((key, exact))?;
    batch.touch_vector(model_id, seq, quantized);
    Ok(())
}

/// Removes the vectors of a memory, of every model.
pub(super) fn remove(connection: &Connection, seq: i64) -> Result<(), StoreError> {
    for table in ["vector", "vector_exact"] {
        let sql = format!(
            "DELETE FROM {table} WHERE key IN
                 (SELECT (id << {ROW_BITS}) | ?1 FROM embedding_model)"
        );
        connection.prepare_cached(&sql)?.execute([seq])?;
    }
    Ok(())
}

/// Attaches what was computed for texts that are still the same.
pub(super) fn attach(
    batch: &mut Batch<'_>,
    model: &Model,
    vectors: &[NewVector],
) -> Result<u64, StoreError> {
    let mut attached = 0;
    for new in vectors {
        let sql = "SELECT seq FROM memory
             WHERE id = ?1 AND text_version = ?2 AND deleted_at IS NULL";
        let seq = batch
            .connection
            .prepare_cached(sql)?
            .query_row((new.id.as_bytes(), new.text_version as i64), |row| {
                row.get(0)
            })
            .optional()?;
        if let Some(seq) = seq {
            put(batch, model, seq, &new.vector)?;
            attached += 1;
        }
    }
    Ok(attached)
}

/// Memories without a vector of `model`, newest first.
pub(super) fn unembedded(
    connection: &Connection,
    model: &Model,
    limit: u32,
) -> Result<Vec<Unembedded>, StoreError> {
    let id = id_of(connection, model)?.unwrap_or(0);
    let sql = format!(
        "SELECT m.id, m.text_version, c.content
         FROM memory m JOIN memory_content c ON c.memory = m.seq
         WHERE m.deleted_at IS NULL
           AND NOT EXISTS (SELECT 1 FROM vector v WHERE v.key = (?1 << {ROW_BITS}) | m.seq)
         ORDER BY m.seq DESC LIMIT ?2"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map((id, limit), |row| {
        Ok(Unembedded {
            id: uuid::Uuid::from_bytes(row.get(0)?),
            text_version: row.get::<_, i64>(1)? as u64,
            content: row.get(2)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The models in use.
pub(super) fn state(connection: &Connection) -> Result<EmbeddingState, StoreError> {
    let progress = |model: Option<(i64, Model)>| {
        model
            .map(|(id, model)| {
                let sql = "SELECT value FROM counter WHERE name = ?1";
                let embedded: Option<i64> = connection
                    .prepare_cached(sql)?
                    .query_row([format!("vectors/{id}")], |row| row.get(0))
                    .optional()?;
                let embedded = embedded.unwrap_or(0) as u64;
                Ok::<_, StoreError>(ModelProgress { model, embedded })
            })
            .transpose()
    };
    Ok(EmbeddingState {
        active: progress(active(connection)?)?,
        target: progress(in_state(connection, "target")?)?,
        memories: counter(connection, "present")?,
    })
}

/// Makes `model` the active one if nothing lacks a vector of it, or else the target.
pub(super) fn activate(batch: &mut Batch<'_>, model: &Model) -> Result<bool, StoreError> {
    let id = enroll(batch, model)?;
    let connection = batch.connection;
    if active(connection)?.is_some_and(|(active, _)| active == id) {
        let abandon = "UPDATE embedding_model SET state = 'kept' WHERE state = 'target'";
        connection.execute(abandon, [])?;
        return Ok(true);
    }
    let complete = unembedded(connection, model, 1)?.is_empty();
    let (state, replaces) = if complete {
        ("active", "'active', 'target'")
    } else {
        ("target", "'target'")
    };
    let replace = format!("UPDATE embedding_model SET state = 'kept' WHERE state IN ({replaces})");
    connection.execute(&replace, [])?;
    connection.execute(
        "UPDATE embedding_model SET state = ?2 WHERE id = ?1",
        (id, state),
    )?;
    if complete {
        batch.cut_over(id, model.clone());
    }
    Ok(complete)
}

/// Scale and codes of one memory's vector.
pub(super) fn quantized(
    connection: &Connection,
    model: i64,
    seq: i64,
) -> Result<Option<(f32, Vec<i8>)>, StoreError> {
    let vector = connection
        .prepare_cached("SELECT quantized FROM vector WHERE key = ?1")?
        .query_row([key(model, seq)], |row| {
            let codes = |(scale, codes): (f32, &[u8])| (scale, signed(codes).collect());
            Ok(split(row.get_ref(0)?.as_blob()?).map(codes))
        })
        .optional()?;
    Ok(vector.flatten())
}

/// Reads vectors of a model in full.
pub(super) struct Exact<'c> {
    statement: CachedStatement<'c>,
    model: i64,
    vector: Vec<f32>,
}

impl<'c> Exact<'c> {
    pub(super) fn of(connection: &'c Connection, model: i64) -> Result<Self, StoreError> {
        let sql = "SELECT exact FROM vector_exact WHERE key = ?1";
        Ok(Self {
            statement: connection.prepare_cached(sql)?,
            model,
            vector: Vec::new(),
        })
    }

    /// The vector of the memory in row `seq`, if it has one.
    pub(super) fn read(&mut self, seq: i64) -> Result<Option<&[f32]>, StoreError> {
        let vector = &mut self.vector;
        vector.clear();
        let read = |row: &Row<'_>| {
            let (values, _) = row.get_ref(0)?.as_blob()?.as_chunks::<4>();
            vector.extend(values.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            Ok(())
        };
        let found = self.statement.query_row([key(self.model, seq)], read);
        Ok(found.optional()?.map(|()| &self.vector[..]))
    }
}

/// Every vector of a model, in one piece.
#[derive(Debug, Default)]
pub(super) struct AllVectors {
    rows: Vec<(i64, f32)>,
    codes: Vec<i8>,
}

impl AllVectors {
    /// Rows with their scales and codes.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, f32, &[i8])> {
        let dimension = self.codes.len() / self.rows.len().max(1);
        let codes = self.codes.chunks_exact(dimension.max(1));
        self.rows
            .iter()
            .zip(codes)
            .map(|((seq, scale), codes)| (*seq, *scale, codes))
    }
}

/// Reads every vector of a model.
pub(super) fn read_all(connection: &Connection, model: i64) -> Result<AllVectors, StoreError> {
    let sql = "SELECT key, quantized FROM vector WHERE key BETWEEN ?1 AND ?2";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query((key(model, 0), key(model + 1, 0) - 1))?;
    // Growing step by step would copy all of them again and again.
    let expected = counter(connection, "memories")? as usize;
    let mut all = AllVectors::default();
    all.rows.reserve(expected);
    while let Some(row) = rows.next()? {
        let seq = row.get::<_, i64>(0)? & ((1 << ROW_BITS) - 1);
        let blob = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        if let Some((scale, bytes)) = split(blob) {
            if all.codes.is_empty() {
                all.codes.reserve(expected * bytes.len());
            }
            all.rows.push((seq, scale));
            all.codes.extend(signed(bytes));
        }
    }
    Ok(all)
}

fn split(blob: &[u8]) -> Option<(f32, &[u8])> {
    let (scale, codes) = blob.split_first_chunk::<4>()?;
    Some((f32::from_le_bytes(*scale), codes))
}

fn signed(bytes: &[u8]) -> impl Iterator<Item = i8> {
    bytes.iter().map(|byte| *byte as i8)
}
