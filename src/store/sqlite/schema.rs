//! The data directory, its lock, its connections and its schema.
//!
//! Invariants: one process at a time holds a data directory; a database is at a schema version
//! that this program knows before anything else touches it; all migrations of a start happen or none.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::functions;

/// The database inside the data directory.
const DATABASE: &str = "tmws.db";
/// The file whose lock says that a server uses the directory.
const LOCK: &str = "tmws.lock";

/// Applied in order; the position plus one is the schema version.
const MIGRATIONS: [&str; 6] = [
    include_str!("../../../migrations/sqlite/0001_memories.sql"),
    include_str!("../../../migrations/sqlite/0002_agents.sql"),
    include_str!("../../../migrations/sqlite/0003_meaning.sql"),
    include_str!("../../../migrations/sqlite/0004_mcp_tasks.sql"),
    include_str!("../../../migrations/sqlite/0005_messages.sql"),
    include_str!("../../../migrations/sqlite/0006_idempotency.sql"),
];

/// What the first of them come to, for a database that has nothing to migrate yet, and how many those are.
const BASELINE: (usize, &str) = (
    3,
    include_str!("../../../migrations/sqlite/baseline_0003.sql"),
);

/// Schema version that this program reads and writes.
pub const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

/// Longest wait for a lock of another process (a backup, a shell). Short, because a writer that
/// waits holds back every write; the caller is told to try again.
const BUSY_TIMEOUT: Duration = Duration::from_millis(500);
/// Page cache of the writer: the upper levels of all indexes of a million memories.
const WRITER_CACHE_KIB: i64 = 64 * 1024;
/// Page cache of each reader; what it misses comes from the mapping.
const READER_CACHE_KIB: i64 = 16 * 1024;
/// Bytes of the database that readers map instead of copying pages; address space, not memory.
const READER_MMAP_BYTES: i64 = 4 << 30;
/// Pages in the log before a commit checkpoints: 16 MiB, so that bursts pay for it rarely and a
/// reader never searches a long log.
const AUTOCHECKPOINT_PAGES: i64 = 4_096;
/// The log file is cut back to this after a burst.
const LOG_BYTES_KEPT: i64 = 64 << 20;
/// Compiled statements kept per connection; the store has about forty and the filters some more.
const STATEMENTS_CACHED: usize = 128;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another store in this one, holds the directory.
    #[error(
        "the data directory {0} is in use by another server; stop it or choose another --data-dir"
    )]
    InUse(PathBuf),
    /// The database was written by a newer program.
    #[error(
        "the database {path} has schema version {found}, this program knows {known}; use a newer tmws"
    )]
    NewerSchema {
        /// The database file.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// The directory or a file in it cannot be used.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database cannot be opened or migrated.
    #[error("cannot open the database {path}: {message}")]
    Database {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        message: String,
    },
}

/// A data directory that this process holds. Threads keep a clone until they are done with it.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) database: PathBuf,
    /// Unlocks when it is closed.
    _lock: File,
}

impl Directory {
    /// Creates the directory if need be, readable by its owner only, and takes its lock.
    pub(super) fn acquire(dir: &Path) -> Result<Self, OpenError> {
        let file = |path: &Path| {
            let path = path.to_path_buf();
            move |source| OpenError::File { path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(file(dir))?;
        let lock_path = dir.join(LOCK);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(file(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(OpenError::InUse(dir.to_path_buf()));
            }
            Err(std::fs::TryLockError::Error(source)) => {
                return Err(OpenError::File {
                    path: lock_path,
                    source,
                });
            }
        }
        Ok(Self {
            database: dir.join(DATABASE),
            _lock: lock,
        })
    }

    /// The connection of the writer, at the current schema, after `first` has written what it wants to.
    pub(super) fn open_writer(
        &self,
        bytes_max: Option<u64>,
        first: impl FnOnce(&Connection),
    ) -> Result<Connection, OpenError> {
        let mut connection = self.wrap(Connection::open(&self.database))?;
        self.wrap(configure_writer(&connection, bytes_max))?;
        self.migrate(&mut connection, first)?;
        Ok(connection)
    }

    /// A connection that cannot write.
    pub(super) fn open_reader(&self) -> Result<Connection, OpenError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = self.wrap(Connection::open_with_flags(&self.database, flags))?;
        self.wrap(configure_reader(&connection))?;
        Ok(connection)
    }

    /// Brings the schema up to [`SCHEMA_VERSION`]; returns the version before and after. What `first` writes
    /// is committed with the migrations, if there are any: the disk is waited for once.
    fn migrate(
        &self,
        connection: &mut Connection,
        first: impl FnOnce(&Connection),
    ) -> Result<(u32, u32), OpenError> {
        let from =
            self.wrap(connection.pragma_query_value(None, "user_version", |row| row.get(0)))?;
        if from > SCHEMA_VERSION {
            return Err(OpenError::NewerSchema {
                path: self.database.clone(),
                found: from,
                known: SCHEMA_VERSION,
            });
        }
        if from < SCHEMA_VERSION {
            self.wrap(apply(connection, from as usize, first))?;
        } else {
            first(connection);
        }
        Ok((from, SCHEMA_VERSION))
    }

    fn wrap<T>(&self, result: rusqlite::Result<T>) -> Result<T, OpenError> {
        result.map_err(|error| OpenError::Database {
            path: self.database.clone(),
            message: error.to_string(),
        })
    }
}

/// Brings the database of the data directory `dir` to the current schema without serving it;
/// returns the schema version before and after.
pub fn migrate(dir: &Path) -> Result<(u32, u32), OpenError> {
    let directory = Directory::acquire(dir)?;
    let mut connection = directory.wrap(Connection::open(&directory.database))?;
    directory.wrap(configure_writer(&connection, None))?;
    directory.migrate(&mut connection, |_| ())
}

/// Looks at the database of the data directory `dir` without changing it: its schema version, or
/// `None` if there is none yet. Whatever would stop the server's start is an error here too.
pub fn inspect(dir: &Path) -> Result<Option<u32>, OpenError> {
    if !dir.join(DATABASE).exists() {
        return Ok(None);
    }
    let directory = Directory::acquire(dir)?;
    let connection = directory.open_reader()?;
    let found =
        directory.wrap(connection.pragma_query_value(None, "user_version", |row| row.get(0)))?;
    if found > SCHEMA_VERSION {
        return Err(OpenError::NewerSchema {
            path: directory.database.clone(),
            found,
            known: SCHEMA_VERSION,
        });
    }
    let verdict: String =
        directory.wrap(connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)))?;
    if verdict == "ok" {
        return Ok(Some(found));
    }
    Err(OpenError::Database {
        path: directory.database.clone(),
        message: verdict,
    })
}

