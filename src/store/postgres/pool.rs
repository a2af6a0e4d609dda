//! The connections of one shard, and the ways of using them.
//!
//! | way | connection | for |
//! |---|---|---|
//! | [`read`](Pool::read) | one, shared | what an index answers |
//! | [`search`](Pool::search) | one, shared | searches, which may take longer |
//! | [`transact`](Pool::transact) | a few, one at a time each | what decides by what it reads |
//!
//! Creates have connections of their own (`flight.rs`), posts of messages too (`messages/flight.rs`). Invariants: what waits is bounded, and
//! refused as [`StoreError::Busy`] beyond that; a transaction that was begun is ended, whatever
//! becomes of who asked.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::Semaphore;
use tokio_postgres::Row;

use super::failure::Failure;
use super::link::{Link, Target};
use super::query::Query;
use super::scope::Scope;
use super::session::{Session, Step, Values};
use crate::store::StoreError;

/// Connections for transactions with round trips.
const TRANSACTIONS: usize = 4;
/// Requests under way or waiting on one way, as in the embedded store's queues.
const WAITING_MAX: usize = 4_096;
/// Tries of a transaction that collides with others.
const TRIES: u32 = 4;

/// The connections of one shard.
pub(super) struct Pool {
    reads: Lane,
    searches: Lane,
    transactions: Vec<Link>,
    free: RefCell<Vec<usize>>,
    permits: Semaphore,
    transacting: Cell<usize>,
}

/// A shared connection.
struct Lane {
    link: Link,
    under_way: Cell<usize>,
}

impl Pool {
    /// Connects when a connection is first needed.
    pub(super) fn new(target: &Rc<Target>) -> Self {
        let link = || Link::new(target.clone());
        let lane = || Lane {
            link: link(),
            under_way: Cell::new(0),
        };
        Self {
            reads: lane(),
            searches: lane(),
            transactions: (0..TRANSACTIONS).map(|_| link()).collect(),
            free: RefCell::new((0..TRANSACTIONS).collect()),
            permits: Semaphore::new(TRANSACTIONS),
            transacting: Cell::new(0),
        }
    }

    /// Transactions and reads under way or waiting.
    pub(super) fn under_way(&self) -> (usize, usize) {
        let reads = self.reads.under_way.get() + self.searches.under_way.get();
        (self.transacting.get(), reads)
    }

    /// The rows of each of `queries`, all of one snapshot.
    pub(super) async fn read(
        &self,
        scope: &Scope,
        queries: Vec<Query>,
    ) -> Result<Vec<Vec<Row>>, Failure> {
        self.reads
            .read(scope, queries.into_iter().map(Step::from).collect())
            .await
    }

    /// The same for `sql`, which is prepared, with the values that `query` holds.
    pub(super) async fn read_prepared(
        &self,
        scope: &Scope,
        sql: &'static str,
        values: impl Fn() -> Values,
    ) -> Result<Vec<Row>, Failure> {
        let _place = Place::take(&self.reads.under_way)?;
        let fly = async |session: &Session| {
            let statement = session.prepare(sql).await?;
            let mut steps = vec![Step::Prepared(statement, values())];
            surround(&mut steps, SNAPSHOT, scope);
            session.fly(&steps).await
        };
        let mut answers = self.reads.ask(fly).await?;
        Ok(answers.swap_remove(2))
    }

    /// As [`read`](Self::read), for what may take longer.
    pub(super) async fn search(
        &self,
        scope: &Scope,
        queries: Vec<Query>,
    ) -> Result<Vec<Vec<Row>>, Failure> {
        self.searches
            .read(scope, queries.into_iter().map(Step::from).collect())
            .await
    }

    /// Runs `work` in a transaction that is committed if it succeeds and undone if not, and again
    /// if it collides with another one.
    pub(super) async fn transact<T>(
        &self,
        scope: Scope,
        work: impl AsyncFn(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let _place = Place::take(&self.transacting)?;
        let closed = |_| StoreError::Unavailable("the store is closed".into());
        let _permit = self.permits.acquire().await.map_err(closed)?;
        let Some(number) = self.free.borrow_mut().pop() else {
            return Err(StoreError::Busy);
        };
        let _turn = Turn { pool: self, number };
        let mut tries = 1;
        loop {
            let session = self.transactions[number].session().await?;
            match transact_once(&session, &scope, &work).await {
                Err(failure) if failure.is_collision() && tries < TRIES => tries += 1,
                result => return Ok(result?),
            }
        }
    }
}

/// Reads see one state of the database, and change nothing.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The same for statements that the connection keeps. One plan serves all values, and it is made
/// when the tables may still be empty: so it must use the indexes that the statement was made for.
const SNAPSHOT_KEPT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SET LOCAL plan_cache_mode TO force_generic_plan; SET LOCAL enable_seqscan TO off";

impl Lane {
    async fn read(&self, scope: &Scope, mut steps: Vec<Step>) -> Result<Vec<Vec<Row>>, Failure> {
        let _place = Place::take(&self.under_way)?;
        let kept = steps
            .iter()
            .any(|step| matches!(step, Step::Query(query) if query.is_kept()));
        let begin = if kept { SNAPSHOT_KEPT } else { SNAPSHOT };
        surround(&mut steps, begin, scope);
        let fly = async |session: &Session| {
            session.keep(&steps).await?;
            session.fly(&steps).await
        };
        let mut answers = self.ask(fly).await?;
        answers.pop();
        answers.drain(..2);
        Ok(answers)
    }

