//! Whatever happens to PostgreSQL, callers get an error that they may try again after, nothing
//! that was acknowledged is lost, and the store works again without a restart.
//!
//! `KILL_CYCLES` says how often it is killed under load.

use std::cell::RefCell;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tmws::store::postgres::{PostgresOptions, PostgresStore};
use tmws::store::{Store, StoreError};
use uuid::Uuid;

use crate::fixture::*;
use crate::service::{connect, script};

/// Longest wait for anything here; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);
const CALLERS: usize = 16;

/// A PostgreSQL of one test's own.
struct Instance {
    name: String,
    url: String,
    flags: &'static str,
}

impl Instance {
    fn up(name: &str, flags: &'static str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let url = script(&["up", &name], flags);
        Self { name, url, flags }
    }

    fn open(&self) -> PostgresStore {
        block(PostgresStore::connect(PostgresOptions::new(
            self.url.clone(),
        )))
        .expect("open")
    }

    /// Sends a signal to every process of it.
    fn signal(&self, signal: &str) {
        let postmaster = script(&["pid", &self.name], "");
        let children = Command::new("pgrep")
            .args(["-P", &postmaster])
            .output()
            .expect("pgrep");
        let children = String::from_utf8_lossy(&children.stdout).into_owned();
        // The postmaster first: it must not notice that the others go.
        let all = std::iter::once(&*postmaster).chain(children.split_whitespace());
        Command::new("kill")
            .arg(signal)
            .args(all)
            .status()
            .expect("kill");
    }

    /// Starts it again, while the tasks of the test go on.
    async fn again(&self) {
        let (name, flags) = (self.name.clone(), self.flags);
        let up = move || script(&["up", &name], flags);
        tokio::task::spawn_blocking(up)
            .await
            .expect("it comes up again");
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Also one that was stopped by a signal.
        if let Ok(output) = std::panic::catch_unwind(|| script(&["pid", &self.name], "")) {
            let _ = Command::new("pkill")
                .args(["-CONT", "-P", &output])
                .status();
            let _ = Command::new("kill").args(["-CONT", &output]).status();
        }
        script(&["down", &self.name], "");
    }
}

#[track_caller]
fn assert_retryable(error: &StoreError) {
    assert!(
        matches!(error, StoreError::Unavailable(_) | StoreError::Busy),
        "{error:?}"
    );
}

async fn create(store: &PostgresStore, text: &str) -> Result<Uuid, StoreError> {
    let mut results = store.create_memories(vec![new(&alice(), text)]).await?;
    results.remove(0).map(|memory| memory.id)
}

/// Tries until a create succeeds.
async fn recovered(store: &PostgresStore) -> Uuid {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match create(store, "after").await {
            Ok(id) => return id,
            Err(error) => assert_retryable(&error),
        }
        assert!(Instant::now() < deadline, "it does not recover");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What callers have seen under load.
#[derive(Default)]
struct Seen {
    acknowledged: Vec<Uuid>,
    refused: u64,
    over: bool,
}

async fn call(store: PostgresStore, caller: usize, seen: Rc<RefCell<Seen>>) {
    let mut number = 0;
    while !seen.borrow().over {
        number += 1;
        let created = create(&store, &format!("memory {number} of {caller}")).await;
        match created {
            Ok(id) => {
                seen.borrow_mut().acknowledged.push(id);
                if let Err(error) = store.get_memory(&alice(), id).await {
                    assert_retryable(&error);
                }
            }
            Err(error) => {
                assert_retryable(&error);
                seen.borrow_mut().refused += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

#[test]
fn from_being_killed_under_load() {
    let cycles = std::env::var("KILL_CYCLES")
        .ok()
        .and_then(|text| text.parse().ok());
    let instance = Instance::up("kill", "");
    let store = instance.open();
    let seen = Rc::new(RefCell::new(Seen::default()));
    block(async {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| tokio::task::spawn_local(call(store.clone(), caller, seen.clone())))
            .collect();
        for cycle in 0..cycles.unwrap_or(3) {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let before = seen.borrow().acknowledged.len();
            assert!(before > 0, "cycle {cycle}: nothing was stored");
            instance.signal("-KILL");
            tokio::time::sleep(Duration::from_millis(100)).await;
            let asked = Instant::now();
            let down = store.get_memory(&alice(), Uuid::now_v7()).await;
            assert_retryable(&down.expect_err("it is down"));
            assert!(asked.elapsed() < PATIENCE / 6, "told soon");
            instance.again().await;
            recovered(&store).await;
        }
        seen.borrow_mut().over = true;
        for caller in callers {
            caller.await.expect("no caller panics");
        }
        let Seen {
            acknowledged,
            refused,
            ..
        } = seen.take();
        assert!(refused > 0, "the kills were noticed");
        let client = connect(&instance.url).await.expect("a connection");
        let sql = "SELECT count(*) FROM tmws.memory WHERE id = ANY ($1)";
        let there: i64 = client
            .query_one(sql, &[&acknowledged])
            .await
            .expect("a count")
            .get(0);
        assert_eq!(
            there as usize,
            acknowledged.len(),
            "all that was acknowledged is there"
        );
    });
}

#[test]
fn from_answering_nothing() {
    let instance = Instance::up("stop", "");
    let store = instance.open();
    block(async {
        let id = create(&store, "before").await.expect("stored");
        instance.signal("-STOP");
        let asked = Instant::now();
        let (read, written, found) = tokio::join!(
            store.get_memory(&alice(), id),
            create(&store, "meanwhile"),
            store.memory_stats(&alice()),
        );
        assert_retryable(&read.expect_err("no answer"));
        assert_retryable(&written.expect_err("no answer"));
        assert_retryable(&found.expect_err("no answer"));
        assert!(asked.elapsed() < PATIENCE, "a bounded wait");
        instance.signal("-CONT");
        recovered(&store).await;
        // A connection that could not be made meanwhile is tried again after a pause.
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = store.get_memory(&alice(), id).await {
            assert_retryable(&error);
            assert!(Instant::now() < deadline, "it does not recover");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn from_having_no_connection_left() {
    let instance = Instance::up("full", "-c max_connections=8");
    let store = instance.open();
    block(async {
        let mut others = Vec::new();
        while let Ok(other) = connect(&instance.url).await {
            others.push(other);
            assert!(others.len() < 100, "there is an end to it");
        }
        let full = create(&store, "no room").await.expect_err("no connection");
        assert!(
            matches!(&full, StoreError::Unavailable(reason) if reason.contains("max_connections")),
            "{full:?}"
        );
        drop(others);
        recovered(&store).await;
    });
}

#[test]
fn from_sessions_that_an_operator_ends() {
    let database = crate::service::Database::migrated();
    let store = block(PostgresStore::connect(PostgresOptions::new(
        database.url.clone(),
    )));
    let store = store.expect("open");
    block(async {
        let id = create(&store, "before").await.expect("stored");
        let client = database.client().await;
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = 'tmws' AND datname = current_database()";
        client.batch_execute(end).await.expect("ended");
        // A read may be asked again, so its caller need not notice.
        assert!(store.get_memory(&alice(), id).await.is_ok());
        recovered(&store).await;
    });
}