/// Applies the migrations after version `from` together: a first start waits for the disk once, not for each.
fn apply(
    connection: &mut Connection,
    from: usize,
    first: impl FnOnce(&Connection),
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let (covered, baseline) = BASELINE;
    let missing = match from {
        0 => {
            transaction.execute_batch(baseline)?;
            &MIGRATIONS[covered..]
        }
        _ => &MIGRATIONS[from..],
    };
    for migration in missing {
        transaction.execute_batch(migration)?;
    }
    // Inside the transaction: the version and the tables it stands for change together.
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    first(&transaction);
    transaction.commit()
}

fn configure_writer(connection: &Connection, bytes_max: Option<u64>) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    keep_plans(connection)?;
    functions::register(connection)?;
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages == 0 {
        // There is nothing that a rollback journal could bring back, and making one takes four syncs of the disk.
        connection.pragma_update(None, "journal_mode", "off")?;
    }
    connection.pragma_update(None, "journal_mode", "wal")?;
    // An acknowledged write survives power loss: the log is synced at every commit.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", AUTOCHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    if let Some(bytes) = bytes_max {
        let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        // The pragma takes a signed number of 32 bits.
        let pages = (bytes / page as u64).clamp(1, i32::MAX as u64) as i64;
        connection.pragma_update(None, "max_page_count", pages)?;
    }
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    Ok(())
}

/// Makes plans independent of bound values. Otherwise SQLite takes a cached statement whose values
/// are cleared, as the statement cache does, for one that must be prepared again: a third of the
/// CPU of 1,000 clients that store and search (`perf/storm`).
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map(drop)
}

fn configure_reader(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    keep_plans(connection)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    connection.pragma_update(None, "mmap_size", READER_MMAP_BYTES)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{BASELINE, MIGRATIONS, functions};

    fn database(statements: &[&str]) -> Connection {
        let connection = Connection::open_in_memory().expect("memory");
        functions::register(&connection).expect("registered");
        for batch in statements {
            connection.execute_batch(batch).expect("applied");
        }
        connection
    }

    /// The answer of a query, a line for each row.
    fn rows(connection: &Connection, sql: &str) -> Vec<String> {
        let mut statement = connection.prepare(sql).expect("SQL");
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            let values = (0..columns).map(|at| row.get_ref(at).map(|value| format!("{value:?}")));
            Ok(values.collect::<Result<Vec<_>, _>>()?.join(" "))
        });
        rows.expect("rows")
            .collect::<Result<_, _>>()
            .expect("values")
    }

    /// Everything that SQL can ask of a schema: tables and their kinds, columns, keys, indexes, and the text of
    /// triggers and of partial indexes but for its spaces.
    fn described(connection: &Connection) -> Vec<String> {
        [
            "SELECT name, type, ncol, wr, strict FROM pragma_table_list ORDER BY name",
            "SELECT t.name, c.cid, c.name, c.type, c.\"notnull\", c.dflt_value, c.pk
             FROM pragma_table_list t, pragma_table_xinfo(t.name) c ORDER BY t.name, c.cid",
            "SELECT t.name, f.\"table\", f.\"from\", f.\"to\", f.on_delete
             FROM pragma_table_list t, pragma_foreign_key_list(t.name) f ORDER BY t.name, f.id",
            "SELECT t.name, i.name, i.\"unique\", i.origin, i.partial, x.seqno, x.name
             FROM pragma_table_list t, pragma_index_list(t.name) i, pragma_index_xinfo(i.name) x
             ORDER BY t.name, i.name, x.seqno",
            "SELECT type, name, replace(replace(sql, char(10), ''), ' ', '') FROM sqlite_schema
             WHERE type IN ('index', 'trigger') ORDER BY name",
            "SELECT * FROM counter ORDER BY name",
            "SELECT name, length(value) FROM secret ORDER BY name",
        ]
        .iter()
        .flat_map(|sql| rows(connection, sql))
        .collect()
    }

    #[test]
    fn the_baseline_is_what_the_migrations_before_it_come_to() {
        let (covered, baseline) = BASELINE;
        let migrated = described(&database(&MIGRATIONS[..covered]));
        assert!(migrated.len() > 100, "{migrated:#?}");
        assert_eq!(described(&database(&[baseline])), migrated);
    }

    #[test]
    fn checks_of_a_value_outlive_the_baseline() {
        let (_, baseline) = BASELINE;
        let checks = |text: &str| text.matches("CHECK (").count();
        let (covered, _) = BASELINE;
        let migrations: usize = MIGRATIONS[..covered].iter().map(|text| checks(text)).sum();
        assert_eq!(checks(baseline), migrations);
    }
}
