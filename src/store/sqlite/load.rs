//! The index in memory as it is read at the start.

use rusqlite::Connection;

use super::schema::{Directory, OpenError};
use super::{documents, vectors};
use crate::store::StoreError;
use crate::store::index::{ActiveModel, Index};

/// Reads the whole index.
pub(super) fn index(directory: &Directory, connection: &Connection) -> Result<Index, OpenError> {
    let index = Index::default();
    read(directory, connection, &index).map_err(|error| OpenError::Database {
        path: directory.database.clone(),
        message: error.to_string(),
    })?;
    Ok(index)
}

/// Vectors are most of the bytes: a second thread reads them meanwhile, on a connection of its own.
fn read(directory: &Directory, connection: &Connection, index: &Index) -> Result<(), StoreError> {
    let Some((id, model)) = vectors::active(connection)? else {
        return documents::load(connection, index);
    };
    let vectors = std::thread::scope(|threads| {
        let vectors = threads.spawn(move || {
            let reader = directory.open_reader().map_err(unreadable)?;
            vectors::read_all(&reader, id)
        });
        documents::load(connection, index)?;
        vectors
            .join()
            .unwrap_or_else(|_| Err(StoreError::Unavailable("reading the vectors failed".into())))
    })?;
    index.cut_over(ActiveModel { id, model }, || {
        for (seq, scale, codes) in vectors.iter() {
            index.set_vector(seq, scale, codes);
        }
        Ok(())
    })
}

fn unreadable(error: OpenError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
