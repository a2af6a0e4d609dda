//! The writer: one thread that owns the write connection and commits in groups.
//!
//! Invariants: a reply that says `Ok` is sent after the commit that made it durable; each request
//! runs in a savepoint of its own, so its failure takes nothing of its neighbours along; a
//! transaction that cannot commit fails every request in it and leaves the thread serving.
//!
//! ```text
//! shards --try_send--> [bounded queue] --> BEGIN, savepoint per request, index, COMMIT --> replies
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::access::AccessCounts;
use super::changes::Changes;
use super::messages::Known;
use super::schema::Directory;
use super::{Clock, upkeep};
use crate::allocator::GivingBack;
use crate::domain::{Model, Timestamp};
use crate::store::StoreError;
use crate::store::index::{ActiveModel, Index};
use crate::store::vectors::Quantized;

/// Requests in one transaction: beyond a few hundred the sync is spread thin enough, and the
/// first caller would only wait longer.
const BATCH_REQUESTS_MAX: usize = 256;
/// Bytes of content in one transaction, so that it stays within the page cache.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Access counts and expired memories are seen to this often.
const UPKEEP_EVERY: Duration = Duration::from_millis(500);

/// What the writer has done since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterStats {
    /// Requests that were run; a create of many memories is one.
    pub requests: u64,
    /// Transactions that carried them and were committed.
    pub transactions: u64,
    /// Transactions that failed as a whole.
    pub failures: u64,
    /// Time that it worked, as a rule for the disk.
    pub worked: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Progress {
    requests: AtomicU64,
    transactions: AtomicU64,
    failures: AtomicU64,
    worked_ns: AtomicU64,
    /// The latest transaction failed; upkeep tries again until one succeeds.
    failing: AtomicBool,
}

impl Progress {
    pub(super) fn failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    pub(super) fn stats(&self) -> WriterStats {
        WriterStats {
            requests: self.requests.load(Ordering::Relaxed),
            transactions: self.transactions.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            worked: Duration::from_nanos(self.worked_ns.load(Ordering::Relaxed)),
        }
    }
}

pub(super) enum Message {
    Work(Job),
    Close,
}

type Settle = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
type Run = Box<dyn FnOnce(Result<&mut Batch<'_>, StoreError>) -> Settle + Send>;

/// A request and the way back to who asked.
pub(super) struct Job {
    bytes: usize,
    run: Run,
}

impl Job {
    /// Wraps `work`, which carries about `bytes` of content, so that its result reaches `reply`
    /// once the transaction is decided.
    pub(super) fn new<T: Send + 'static>(
        bytes: usize,
        reply: oneshot::Sender<Result<T, StoreError>>,
        work: impl FnOnce(&mut Batch<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Self {
        let run: Run = Box::new(move |batch| {
            let result = batch.and_then(work);
            Box::new(move |committed| {
                // The caller may be gone; the write stands all the same.
                let _ = reply.send(committed.and(result));
            })
        });
        Self { bytes, run }
    }
}

/// The transaction under way.
pub(super) struct Batch<'c> {
    pub(super) connection: &'c Connection,
    pub(super) now: Timestamp,
    /// What the index in memory must be told once the transaction is committed.
    pub(super) changes: Changes,
    /// What need not be asked of queues.
    pub(super) known: &'c mut Known,
}

impl Batch<'_> {
    /// Runs `work` in a savepoint: all of it happens or nothing.
    pub(super) fn isolated<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (rows, vectors) = (self.changes.rows.len(), self.changes.vectors.len());
        let (model, begun) = (self.changes.model.clone(), self.known.begun());
        self.statement("SAVEPOINT request")?;
        let result = work(self);
        if result.is_err() {
            self.changes.rows.truncate(rows);
            self.changes.vectors.truncate(vectors);
            self.changes.model = model;
            self.known.roll_back(begun);
            // Fails when SQLite has rolled everything back by itself; `commit` notices that.
            let _ = self.statement("ROLLBACK TO request");
        }
        let released = self.statement("RELEASE request");
        result.and_then(|value| released.map(|()| value))
    }

    /// Has the index in memory read a row anew when the transaction is committed.
    pub(super) fn touch(&mut self, seq: i64) {
        self.changes.rows.push(seq);
    }

    /// Has the index in memory take a vector in when the transaction is committed.
    pub(super) fn touch_vector(&mut self, model: i64, seq: i64, vector: Quantized) {
        self.changes.vectors.push((model, seq, vector));
    }

    /// Has the index in memory change to another model when the transaction is committed.
    pub(super) fn cut_over(&mut self, id: i64, model: Model) {
        self.changes.model = Some(ActiveModel { id, model });
    }

    fn statement(&self, sql: &str) -> Result<(), StoreError> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

