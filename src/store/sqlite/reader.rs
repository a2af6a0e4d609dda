//! The readers: a few threads, each with a connection that cannot write.
//!
//! Invariants: a request sees one snapshot of the database from its first statement to its last;
//! no request holds a thread longer than the query limit; a panic costs one request.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::schema::Directory;
use crate::store::StoreError;

/// Virtual machine steps between two looks at the clock: some 100 us.
const STEPS_PER_LOOK: i32 = 10_000;

/// A read under way: a connection inside a transaction.
pub(super) enum Message {
    Work(Job),
    Close,
}

/// A request and the way back to who asked.
pub(super) struct Job(Box<dyn FnOnce(&Connection) + Send>);

impl Job {
    /// Wraps `work` so that its result reaches `reply`; nothing runs if nobody waits any more.
    pub(super) fn new<T: Send + 'static>(
        reply: oneshot::Sender<Result<T, StoreError>>,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Self {
        Self(Box::new(move |connection| {
            if !reply.is_closed() {
                let result = in_snapshot(connection, work);
                let _ = reply.send(result);
            }
        }))
    }
}

fn in_snapshot<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let result = work(connection);
    // Ends the snapshot; a reader has nothing to commit.
    let ended = connection.prepare_cached("ROLLBACK")?.execute([]);
    let value = result?;
    ended?;
    Ok(value)
}

/// What a reader thread owns.
pub(super) struct Reader {
    pub(super) connection: Connection,
    pub(super) requests: Receiver<Message>,
    pub(super) query_limit: Duration,
    /// Time that all readers together have worked.
    pub(super) worked_ns: Arc<AtomicU64>,
    /// Keeps the directory locked while the connection is open.
    pub(super) directory: Arc<Directory>,
}

impl Reader {
    /// Serves until it is told to close or the last store is dropped.
    pub(super) fn run(mut self) {
        let started = Instant::now();
        let deadline_us = Arc::new(AtomicU64::new(u64::MAX));
        let watched = deadline_us.clone();
        let late = move || elapsed_us(started) > watched.load(Ordering::Relaxed);
        // Without a limit the thread still serves; SQLite refuses a handler only when misused.
        let _ = self.connection.progress_handler(STEPS_PER_LOOK, Some(late));
        let limit_us = self.query_limit.as_micros() as u64;
        while let Ok(Message::Work(Job(run))) = self.requests.recv() {
            let begun = Instant::now();
            deadline_us.store(
                elapsed_us(started).saturating_add(limit_us),
                Ordering::Relaxed,
            );
            let outcome = catch_unwind(AssertUnwindSafe(|| run(&self.connection)));
            let worked_ns = begun.elapsed().as_nanos() as u64;
            self.worked_ns.fetch_add(worked_ns, Ordering::Relaxed);
            deadline_us.store(u64::MAX, Ordering::Relaxed);
            if outcome.is_err() || !self.connection.is_autocommit() {
                tracing::error!("a read of the embedded store failed unexpectedly");
                let _ = self.connection.execute_batch("ROLLBACK");
            }
        }
        let Self {
            connection,
            directory,
            ..
        } = self;
        drop(connection);
        drop(directory);
    }
}

fn elapsed_us(since: Instant) -> u64 {
    since.elapsed().as_micros() as u64
}
