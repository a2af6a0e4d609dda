//! A legacy session (2025-03-26 to 2025-11-25), on the shard where it began.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::events::{COMMENT, KEEP_ALIVE};
use super::sessions::{Answered, Post};
use super::stream::{Reader, Stream};
use crate::config::limits::HTTP_STREAMS_MAX;
use crate::delivery::{INTERRUPT, Outgoing};
use crate::dispatch::{Answer, Dispatcher, McpConnection, Reply, Way};

/// The stream of what belongs to no request.
const GENERAL: u64 = 0;
/// Milliseconds after which a client whose stream broke is to come back.
const RETRY_MS: u64 = 500;
/// The first revision whose clients know events without a message.
const PRIMED: &str = "2025-11-25";

/// One session.
pub(super) struct LegacySession {
    connection: RefCell<McpConnection>,
    streams: RefCell<BTreeMap<u64, Stream>>,
    latest: Cell<u64>,
    calls: Cell<usize>,
    used: Cell<Instant>,
    ended: Cell<bool>,
}

impl LegacySession {
    /// A session whose connection sends what belongs to no request to `queue`.
    pub(super) fn new(connection: McpConnection, queue: Rc<Outgoing>) -> Rc<Self> {
        let session = Rc::new(Self {
            connection: RefCell::new(connection),
            streams: RefCell::new(BTreeMap::from([(GENERAL, Stream::new(GENERAL))])),
            latest: Cell::new(GENERAL),
            calls: Cell::new(0),
            used: Cell::new(Instant::now()),
            ended: Cell::new(false),
        });
        let weak = Rc::downgrade(&session);
        tokio::task::spawn_local(async move {
            loop {
                let filled = tokio::time::timeout(KEEP_ALIVE, queue.filled()).await;
                let Some(session) = weak.upgrade().filter(|session| !session.ended.get()) else {
                    return;
                };
                session.with(GENERAL, |stream| match filled {
                    Ok(()) => pass(&queue, stream),
                    Err(_) => stream.pass(Bytes::from_static(COMMENT)),
                });
            }
        });
        session
    }

    /// True if nobody has used it since, and nobody is about to.
    pub(super) fn is_idle_since(&self, then: Instant) -> bool {
        let read = self.streams.borrow().values().any(Stream::is_read);
        self.used.get() < then && self.calls.get() == 0 && !read
    }

    /// True once `initialize` has succeeded.
    pub(super) fn is_initialized(&self) -> bool {
        self.connection.borrow().revision().is_some()
    }

    /// Ends it: streams close, and what it watched is forgotten.
    pub(super) fn end(&self) {
        self.ended.set(true);
        for stream in self.streams.borrow_mut().values_mut() {
            stream.end();
        }
    }

    fn with<T>(&self, number: u64, work: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        self.streams.borrow_mut().get_mut(&number).map(work)
    }

    /// Handles a POST's message. Calls of one session run side by side.
    pub(super) fn post(
        self: &Rc<Self>,
        dispatcher: &Rc<Dispatcher>,
        post: &Post,
        answered: oneshot::Sender<Answered>,
    ) {
        self.used.set(Instant::now());
        let queue = Outgoing::of_stream();
        let outlet = queue.outlet(0);
        let mut out = Vec::new();
        let mut connection = self.connection.borrow_mut();
        let way = Way {
            outlet: &outlet,
            key: post.key.as_deref(),
        };
        let reply = connection.receive_on(dispatcher, &post.text, &mut out, way);
        let primed = connection
            .revision()
            .is_some_and(|revision| revision >= PRIMED);
        drop(connection);
        // Whoever asked may be gone by now; the work is done all the same.
        let _ = match reply {
            Reply::Written => answered.send(Answered::Message(out)),
            Reply::Silent | Reply::Stream => answered.send(Answered::Accepted),
            Reply::Later(answer) | Reply::Alone(answer) => {
                let call = Call {
                    session: Rc::clone(self),
                    queue,
                    streams: post.streams,
                    primed,
                };
                self.calls.set(self.calls.get() + 1);
                tokio::task::spawn_local(call.run(answer, answered));
                return;
            }
        };
    }

    /// Opens the general stream, or reads on in any after an event.
    pub(super) fn read(&self, last_event: Option<&str>) -> Answered {
        self.used.set(Instant::now());
        let (number, after) = match last_event {
            None => (GENERAL, None),
            Some(id) => match Stream::parse_id(id) {
                Some((number, event)) => (number, Some(event)),
                None => return Answered::UnknownEvent,
            },
        };
        let primed = self.connection.borrow().revision() >= Some(PRIMED);
        let read = self.with(number, |stream| {
            if after.is_none() && stream.is_read() {
                return Answered::Taken;
            }
            let reader = stream.read(after);
            if primed && after.is_none() {
                stream.prime(RETRY_MS);
            }
            Answered::Stream(reader)
        });
        read.unwrap_or(Answered::UnknownEvent)
    }

    /// A stream for a call that says something before its answer.
    fn open(&self) -> (u64, Reader) {
        let number = self.latest.get() + 1;
        self.latest.set(number);
        let mut streams = self.streams.borrow_mut();
        let finished = streams.iter().filter(|(_, stream)| stream.has_ended());
        let finished: Vec<u64> = finished.map(|(number, _)| *number).collect();
        let surplus = (finished.len() + 1).saturating_sub(HTTP_STREAMS_MAX);
        for number in &finished[..surplus] {
            streams.remove(number);
        }
        let stream = streams.entry(number).or_insert_with(|| Stream::new(number));
        (number, stream.read(None))
    }
}

/// Moves what waits in a queue to a stream.
fn pass(queue: &Outgoing, stream: &mut Stream) {
    let mut said = Vec::new();
    queue.take(&mut said);
    for (key, message) in said {
        match key {
            INTERRUPT => stream.interrupt(),
            _ => stream.send(&message),
        }
    }
}

/// A call of a session that takes time.
struct Call {
    session: Rc<LegacySession>,
    queue: Rc<Outgoing>,
    streams: bool,
    primed: bool,
}

impl Drop for Call {
    fn drop(&mut self) {
        let session = &self.session;
        session.calls.set(session.calls.get() - 1);
        session.used.set(Instant::now());
    }
}

impl Call {
    /// Answers with the message alone if nothing comes before it; otherwise by a stream. The call
    /// goes on when its client is gone: it may come back and read on (MCP 2025-11-25, transports).
    async fn run(self, mut answer: Answer, answered: oneshot::Sender<Answered>) {
        tokio::select! {
            biased;
            () = self.queue.filled(), if self.streams => {}
            () = sleep(KEEP_ALIVE), if self.streams => {}
            out = &mut answer => {
                let _ = answered.send(match out.is_empty() {
                    true => Answered::Accepted,
                    false => Answered::Message(out),
                });
                return;
            }
        }
        let session = &self.session;
        let (number, reader) = session.open();
        if self.primed {
            session.with(number, |stream| stream.prime(RETRY_MS));
        }
        let _ = answered.send(Answered::Stream(reader));
        loop {
            session.with(number, |stream| pass(&self.queue, stream));
            tokio::select! {
                biased;
                () = self.queue.filled() => {}
                out = &mut answer => {
                    session.with(number, |stream| {
                        pass(&self.queue, stream);
                        if !out.is_empty() {
                            stream.send(&out);
                        }
                        stream.end();
                    });
                    return;
                }
                () = sleep(KEEP_ALIVE) => {
                    session.with(number, |stream| stream.pass(Bytes::from_static(COMMENT)));
                }
            }
        }
    }
}
