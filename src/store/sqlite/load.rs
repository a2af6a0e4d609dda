//! The index in memory as it is read at the start.

use rusqlite::Connection;

use super::schema::{Directory, OpenError};
use super::{documents, vectors};
use crate::store::StoreError;
use crate::store::index::{ActiveModel, Index};

/// Reads the whole index.
pub(super) fn index(directory: &Directory, connection: &Connection) -> Result<Index, OpenError> {
    let index = Index::default();
    read(connection, &index).map_err(|error| OpenError::Database {
        path: directory.database.clone(),
        message: error.to_string(),
    })?;
    Ok(index)
}

fn read(connection: &Connection, index: &Index) -> Result<(), StoreError> {
    documents::load(connection, index)?;
    if let Some((id, model)) = vectors::active(connection)? {
        let active = ActiveModel { id, model };
        index.cut_over(active, || vectors::load(connection, index, id))?;
    }
    Ok(())
}
