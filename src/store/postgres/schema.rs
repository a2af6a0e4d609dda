//! The schema, and the role that serves with it.
//!
//! Invariants: one program at a time migrates a database; a migration happens whole or not; a
//! database is at a version that this program knows before anything else touches it; row security
//! applies to the sessions that serve, or the store does not open.

use std::time::Duration;

use crate::store::cursor::CursorKey;
use tokio_postgres::{Client, Config, NoTls};

use super::failure;
use super::session::{CONNECT_MAX, STATEMENT_MAX};

/// Applied in order; the position plus one is the schema version.
const MIGRATIONS: [&str; 7] = [
    include_str!("../../../migrations/postgres/0001_memories.sql"),
    include_str!("../../../migrations/postgres/0002_row_security.sql"),
    include_str!("../../../migrations/postgres/0003_secrets.sql"),
    include_str!("../../../migrations/postgres/0004_mcp_tasks.sql"),
    include_str!("../../../migrations/postgres/0005_search.sql"),
    include_str!("../../../migrations/postgres/0006_messages.sql"),
    include_str!("../../../migrations/postgres/0007_idempotency.sql"),
];

/// Schema version that this program reads and writes.
pub const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

/// The role that serves: neither a superuser nor the owner of a table, so that policies bind it.
const ROLE: &str = "tmws_app";
/// Names the lock that a migration holds: "tmws" in ASCII.
const MIGRATION_LOCK: i64 = 0x746d_7773;
/// Longest wait for another program's migration.
const MIGRATION_WAIT: Duration = Duration::from_secs(60);
/// Pause between looks at that lock.
const MIGRATION_LOOK: Duration = Duration::from_millis(50);

/// Why a store could not be opened. No message holds a password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL cannot be understood.
    #[error("the database URL cannot be used: {0}")]
    Address(String),
    /// The URL asks for an encrypted connection.
    #[error(
        "the database URL asks for TLS, which this program does not speak to PostgreSQL; use a \
         private network or a local proxy that does, and sslmode=disable"
    )]
    Encryption,
    /// Nobody answers, or not with what is needed.
    #[error("cannot use the PostgreSQL database: {0}")]
    Database(String),
    /// The database was written by a newer program.
    #[error(
        "the database has schema version {found}, this program knows {known}; use a newer tmws"
    )]
    NewerSchema {
        /// Its schema version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// Another program does not finish its migration.
    #[error("another program has been migrating the database for a minute; wait for it")]
    Locked,
    /// Row security would be passed over.
    #[error(
        "the database user passes over row security and may not become the role {ROLE}; grant it \
         that role, or use another user"
    )]
    Unguarded,
}

impl From<tokio_postgres::Error> for OpenError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(failure::describe(&error))
    }
}

/// Brings the database at `url` to the current schema without serving it; returns the schema
/// version before and after. Runs on a `LocalSet`.
pub async fn migrate(url: &str) -> Result<(u32, u32), OpenError> {
    let client = connect(&super::address::parse(url)?).await?;
    bring_up(&client).await
}

/// The schema version of the database at `url`, 0 if it has none yet, without changing anything.
/// Whatever would stop the server's start is an error here too. Runs on a `LocalSet`.
pub async fn inspect(url: &str) -> Result<u32, OpenError> {
    let client = connect(&super::address::parse(url)?).await?;
    version(&client).await
}

/// Brings the database to the current schema and returns the settings of a session that serves,
/// and the key of cursors.
pub(super) async fn prepare(config: &Config) -> Result<(String, CursorKey), OpenError> {
    let client = connect(config).await?;
    bring_up(&client).await?;
    let role = serving_role(&client).await?;
    let key = "SELECT value FROM secret WHERE name = 'cursor'";
    let key = CursorKey::new(client.query_one(key, &[]).await?.try_get(0)?);
    let limit = STATEMENT_MAX.as_millis();
    let settings = format!(
        "SET search_path TO tmws, public; SET statement_timeout TO {limit};
         SET idle_in_transaction_session_timeout TO {limit}; SET synchronous_commit TO on;
         SET jit TO off; {role}"
    );
    Ok((settings, key))
}

