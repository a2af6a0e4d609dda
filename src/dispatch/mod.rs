//! The one way from a parsed request and a principal to a reply.
//!
//! Every wire calls this and nothing else: look up, run, count, encode. What is at hand is
//! answered at once, into the connection's own buffer; what waits for the store becomes a future
//! of the shard.

mod batch;
mod mcp;
mod reuse;
mod wrapping;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

use bumpalo::Bump;

#[cfg(fuzzing)]
pub use mcp::examine_uri;
pub use mcp::{Caller, Constants, McpConnection, Way};

use crate::delivery::Session;
use crate::operations::{Context, Later, Operation, Outcome, Services, Table};
use crate::rpc::mcp::ParseCache;
use crate::rpc::{Condition, Fault};
use crate::telemetry::ShardMetrics;
use mcp::{Request, Watches};
use reuse::Recent;

/// What a message leads to.
pub enum Reply {
    /// An answer was appended to the buffer.
    Written,
    /// No answer is due.
    Silent,
    /// The answer's bytes, later.
    Later(Answer),
    /// Everything comes by the outlet, until the subscription ends.
    Stream,
    /// An answer like `Later`, and nothing else of this connection may begin before it: it changes who acts.
    Alone(Answer),
}

/// An answer under way.
pub type Answer = std::pin::Pin<Box<dyn Future<Output = Vec<u8>>>>;

/// Dispatch of one shard.
pub struct Dispatcher {
    table: Arc<Table>,
    constants: Arc<Constants>,
    services: Rc<Services>,
    metrics: Arc<ShardMetrics>,
    /// Results on their way into an answer; empty between calls.
    scratch: RefCell<Vec<u8>>,
    /// Plans of batches; reset after each.
    arena: RefCell<Bump>,
    recent: RefCell<Recent>,
    /// Requests whose text was read before, all but their ids.
    parses: RefCell<ParseCache>,
    watches: Rc<Watches>,
    /// The end of the latest call or the start of the turn: where the next call's time begins, so
    /// that each takes one look at the clock.
    clock: Cell<Instant>,
    /// Reused answers of one operation that are not counted yet: its index, and how many.
    reused: Cell<(usize, u64)>,
    /// The tool that was called last: agents call the same again.
    latest_tool: Cell<usize>,
}

/// A result at hand, in the scratch buffer, or under way.
enum Run {
    Ready(Result<(), Fault>),
    Later(Later),
}

impl Dispatcher {
    /// Dispatch over these parts, counting into `metrics`.
    pub fn new(
        table: Arc<Table>,
        constants: Arc<Constants>,
        services: Rc<Services>,
        metrics: Arc<ShardMetrics>,
    ) -> Self {
        Self {
            watches: Watches::new(Arc::clone(&services.inbox)),
            table,
            constants,
            services,
            metrics,
            scratch: RefCell::default(),
            arena: RefCell::default(),
            recent: RefCell::default(),
            parses: RefCell::default(),
            clock: Cell::new(Instant::now()),
            reused: Cell::default(),
            latest_tool: Cell::default(),
        }
    }

    /// Tells that a turn begins.
    pub fn begin_turn(&self) {
        self.clock.set(Instant::now());
    }

    /// Tells that the turn's messages have been handled.
    pub fn end_turn(&self) {
        self.settle();
    }

    /// Shows how much waits for the store, in queues that are this shard's own.
    pub fn show_waiting(&self) {
        let waiting = self.services.store.waiting();
        if !waiting.shared {
            self.metrics.store_writes.set(waiting.writes);
            self.metrics.store_reads.set(waiting.reads);
        }
    }

    /// Notes a reused answer. Looking at the clock for each would cost more than the answer.
    fn reused(&self, index: usize) {
        let (latest, count) = self.reused.get();
        if latest != index {
            self.settle();
        }
        self.reused
            .set((index, if latest == index { count + 1 } else { 1 }));
    }