/// What the writer thread owns.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) requests: Receiver<Message>,
    pub(super) access: Arc<AccessCounts>,
    pub(super) index: Arc<Index>,
    pub(super) progress: Arc<Progress>,
    pub(super) clock: Clock,
    pub(super) known: Known,
    /// Dropped last: the directory stays locked until the connection is closed.
    pub(super) directory: Arc<Directory>,
}

impl Writer {
    /// Serves until it is told to close or the last store is dropped.
    pub(super) fn run(mut self) {
        let mut giving_back = GivingBack::default();
        let mut upkeep_at = Instant::now() + UPKEEP_EVERY;
        loop {
            let message = self.requests.recv_deadline(upkeep_at);
            let open = match message {
                Ok(Message::Work(job)) => self.serve(job),
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => false,
                Err(RecvTimeoutError::Timeout) => true,
            };
            if !open {
                break;
            }
            if Instant::now() >= upkeep_at {
                self.upkeep();
                giving_back.see();
                upkeep_at = Instant::now() + UPKEEP_EVERY;
            }
        }
        self.upkeep();
        // Best effort: the log is complete without it and the next start reads it.
        let _ = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        let Self {
            connection,
            directory,
            ..
        } = self;
        drop(connection);
        drop(directory);
    }

    /// One transaction over `first` and what waits behind it; false if the store closes.
    fn serve(&mut self, first: Job) -> bool {
        let mut open = true;
        let mut bytes = first.bytes;
        let mut jobs = vec![first];
        while jobs.len() < BATCH_REQUESTS_MAX && bytes < BATCH_BYTES_MAX {
            match self.requests.try_recv() {
                Ok(Message::Work(job)) => {
                    bytes += job.bytes;
                    jobs.push(job);
                }
                Ok(Message::Close) => {
                    open = false;
                    break;
                }
                Err(_) => break,
            }
        }
        self.progress
            .requests
            .fetch_add(jobs.len() as u64, Ordering::Relaxed);
        let mut settles = Vec::with_capacity(jobs.len());
        let mut jobs = jobs.into_iter();
        let outcome = self.transact(|batch| {
            for job in jobs.by_ref() {
                settles.push((job.run)(Ok(&mut *batch)));
                if batch.connection.is_autocommit() {
                    return Err(StoreError::Unavailable(
                        "the transaction was rolled back".into(),
                    ));
                }
            }
            Ok(())
        });
        // Requests that never ran are told why.
        for job in jobs {
            let refusal = outcome.clone().err().unwrap_or(StoreError::Busy);
            settles.push((job.run)(Err(refusal)));
        }
        for settle in settles {
            settle(outcome.clone());
        }
        open
    }

    /// BEGIN, `work`, index, COMMIT; or a rollback and the reason.
    fn transact(
        &mut self,
        work: impl FnOnce(&mut Batch<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut batch = Batch {
            connection: &self.connection,
            now: (self.clock)(),
            changes: Changes::default(),
            known: &mut self.known,
        };
        let begun = Instant::now();
        // A panic is a broken invariant: it costs this transaction, not the thread.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            batch.statement("BEGIN IMMEDIATE")?;
            work(&mut batch)?;
            batch.statement("COMMIT")?;
            // Before anybody is told: who reads the answer finds what it says.
            batch.changes.apply(batch.connection, &self.index)
        }))
        .unwrap_or_else(|_| {
            Err(StoreError::Unavailable(
                "the writer failed unexpectedly".into(),
            ))
        });
        self.known.end(outcome.is_ok());
        if outcome.is_err() && !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        self.progress
            .worked_ns
            .fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        let failed_before = self
            .progress
            .failing
            .swap(outcome.is_err(), Ordering::Relaxed);
        match &outcome {
            Ok(()) => {
                self.progress.transactions.fetch_add(1, Ordering::Relaxed);
                if failed_before {
                    tracing::info!("the embedded store takes writes again");
                }
            }
            Err(error) => {
                self.progress.failures.fetch_add(1, Ordering::Relaxed);
                // Once per outage, not once per attempt.
                if !failed_before {
                    tracing::error!(%error, "the embedded store takes no writes");
                }
            }
        }
        outcome
    }

    /// Writes access counts down, removes expired memories, and after a failure tries whether
    /// the database takes writes again.
    fn upkeep(&mut self) {
        let access = self.access.clone();
        let counts = access.snapshot();
        let failing = self.progress.failing();
        let due = upkeep::is_due(&self.connection, (self.clock)()).unwrap_or(false);
        if counts.is_empty() && !due && !failing {
            return;
        }
        let written = self.transact(|batch| {
            batch.statement("UPDATE counter SET value = value WHERE name = 'memories'")?;
            AccessCounts::write(batch.connection, &counts, batch.now)?;
            upkeep::remove_expired(batch, upkeep::SWEEP_MAX).map(drop)
        });
        if written.is_ok() {
            access.subtract(&counts);
        }
    }
}
