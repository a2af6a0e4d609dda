//! A database that takes no writes is unavailable, and serves again when it does.

use std::time::{Duration, Instant};

use tmws::store::sqlite::{SqliteOptions, SqliteStore};
use tmws::store::{Store, StoreError};

use crate::fixture::*;

#[test]
fn from_a_lock_held_by_others() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = SqliteStore::open(dir.path(), SqliteOptions::default()).expect("open");
    let other = rusqlite::Connection::open(dir.path().join("tmws.db")).expect("open");
    other
        .execute_batch("BEGIN IMMEDIATE")
        .expect("the write lock");
    let refused = block(store.create_memories(vec![new(&alice(), "refused")]));
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(block(store.status()).is_err());
    let reads = block(store.memory_stats(&alice()));
    assert_eq!(reads.expect("reads go on").owned, 0);
    other.execute_batch("ROLLBACK").expect("unlocked");
    // Nobody needs to write for the store to notice.
    let deadline = Instant::now() + Duration::from_secs(10);
    while block(store.status()).is_err() {
        assert!(Instant::now() < deadline, "the store does not recover");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(block(store.create_memories(vec![new(&alice(), "accepted")])).is_ok());
    assert!(store.writer_stats().failures >= 1);
}

#[test]
fn from_a_full_disk() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = SqliteOptions {
        bytes_max: Some(1 << 20),
        ..SqliteOptions::default()
    };
    let store = SqliteStore::open(dir.path(), options).expect("open");
    let mut stored = Vec::new();
    let refused = loop {
        let answer = store.create_memories(vec![new(&alice(), &"filler ".repeat(2_000))]);
        match block(answer) {
            Ok(mut results) => match results.remove(0) {
                Ok(memory) => stored.push(memory.id),
                Err(error) => break error,
            },
            Err(error) => break error,
        }
        assert!(stored.len() < 1_000, "the limit does not hold");
    };
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert!(!stored.is_empty());
    for id in &stored {
        assert!(block(store.get_memory(&alice(), *id)).is_ok());
    }
    // Room made is room to write in.
    for id in stored.drain(..).take(10) {
        block(store.delete_memory(&alice(), id, true, None)).expect("purged");
    }
    let again = block(store.create_memories(vec![new(&alice(), "fits")])).expect("committed");
    assert!(again[0].is_ok(), "{again:?}");
}

#[test]
fn from_a_read_that_takes_too_long() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = SqliteOptions {
        query_limit: Duration::ZERO,
        ..SqliteOptions::default()
    };
    let store = SqliteStore::open(dir.path(), options).expect("open");
    let many = (0..3_000).map(|_| new(&alice(), "one of many")).collect();
    let stored = block(store.create_memories(many)).expect("committed");
    let late = block(store.memory_stats(&alice()));
    assert!(
        matches!(&late, Err(StoreError::Unavailable(reason)) if reason.contains("too long")),
        "{late:?}"
    );
    let id = stored[0].as_ref().expect("stored").id;
    assert!(block(store.get_memory(&alice(), id)).is_ok());
}
