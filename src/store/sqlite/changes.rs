//! What a transaction changes in the index in memory.

use rusqlite::Connection;

use super::{documents, vectors};
use crate::store::StoreError;
use crate::store::index::{ActiveModel, Index};
use crate::store::vectors::Quantized;

/// Collected while the transaction runs, applied when it is committed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Rows that were added, changed or removed; the index reads them anew.
    pub(super) rows: Vec<i64>,
    /// Vectors by model and row.
    pub(super) vectors: Vec<(i64, i64, Quantized)>,
    /// The model that is active from now on.
    pub(super) model: Option<ActiveModel>,
}

impl Changes {
    /// Brings the index up to what `connection` reads.
    pub(super) fn apply(
        &mut self,
        connection: &Connection,
        index: &Index,
    ) -> Result<(), StoreError> {
        if let Some(model) = self.model.take() {
            let id = model.id;
            let vectors = vectors::read_all(connection, id)?;
            index.cut_over(model, || {
                for (seq, scale, codes) in vectors.iter() {
                    index.set_vector(seq, scale, codes);
                }
                Ok::<_, StoreError>(())
            })?;
        }
        let active = index.model().as_ref().map(|model| model.id);
        self.rows.sort_unstable();
        self.rows.dedup();
        for seq in &self.rows {
            documents::refresh(connection, index, active, *seq)?;
        }
        for (model, seq, vector) in &self.vectors {
            // A new row was read with its vector.
            if active == Some(*model) && self.rows.binary_search(seq).is_err() {
                index.set_vector(*seq, vector.scale, &vector.codes);
            }
        }
        Ok(())
    }
}
