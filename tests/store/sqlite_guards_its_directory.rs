//! One server per directory, no newer schema, and everything acknowledged after a reopen.

use std::os::unix::fs::PermissionsExt;

use tmws::store::sqlite::{OpenError, SCHEMA_VERSION, SqliteOptions, SqliteStore, migrate};
use tmws::store::{Store, StoreError};

use crate::fixture::*;

fn open(dir: &std::path::Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(dir, SqliteOptions::default())
}

#[test]
fn a_second_open_is_refused() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let dir = parent.path().join("data/inner");
    let store = open(&dir).expect("open");
    let mode = std::fs::metadata(&dir)
        .expect("created")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    let refused = open(&dir).err().expect("refused");
    assert!(matches!(refused, OpenError::InUse(_)));
    assert!(refused.to_string().contains("in use by another server"));
    assert!(matches!(migrate(&dir), Err(OpenError::InUse(_))));
    store.close();
    assert!(open(&dir).is_ok());
}

#[test]
fn a_newer_schema_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    assert_eq!(migrate(dir.path()).expect("migrated"), (0, SCHEMA_VERSION));
    assert_eq!(
        migrate(dir.path()).expect("nothing to do"),
        (SCHEMA_VERSION, SCHEMA_VERSION)
    );
    let other = rusqlite::Connection::open(dir.path().join("tmws.db")).expect("open");
    other
        .pragma_update(None, "user_version", SCHEMA_VERSION + 1)
        .expect("set");
    drop(other);
    let refused = open(dir.path()).err().expect("refused");
    assert!(matches!(refused, OpenError::NewerSchema { .. }));
    assert!(
        refused.to_string().contains("use a newer tmws"),
        "{refused}"
    );
}

#[test]
fn a_dropped_store_leaves_everything_acknowledged() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path()).expect("open");
    let id = block(store.create_memories(vec![new(&alice(), "kept")])).expect("stored")[0]
        .as_ref()
        .expect("stored")
        .id;
    block(store.get_memory(&alice(), id)).expect("counted");
    drop(store);
    let store = open(dir.path()).expect("open again");
    let memory = block(store.get_memory(&alice(), id)).expect("there");
    assert_eq!((memory.content.as_str(), memory.access_count), ("kept", 2));
}

#[test]
fn a_closed_store_says_so() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path()).expect("open");
    let clone = store.clone();
    let queued = store.create_memories(vec![new(&alice(), "queued before the end")]);
    store.close();
    assert!(block(queued).expect("drained")[0].is_ok());
    let refused = block(clone.status());
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
}
