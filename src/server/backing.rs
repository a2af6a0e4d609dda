//! Which store the server runs on.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::ServerError;
use crate::config::Config;
use crate::store::Store;
use crate::store::postgres::{PostgresOptions, PostgresStore};
use crate::store::sqlite::{OpenError, SqliteOptions, SqliteStore};
use crate::telemetry::performance::EmbeddedLoad;

/// Time for the server before to drain and to close the store: it has 10 s for that.
const PREDECESSOR_PATIENCE: Duration = Duration::from_secs(15);
/// Pause between two looks whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The store of the process, from which every thread takes its own handle.
#[derive(Clone)]
pub(super) enum Backing {
    /// In the data directory; one for all threads.
    Embedded(SqliteStore),
    /// A database, to which each thread has its own connections.
    Postgres(PostgresOptions),
}

impl Backing {
    /// Opens the store that the configuration names.
    pub(super) fn open(config: &Config) -> Result<Self, ServerError> {
        if let Some(url) = &config.database {
            return Ok(Self::Postgres(PostgresOptions::new(url.reveal())));
        }
        let store = SqliteStore::open(&config.data_dir, SqliteOptions::default())?;
        Ok(Self::Embedded(store))
    }

    /// The same; if another server `drains`, waits for it to let the embedded store go.
    pub(super) async fn open_in_time(config: &Config, drains: bool) -> Result<Self, ServerError> {
        let started = Instant::now();
        let mut said = 0;
        loop {
            match Self::open(config) {
                Err(ServerError::Store(OpenError::InUse(_)))
                    if drains && started.elapsed() < PREDECESSOR_PATIENCE =>
                {
                    if started.elapsed().as_secs() > said {
                        said = started.elapsed().as_secs();
                        tracing::info!(
                            seconds = said,
                            "waiting for the old server to close its store"
                        );
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                opened => return opened,
            }
        }
    }

    /// The store for the thread that asks, on whose `LocalSet` it lives.
    pub(super) async fn connect(&self) -> Result<Rc<dyn Store>, ServerError> {
        Ok(match self {
            Self::Embedded(store) => Rc::new(store.clone()),
            Self::Postgres(options) => Rc::new(PostgresStore::connect(options.clone()).await?),
        })
    }

    /// What the embedded store has done.
    pub(super) fn load(&self) -> Option<EmbeddedLoad> {
        let Self::Embedded(store) = self else {
            return None;
        };
        let (writer, (readers, read)) = (store.writer_stats(), store.reader_stats());
        Some(EmbeddedLoad {
            writer_ns: writer.worked.as_nanos() as u64,
            reader_ns: read.as_nanos() as u64,
            readers: readers as u64,
            requests: writer.requests,
            transactions: writer.transactions,
            failures: writer.failures,
        })
    }

    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// Finishes what is queued. Blocks.
    pub(super) fn close(&self) {
        match self {
            Self::Embedded(store) => store.close(),
            // Its queues are with the shards, which have ended.
            Self::Postgres(_) => {}
        }
    }
}
