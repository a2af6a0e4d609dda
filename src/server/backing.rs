//! Which store the server runs on.

use std::rc::Rc;

use super::ServerError;
use crate::config::Config;
use crate::store::Store;
use crate::store::postgres::{PostgresOptions, PostgresStore};
use crate::store::sqlite::{SqliteOptions, SqliteStore};

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

    /// The store for the thread that asks, on whose `LocalSet` it lives.
    pub(super) async fn connect(&self) -> Result<Rc<dyn Store>, ServerError> {
        Ok(match self {
            Self::Embedded(store) => Rc::new(store.clone()),
            Self::Postgres(options) => Rc::new(PostgresStore::connect(options.clone()).await?),
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
