//! Which store the server runs on.

use std::rc::Rc;

use super::ServerError;
use crate::config::Config;
use crate::store::Store;
use crate::store::sqlite::{SqliteOptions, SqliteStore};

/// The store of the process, from which every shard takes its own handle.
#[derive(Clone)]
pub(super) enum Backing {
    /// In the data directory.
    Embedded(SqliteStore),
}

impl Backing {
    /// Opens the store that the configuration names.
    pub(super) async fn open(config: &Config) -> Result<Self, ServerError> {
        let store = SqliteStore::open(&config.data_dir, SqliteOptions::default())?;
        Ok(Self::Embedded(store))
    }

    /// The store for the thread that asks.
    pub(super) async fn connect(&self) -> Result<Rc<dyn Store>, ServerError> {
        match self {
            Self::Embedded(store) => Ok(Rc::new(store.clone())),
        }
    }

    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "sqlite",
        }
    }

    /// Finishes what is queued. Blocks.
    pub(super) fn close(&self) {
        match self {
            Self::Embedded(store) => store.close(),
        }
    }
}
