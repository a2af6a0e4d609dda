//! The threads of the store and the queues that lead to them.
//!
//! Invariants: a full queue refuses at once; closing serves what was queued before; the data
//! directory stays locked until the last thread has closed its connection.

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Sender, TrySendError, bounded};
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::access::AccessCounts;
use super::load;
use super::schema::{Directory, OpenError};
use super::writer::Progress;
use super::{Clock, SqliteOptions, messages, reader, writer};
use crate::store::index::Index;
use crate::store::{Answer, StoreError, Waiting};

pub(super) struct Threads {
    writer: Sender<writer::Message>,
    readers: Sender<reader::Message>,
    reader_count: usize,
    /// Time that all readers together have worked.
    reader_ns: Arc<AtomicU64>,
    handles: Mutex<Vec<JoinHandle<()>>>,
    closed: AtomicBool,
    pub(super) access: Arc<AccessCounts>,
    pub(super) index: Arc<Index>,
    pub(super) progress: Arc<Progress>,
    pub(super) clock: Clock,
    /// This run of the process, as queues of messages know it.
    pub(super) node: Uuid,
    /// The database file, for its size. The lock on its directory is with the threads alone.
    pub(super) database: PathBuf,
}

impl Threads {
    pub(super) fn start(dir: &Path, options: SqliteOptions) -> Result<Self, OpenError> {
        let directory = Arc::new(Directory::acquire(dir)?);
        let node = Uuid::new_v4();
        // Before anybody can connect: a session is only taken up again after a crash if its node is known.
        // Best effort: a full disk keeps nobody from reading, and the node says it again.
        let note = |connection: &Connection| {
            let _ = messages::keep_node(connection, node, (options.clock)());
        };
        let connection = directory.open_writer(options.bytes_max, note)?;
        let reader_count = options.readers.max(1);
        // Each connection reads the whole schema when it is opened.
        let (index, connections) = std::thread::scope(|threads| {
            let opening = || (0..reader_count).map(|_| directory.open_reader()).collect();
            let opening = threads.spawn(opening);
            let index = load::index(&directory, &connection)?;
            let opened: Result<Vec<_>, OpenError> =
                opening.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok::<_, OpenError>((index, opened?))
        })?;
        let (writer, write_requests) = bounded(options.write_queue.max(1));
        let (readers, read_requests) = bounded(options.read_queue.max(1));
        let threads = Self {
            writer,
            readers,
            reader_count,
            reader_ns: Arc::default(),
            handles: Mutex::default(),
            closed: AtomicBool::new(false),
            access: Arc::default(),
            index: Arc::new(index),
            progress: Arc::default(),
            clock: options.clock.clone(),
            node,
            database: directory.database.clone(),
        };
        // From here on an error drops `threads`, which ends what has been started.
        let writing = writer::Writer {
            connection,
            requests: write_requests,
            access: threads.access.clone(),
            index: threads.index.clone(),
            progress: threads.progress.clone(),
            known: messages::Known::default(),
            clock: options.clock,
            directory: directory.clone(),
        };
        threads.spawn("store-writer", move || writing.run())?;
        let index = threads.index.clone();
        threads.spawn("store-index", move || index.settle())?;
        for (place, connection) in connections.into_iter().enumerate() {
            let reading = reader::Reader {
                connection,
                requests: read_requests.clone(),
                worked_ns: threads.reader_ns.clone(),
                query_limit: options.query_limit,
                directory: directory.clone(),
            };
            threads.spawn(&format!("store-reader-{place}"), move || reading.run())?;
        }
        Ok(threads)
    }

    fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
        let handle = std::thread::Builder::new()
            .name(name.into())
            .spawn(run)
            .map_err(|source| OpenError::File {
                path: self.database.clone(),
                source,
            })?;
        self.handles.lock().push(handle);
        Ok(())
    }

    pub(super) fn submit_write(&self, job: writer::Job) -> Result<(), StoreError> {
        self.submit(&self.writer, writer::Message::Work(job))
    }

    pub(super) fn submit_read(&self, job: reader::Job) -> Result<(), StoreError> {
        self.submit(&self.readers, reader::Message::Work(job))
    }

    fn submit<M>(&self, queue: &Sender<M>, message: M) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        queue.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => closed(),
        })
    }

    /// What waits for the threads.
    pub(super) fn waiting(&self) -> Waiting {
        Waiting {
            writes: self.writer.len() as u64,
            reads: self.readers.len() as u64,
            shared: true,
        }
    }

    /// How many readers there are, and how long they have worked, all together.
    pub(super) fn reader_stats(&self) -> (usize, Duration) {
        let worked = Duration::from_nanos(self.reader_ns.load(Ordering::Relaxed));
        (self.reader_count, worked)
    }

    /// Ends the threads once they have served what is queued, and waits for them.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let handles = std::mem::take(&mut *self.handles.lock());
        if handles.is_empty() {
            return;
        }
        // Readers first, so that the writer writes down what they counted. A send fails only if
        // the threads are gone already.
        let (writers, readers): (Vec<_>, Vec<_>) = handles
            .into_iter()
            .partition(|handle| handle.thread().name() == Some("store-writer"));
        for _ in 0..self.reader_count {
            let _ = self.readers.send(reader::Message::Close);
        }
        for handle in readers {
            let _ = handle.join();
        }
        let _ = self.writer.send(writer::Message::Close);
        for handle in writers {
            let _ = handle.join();
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.close();
    }
}

/// The future of a submitted request, or its refusal.
pub(super) fn answer<T: 'static>(
    submitted: Result<(), StoreError>,
    reply: oneshot::Receiver<Result<T, StoreError>>,
) -> Answer<T> {
    Box::pin(async move {
        submitted?;
        // A thread that drops a request unanswered was closed or failed at it.
        reply.await.unwrap_or_else(|_| Err(closed()))
    })
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed or the request failed in it".into())
}
