//! The PostgreSQL that the tests share, with a database for each of them.
//!
//! `POSTGRES_TEST_URL` names it by URL; without that, `tests/services/postgres` brings one up.

use std::process::Command;
use std::sync::OnceLock;

use tmws::store::postgres;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::fixture::block;

/// What one test process at a time does to the templates.
const TEMPLATE_LOCK: i64 = 0x7465_7374;

/// A database of a test's own, dropped with it.
pub(crate) struct Database {
    name: String,
    pub(crate) url: String,
}

impl Database {
    /// At the current schema, without a row in it.
    pub(crate) fn migrated() -> Self {
        let database = Self::named();
        block(async {
            let admin = admin().await;
            let template = template(&admin).await;
            let sql = format!("CREATE DATABASE {} TEMPLATE {template}", database.name);
            admin
                .batch_execute(&sql)
                .await
                .expect("a database from the template");
        });
        database
    }

    /// With nothing in it.
    pub(crate) fn empty() -> Self {
        let database = Self::named();
        block(async {
            let sql = format!("CREATE DATABASE {}", database.name);
            admin().await.batch_execute(&sql).await.expect("a database");
        });
        database
    }

    fn named() -> Self {
        let name = format!("test_{}", Uuid::new_v4().simple());
        let url = url_of(&name);
        Self { name, url }
    }

    /// A connection of the superuser.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.url)
            .await
            .expect("a connection to the test's database")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        block(async {
            // Left behind, it goes when the server does.
            let _ = admin().await.batch_execute(&sql).await;
        });
    }
}

/// The URL of the shared server.
fn server() -> &'static str {
    static SERVER: OnceLock<String> = OnceLock::new();
    SERVER.get_or_init(|| match std::env::var("POSTGRES_TEST_URL") {
        Ok(url) => url,
        Err(_) => script(&["up"], ""),
    })
}

/// What `tests/services/postgres` answers; `flags` are options of the server.
pub(crate) fn script(arguments: &[&str], flags: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/postgres");
    let output = Command::new(path)
        .args(arguments)
        .env("POSTGRES_TEST_FLAGS", flags)
        .output()
        .expect("tests/services/postgres runs");
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().into()
}

fn url_of(database: &str) -> String {
    let (server, _) = server().rsplit_once('/').expect("a URL with a database");
    format!("{server}/{database}")
}

pub(crate) async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::task::spawn_local(connection);
    Ok(client)
}

async fn admin() -> Client {
    connect(server())
        .await
        .expect("the PostgreSQL of the tests answers")
}

/// The database that others are copied from; one for each state of the migrations.
async fn template(admin: &Client) -> String {
    let migrations = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres");
    let files = std::fs::read_dir(migrations).expect("the migrations");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort_unstable();
    let texts = files
        .iter()
        .flat_map(|file| std::fs::read(file).expect("a migration"));
    let hash = texts.fold(0_u64, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    let name = format!("tmws_template_{hash:x}");
    let lock = format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})");
    admin.batch_execute(&lock).await.expect("the lock");
    let known = "SELECT 1 FROM pg_database WHERE datname = $1 AND datistemplate";
    let known = admin.query_opt(known, &[&name]).await.expect("an answer");
    if known.is_none() {
        let create = format!("DROP DATABASE IF EXISTS {name}");
        admin
            .batch_execute(&create)
            .await
            .expect("no half-made template");
        let create = format!("CREATE DATABASE {name}");
        admin.batch_execute(&create).await.expect("a template");
        postgres::migrate(&url_of(&name))
            .await
            .expect("the migrations apply");
        let finish = format!("ALTER DATABASE {name} IS_TEMPLATE true");
        admin
            .batch_execute(&finish)
            .await
            .expect("a finished template");
    }
    let unlock = format!("SELECT pg_advisory_unlock({TEMPLATE_LOCK})");
    admin.batch_execute(&unlock).await.expect("unlocked");
    name
}
