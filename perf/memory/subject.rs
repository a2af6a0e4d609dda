//! A store of either kind, opened, closed and opened again.

use std::future::Future;
use std::rc::Rc;

use tmws::store::Store;
use tmws::store::postgres::{PostgresOptions, PostgresStore};
use tmws::store::sqlite::{SqliteOptions, SqliteStore};

/// Runs `future` as a shard would.
pub(crate) fn on_shard<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

/// Where a store keeps its data.
pub(crate) enum Place {
    Directory(tempfile::TempDir),
    Database(String),
}

/// An open store.
pub(crate) struct Subject {
    pub(crate) store: Rc<dyn Store>,
    sqlite: Option<SqliteStore>,
}

impl Place {
    /// An empty place: a directory, or a new database of the server at `url`.
    pub(crate) async fn new(url: Option<&str>) -> Self {
        let Some(url) = url else {
            return Self::Directory(tempfile::tempdir().expect("a temporary directory"));
        };
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
            .await
            .expect("PostgreSQL answers");
        tokio::task::spawn_local(connection);
        let name = format!("perf_{}", uuid::Uuid::new_v4().simple());
        let create = format!("CREATE DATABASE {name}");
        client
            .batch_execute(&create)
            .await
            .expect("a database can be created");
        let (server, _) = url.rsplit_once('/').expect("a URL with a database");
        Self::Database(format!("{server}/{name}"))
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Directory(_) => "sqlite",
            Self::Database(_) => "postgres",
        }
    }

    pub(crate) async fn open(&self) -> Subject {
        match self {
            Self::Directory(dir) => {
                let store = SqliteStore::open(dir.path(), SqliteOptions::default());
                let store = store.expect("the store opens");
                Subject {
                    store: Rc::new(store.clone()),
                    sqlite: Some(store),
                }
            }
            Self::Database(url) => {
                let store = PostgresStore::connect(PostgresOptions::new(url.as_str())).await;
                Subject {
                    store: Rc::new(store.expect("the database opens")),
                    sqlite: None,
                }
            }
        }
    }

    /// Has a graph of vectors been built?
    pub(crate) async fn has_graph(&self) -> bool {
        let Self::Database(url) = self else {
            return false;
        };
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
            .await
            .expect("PostgreSQL answers");
        tokio::task::spawn_local(connection);
        let sql = "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
             WHERE c.relname LIKE 'memory_vector_graph_%' AND i.indisvalid";
        let row = client.query_one(sql, &[]).await.expect("a count");
        row.get::<_, i64>(0) > 0
    }
}

impl Subject {
    /// Bytes of vectors in memory.
    pub(crate) fn vector_bytes(&self) -> Option<usize> {
        self.sqlite
            .as_ref()
            .map(|store| store.index_size().vector_bytes)
    }

    pub(crate) fn close(self) {
        if let Some(store) = self.sqlite {
            store.close();
        }
    }
}