    /// Counts the reused answers, each with its share of the time that they took together.
    fn settle(&self) {
        let (index, count) = self.reused.take();
        if count == 0 {
            return;
        }
        let started = self.clock.replace(Instant::now());
        let share_ns = (self.clock.get() - started).as_nanos() as u64 / count;
        let operation = &self.metrics.operations[index];
        self.metrics.answers_reused.add(count);
        operation.succeeded.add(count);
        operation.duration.record_many_ns(share_ns, count);
    }

    /// The operation of a tool's name, with its index.
    fn find_tool(&self, name: &str) -> Option<(usize, &Operation)> {
        let latest = self.latest_tool.get();
        let operation = self.table.get(latest);
        if operation.tool.is_some_and(|tool| tool.name == name) {
            return Some((latest, operation));
        }
        let found = self.table.find(name)?;
        self.latest_tool.set(found.0);
        Some(found)
    }

    /// The schema of a tool's arguments, where it asks for headers that repeat some of them
    /// (`x-mcp-header`); none of our own operations does.
    pub fn mirrored_schema(&self, name: &str) -> Option<sonic_rs::Value> {
        #[cfg(feature = "conformance-fixture")]
        return mcp::mirrored_schema(name);
        #[cfg(not(feature = "conformance-fixture"))]
        {
            let _ = name;
            None
        }
    }

    /// The server's parts.
    pub fn services(&self) -> &Rc<Services> {
        &self.services
    }

    /// The counts of this shard.
    pub fn metrics(&self) -> &Arc<ShardMetrics> {
        &self.metrics
    }

    /// Runs an operation by one of its names and waits for its result's JSON: for wires that
    /// answer one request at a time. `key` is the idempotency key beside the arguments.
    pub async fn call(
        &self,
        session: &Rc<Session>,
        name: &str,
        arguments: Option<&str>,
        key: Option<&str>,
    ) -> Result<Vec<u8>, Fault> {
        let Some((index, operation)) = self.table.find(name) else {
            return Err(Fault::new(
                Condition::MethodNotFound,
                format!("there is no operation {name}"),
            ));
        };
        let started = Instant::now();
        let mut out = Vec::new();
        let context = Context::new(&self.services, session, key);
        let result = match operation.run(&context, arguments, &mut out) {
            Outcome::Ready(result) => result.map(|()| out),
            Outcome::Later(later) => later.await,
        };
        count(&self.metrics, index, started.elapsed(), result.is_ok());
        result
    }

    /// Runs an operation; a result at hand lands in `scratch`.
    fn run(
        &self,
        request: Request<'_>,
        index: usize,
        operation: &Operation,
        arguments: Option<&str>,
        scratch: &mut Vec<u8>,
    ) -> Run {
        scratch.clear();
        self.settle();
        let started = self.clock.get();
        let context = Context::new(&self.services, request.session(), request.key);
        match operation.run(&context, arguments, scratch) {
            Outcome::Ready(result) => {
                self.finish(index, result.is_ok());
                Run::Ready(result)
            }
            Outcome::Later(mut later) => {
                // Needs no task then, and no way to cancel it. Whoever awaits it polls it again, so this waker wakes nobody.
                let mut nobody = TaskContext::from_waker(Waker::noop());
                if operation.at_once
                    && let Poll::Ready(result) = later.as_mut().poll(&mut nobody)
                {
                    let result = result.map(|object| scratch.extend_from_slice(&object));
                    self.finish(index, result.is_ok());
                    return Run::Ready(result);
                }
                let metrics = Arc::clone(&self.metrics);
                Run::Later(Box::pin(async move {
                    let result = later.await;
                    count(&metrics, index, started.elapsed(), result.is_ok());
                    result
                }))
            }
        }
    }

    /// Counts a call that was answered at once.
    fn finish(&self, index: usize, succeeded: bool) {
        let started = self.clock.replace(Instant::now());
        count(&self.metrics, index, self.clock.get() - started, succeeded);
    }
}

fn count(metrics: &ShardMetrics, index: usize, duration: Duration, succeeded: bool) {
    let operation = &metrics.operations[index];
    let outcome = if succeeded {
        &operation.succeeded
    } else {
        &operation.failed
    };
    outcome.add(1);
    operation
        .duration
        .record_ns(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
}
