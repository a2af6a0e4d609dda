//! One connection: statements go out together, answers come back in their order.
//!
//! ```text
//! BEGIN | who it is for | statement ... statement | COMMIT --> one flight, one round trip
//! ```
//!
//! Invariants: the steps of a flight are handed to the connection in one go, so that flights on a
//! shared connection never mix; a flight counts as done only if every step of it is; a session
//! that did not answer in time is given up, with everything that waits on it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row, Statement};

use super::failure::Failure;
use super::query::Query;
use super::scope::{ENTER, Scope};

/// Longest run of one statement in the server.
pub(super) const STATEMENT_MAX: Duration = Duration::from_secs(5);
/// Longest wait for the answers of a flight: its slowest statement may take [`STATEMENT_MAX`]; a
/// server that says nothing for longer is not there.
const ANSWER_MAX: Duration = Duration::from_secs(7);
/// Longest wait for a connection.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Composed statements that a connection keeps; beyond it all are forgotten.
const KEPT_MAX: usize = 128;

/// Values of a prepared statement.
pub(super) type Values = Vec<Box<dyn ToSql + Sync>>;

/// One step of a flight.
pub(super) enum Step {
    /// Text without values, which answers nothing.
    Plain(&'static str),
    /// Says for whom the transaction runs.
    Enter(Scope),
    /// Parsed and planned for its values each time, unless it is kept.
    Query(Query),
    /// Parsed once for each connection.
    Prepared(Statement, Values),
}

impl From<Query> for Step {
    fn from(query: Query) -> Self {
        Self::Query(query)
    }
}

/// A connection that is up, or was.
pub(super) struct Session {
    client: Client,
    driver: AbortHandle,
    enter: Statement,
    prepared: RefCell<HashMap<&'static str, Statement>>,
    /// Statements that were composed, by their text.
    kept: RefCell<HashMap<String, Statement>>,
}

impl Session {
    /// Connects and runs `opening`, the settings of the session.
    pub(super) async fn connect(config: &Config, opening: &str) -> Result<Self, Failure> {
        let connecting = async {
            let (client, connection) = config.connect(NoTls).await?;
            let driver = tokio::task::spawn_local(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(error = %super::failure::describe(&error), "PostgreSQL connection ended");
                }
            });
            let driver = driver.abort_handle();
            client.batch_execute(opening).await?;
            Ok(Self {
                enter: client.prepare(ENTER).await?,
                client,
                driver,
                prepared: RefCell::default(),
                kept: RefCell::default(),
            })
        };
        match tokio::time::timeout(CONNECT_MAX, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(Failure::Silent),
        }
    }

    /// Will it take a flight?
    pub(super) fn is_up(&self) -> bool {
        !self.client.is_closed()
    }

    /// Ends it; whoever waits for an answer is told that the connection broke.
    pub(super) fn give_up(&self) {
        self.driver.abort();
    }

    /// The statement `sql`, prepared on this connection.
    pub(super) async fn prepare(&self, sql: &'static str) -> Result<Statement, Failure> {
        if let Some(known) = self.prepared.borrow().get(sql) {
            return Ok(known.clone());
        }
        let statement = self.in_time(self.client.prepare(sql)).await??;
        self.prepared.borrow_mut().insert(sql, statement.clone());
        Ok(statement)
    }

    /// Makes ready what `steps` want to be kept.
    pub(super) async fn keep(&self, steps: &[Step]) -> Result<(), Failure> {
        for step in steps {
            let Step::Query(query) = step else { continue };
            if !query.is_kept() || self.kept.borrow().contains_key(query.sql()) {
                continue;
            }
            let types: Vec<_> = query
                .parameters()
                .into_iter()
                .map(|(_, kind)| kind)
                .collect();
            let preparing = self.client.prepare_typed(query.sql(), &types);
            let statement = self.in_time(preparing).await??;
            let mut kept = self.kept.borrow_mut();
            if kept.len() >= KEPT_MAX {
                kept.clear();
            }
            kept.insert(query.sql().to_owned(), statement);
        }
        Ok(())
    }

    /// Sends all of `steps` and awaits all their answers: the rows of each.
    pub(super) async fn fly(&self, steps: &[Step]) -> Result<Vec<Vec<Row>>, Failure> {
        let mut answers: Vec<_> = steps
            .iter()
            .map(|step| Asked::Waiting(self.ask(step)))
            .collect();
        // The first poll of each sends it: the order of the steps is the order on the wire.
        let all = poll_fn(|context| {
            let mut waiting = false;
            for answer in &mut answers {
                if let Asked::Waiting(future) = answer {
                    match future.as_mut().poll(context) {
                        Poll::Ready(result) => *answer = Asked::Answered(result),
                        Poll::Pending => waiting = true,
                    }
                }
            }
            if waiting {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        });
        self.in_time(all).await?;
        // The first error is the cause, those behind it are its effects.
        answers
            .into_iter()
            .map(|answer| match answer {
                Asked::Answered(result) => result.map_err(Failure::from),
                Asked::Waiting(_) => Err(Failure::Silent),
            })
            .collect()
    }

    fn ask<'s>(&'s self, step: &'s Step) -> Answer<'s> {
        Box::pin(async move {
            match step {
                Step::Plain(sql) => self.client.batch_execute(sql).await.map(|()| Vec::new()),
                Step::Enter(scope) => {
                    let [namespace, standing] = scope.values();
                    self.client
                        .query(&self.enter, &[&namespace, &standing])
                        .await
                }
                Step::Query(query) => {
                    // It may have had to make room meanwhile.
                    let kept = || self.kept.borrow().get(query.sql()).cloned();
                    if let Some(statement) = query.is_kept().then(kept).flatten() {
                        let values: Vec<_> = query.values().collect();
                        return self.client.query(&statement, &values).await;
                    }
                    self.client
                        .query_typed(query.sql(), &query.parameters())
                        .await
                }
                Step::Prepared(statement, values) => {
                    let values: Vec<_> = values.iter().map(|value| &**value as _).collect();
                    self.client.query(statement, &values).await
                }
            }
        })
    }

    async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Result<T, Failure> {
        match tokio::time::timeout(ANSWER_MAX, answer).await {
            Ok(answer) => Ok(answer),
            Err(_) => {
                self.give_up();
                Err(Failure::Silent)
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.give_up();
    }
}

type Answer<'s> = Pin<Box<dyn Future<Output = Result<Vec<Row>, tokio_postgres::Error>> + 's>>;

/// A step that was sent.
enum Asked<'s> {
    Waiting(Answer<'s>),
    Answered(Result<Vec<Row>, tokio_postgres::Error>),
}