    /// Lets `fly` read, and once more over another connection if that one turns out to be gone: a
    /// read changes nothing.
    async fn ask<T>(
        &self,
        fly: impl AsyncFn(&Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let session = self.link.session().await?;
        match fly(&session).await {
            Err(failure) if is_broken(&failure) => {
                self.link.forget(&session);
                fly(&*self.link.session().await?).await
            }
            answer => answer,
        }
    }
}

/// Did the connection break before it answered?
fn is_broken(failure: &Failure) -> bool {
    matches!(failure, Failure::Database(_)) && !failure.is_refusal()
}

/// Makes a whole transaction of `steps`: two before, one behind.
fn surround(steps: &mut Vec<Step>, begin: &'static str, scope: &Scope) {
    steps.splice(..0, [Step::Plain(begin), Step::Enter(scope.clone())]);
    steps.push(Step::Plain("COMMIT"));
}

async fn transact_once<T>(
    session: &Rc<Session>,
    scope: &Scope,
    work: &impl AsyncFn(&Transaction<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let transaction = Transaction {
        session,
        scope,
        state: Cell::new(State::Unopened),
        held: Cell::new(false),
    };
    let result = work(&transaction).await;
    if transaction.state.get() == State::Open {
        if result.is_ok() {
            session.fly(&[Step::Plain("COMMIT")]).await?;
        } else if session.is_up() && session.fly(&[Step::Plain("ROLLBACK")]).await.is_err() {
            session.give_up();
        }
    }
    result
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unopened,
    Open,
    Ended,
}

/// A transaction under way.
pub(super) struct Transaction<'s> {
    session: &'s Session,
    scope: &'s Scope,
    state: Cell<State>,
    /// A commit waits for what belongs to it.
    held: Cell<bool>,
}

impl Transaction<'_> {
    /// For whom it runs.
    pub(super) fn scope(&self) -> &Scope {
        self.scope
    }

    /// Runs `work`, whose commit only ends its part: the transaction goes on.
    pub(super) async fn part<T>(
        &self,
        work: impl AsyncFn(&Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.held.set(true);
        let result = work(self).await;
        self.held.set(false);
        result
    }

    /// The rows of each of `queries`.
    pub(super) async fn run(&self, queries: Vec<Query>) -> Result<Vec<Vec<Row>>, Failure> {
        self.run_steps(queries.into_iter().map(Step::from).collect())
            .await
    }

    /// Runs `queries` and commits; nothing may follow.
    pub(super) async fn commit(&self, queries: Vec<Query>) -> Result<Vec<Vec<Row>>, Failure> {
        self.commit_steps(queries.into_iter().map(Step::from).collect())
            .await
    }

    /// The statement `sql` with its values, prepared on the connection of this transaction.
    pub(super) async fn prepared(
        &self,
        sql: &'static str,
        values: Values,
    ) -> Result<Step, Failure> {
        Ok(Step::Prepared(self.session.prepare(sql).await?, values))
    }

    /// As [`run`](Self::run), for steps of every kind.
    pub(super) async fn run_steps(&self, steps: Vec<Step>) -> Result<Vec<Vec<Row>>, Failure> {
        self.fly(steps, false).await
    }

    /// As [`commit`](Self::commit), for steps of every kind.
    pub(super) async fn commit_steps(&self, steps: Vec<Step>) -> Result<Vec<Vec<Row>>, Failure> {
        self.fly(steps, true).await
    }

    async fn fly(&self, mut steps: Vec<Step>, commits: bool) -> Result<Vec<Vec<Row>>, Failure> {
        let commits = commits && !self.held.get();
        let count = steps.len();
        let mut before = 0;
        if self.state.get() == State::Unopened {
            steps.splice(..0, [Step::Plain("BEGIN"), Step::Enter(self.scope.clone())]);
            before = 2;
        }
        if commits {
            steps.push(Step::Plain("COMMIT"));
        }
        self.state
            .set(if commits { State::Ended } else { State::Open });
        let mut answers = self.session.fly(&steps).await?;
        answers.drain(..before);
        answers.truncate(count);
        Ok(answers)
    }
}

/// A whole transaction of `steps` that changes something, as one flight.
pub(super) fn whole(scopes: Vec<(Scope, Vec<Step>)>) -> Vec<Step> {
    let mut steps = vec![Step::Plain("BEGIN")];
    for (scope, part) in scopes {
        steps.push(Step::Enter(scope));
        steps.extend(part);
    }
    steps.push(Step::Plain("COMMIT"));
    steps
}

/// A place among those that wait.
struct Place<'c>(&'c Cell<usize>);

impl<'c> Place<'c> {
    fn take(count: &'c Cell<usize>) -> Result<Self, StoreError> {
        if count.get() >= WAITING_MAX {
            return Err(StoreError::Busy);
        }
        count.set(count.get() + 1);
        Ok(Self(count))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The use of one of the connections for transactions.
struct Turn<'p> {
    pool: &'p Pool,
    number: usize,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.pool.free.borrow_mut().push(self.number);
    }
}