/// A session of the user itself, without limits: for what takes the owner of the tables.
pub(super) async fn connect(config: &Config) -> Result<Client, OpenError> {
    let connecting = async {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::task::spawn_local(connection);
        client
            .batch_execute("SET client_min_messages TO warning; SET search_path TO tmws, public")
            .await?;
        Ok(client)
    };
    match tokio::time::timeout(CONNECT_MAX, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(OpenError::Database("it does not answer".into())),
    }
}

async fn bring_up(client: &Client) -> Result<(u32, u32), OpenError> {
    let found = version(client).await?;
    if found == SCHEMA_VERSION {
        return Ok((found, found));
    }
    let waiting = tokio::time::timeout(MIGRATION_WAIT, lock(client));
    waiting.await.map_err(|_| OpenError::Locked)??;
    // Whoever held the lock before may have done it all.
    let found = version(client).await?;
    for from in found..SCHEMA_VERSION {
        client.batch_execute(&migration(from)).await?;
    }
    client
        .execute("SELECT pg_advisory_unlock($1)", &[&MIGRATION_LOCK])
        .await?;
    Ok((found, SCHEMA_VERSION))
}

async fn lock(client: &Client) -> Result<(), OpenError> {
    loop {
        let taken = client
            .query_one("SELECT pg_try_advisory_lock($1)", &[&MIGRATION_LOCK])
            .await?;
        if taken.try_get(0)? {
            return Ok(());
        }
        tokio::time::sleep(MIGRATION_LOOK).await;
    }
}

/// The version of the database, 0 for an empty one.
async fn version(client: &Client) -> Result<u32, OpenError> {
    let there = "SELECT to_regclass('tmws.schema_version') IS NOT NULL";
    if !client.query_one(there, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(0);
    }
    let sql = "SELECT coalesce(max(version), 0) FROM tmws.schema_version";
    let found: i32 = client.query_one(sql, &[]).await?.try_get(0)?;
    let found = u32::try_from(found).unwrap_or_default();
    if found > SCHEMA_VERSION {
        return Err(OpenError::NewerSchema {
            found,
            known: SCHEMA_VERSION,
        });
    }
    Ok(found)
}

/// The statements that lead from version `from` to the next. The role is common to the databases of
/// a server; where the user may not create one, row security binds it as the tables' owner.
fn migration(from: u32) -> String {
    let (statements, to) = (MIGRATIONS[from as usize], from + 1);
    format!(
        "BEGIN;
         CREATE SCHEMA IF NOT EXISTS tmws;
         CREATE TABLE IF NOT EXISTS tmws.schema_version (version INTEGER PRIMARY KEY);
         {statements}
         INSERT INTO tmws.schema_version VALUES ({to});
         DO $$ BEGIN
             IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{ROLE}') THEN
                 CREATE ROLE {ROLE} NOLOGIN;
                 GRANT {ROLE} TO CURRENT_USER;
             END IF;
         EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
         END $$;
         DO $$ BEGIN
             IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{ROLE}') THEN
                 GRANT USAGE ON SCHEMA tmws TO {ROLE};
                 GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tmws TO {ROLE};
                 GRANT USAGE ON ALL SEQUENCES IN SCHEMA tmws TO {ROLE};
             END IF;
         END $$;
         COMMIT"
    )
}

/// The statement by which a session gives up the privileges that row security does not bind.
async fn serving_role(client: &Client) -> Result<String, OpenError> {
    let sql = "SELECT rolsuper OR rolbypassrls,
             (SELECT pg_has_role(current_user, oid, 'SET') FROM pg_roles WHERE rolname = $1)
         FROM pg_roles WHERE rolname = current_user";
    let row = client.query_one(sql, &[&ROLE]).await?;
    let (unbound, may_become): (bool, Option<bool>) = (row.try_get(0)?, row.try_get(1)?);
    match (unbound, may_become) {
        (_, Some(true)) => Ok(format!("SET ROLE {ROLE}")),
        (false, _) => Ok(String::new()),
        (true, _) => Err(OpenError::Unguarded),
    }
}
