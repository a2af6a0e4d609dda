//! Who else may do what with a memory.

use rusqlite::{Connection, OptionalExtension};

use super::rows::Stored;
use crate::domain::Permission;
use crate::store::rights::{self, Right};
use crate::store::{StoreError, Viewer};

/// The right of `viewer` on `stored`.
pub(super) fn right(
    connection: &Connection,
    viewer: &Viewer,
    stored: &Stored,
) -> Result<Right, StoreError> {
    let granted = granted(connection, viewer, stored.seq)?;
    Ok(rights::of(viewer, &stored.memory, granted))
}

fn granted(
    connection: &Connection,
    viewer: &Viewer,
    seq: i64,
) -> Result<Option<Permission>, StoreError> {
    let permission = connection
        .prepare_cached(
            "SELECT permission FROM memory_grant WHERE memory = ?1 AND namespace = ?2 AND agent = ?3",
        )?
        .query_row((seq, &*viewer.key.namespace, &*viewer.key.agent), |row| {
            row.get::<_, String>(0)
        })
        .optional()?;
    Ok(permission.as_deref().and_then(Permission::from_name))
}
