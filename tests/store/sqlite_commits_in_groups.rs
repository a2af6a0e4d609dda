//! Writes that wait together are committed together, and a full queue refuses at once.

use tmws::store::sqlite::{SqliteOptions, SqliteStore};
use tmws::store::{Store, StoreError};

use crate::fixture::*;

fn lock(dir: &std::path::Path) -> rusqlite::Connection {
    let other = rusqlite::Connection::open(dir.join("tmws.db")).expect("a second connection");
    other
        .execute_batch("BEGIN IMMEDIATE")
        .expect("the write lock");
    other
}

#[test]
fn many_creates_few_transactions() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = SqliteStore::open(dir.path(), SqliteOptions::default()).expect("open");
    let before = store.writer_stats();
    // Answers begin when they are asked for, so all are queued before the first is awaited.
    let answers: Vec<_> = (0..500)
        .map(|n| store.create_memories(vec![new(&alice(), &format!("memory {n}"))]))
        .collect();
    for answer in answers {
        assert!(block(answer).expect("committed")[0].is_ok());
    }
    let after = store.writer_stats();
    assert_eq!(after.requests - before.requests, 500);
    let transactions = after.transactions - before.transactions;
    assert!(
        transactions < 250,
        "{transactions} transactions for 500 requests"
    );
}

#[test]
fn a_full_queue_is_busy() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = SqliteOptions {
        write_queue: 4,
        ..SqliteOptions::default()
    };
    let store = SqliteStore::open(dir.path(), options).expect("open");
    let other = lock(dir.path());
    // At most one batch of 4 is with the waiting writer and 4 more are in the queue.
    let answers: Vec<_> = (0..20)
        .map(|_| store.create_memories(vec![new(&alice(), "queued")]))
        .collect();
    other.execute_batch("ROLLBACK").expect("unlocked");
    let results: Vec<_> = answers.into_iter().map(block).collect();
    let busy = results
        .iter()
        .filter(|result| matches!(result, Err(StoreError::Busy)))
        .count();
    let stored = results.iter().filter(|result| result.is_ok()).count();
    assert!(busy >= 4, "{busy} of 20 refused");
    assert_eq!(busy + stored, 20);
    assert!(block(store.create_memories(vec![new(&alice(), "later")])).is_ok());
}
