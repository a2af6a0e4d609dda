//! A program leaves a database alone that a newer one has written, and several that start at once
//! migrate it once.

use tmws::store::postgres::{OpenError, PostgresOptions, PostgresStore, SCHEMA_VERSION, migrate};

use crate::fixture::*;
use crate::service::Database;

#[test]
fn and_migrates_older_ones_once() {
    let database = Database::empty();
    let connect = || PostgresStore::connect(PostgresOptions::new(database.url.clone()));
    block(async {
        let (one, other, third) = tokio::join!(migrate(&database.url), connect(), connect());
        let (from, to) = one.expect("migrated");
        assert!(from == 0 || from == SCHEMA_VERSION, "{from}");
        assert_eq!(to, SCHEMA_VERSION);
        assert!(other.is_ok() && third.is_ok());
        let again = migrate(&database.url).await.expect("nothing to do");
        assert_eq!(again, (SCHEMA_VERSION, SCHEMA_VERSION));
        let newer = format!(
            "INSERT INTO tmws.schema_version VALUES ({})",
            SCHEMA_VERSION + 1
        );
        database
            .client()
            .await
            .batch_execute(&newer)
            .await
            .expect("written");
        let refused = connect().await.err().expect("refused");
        assert!(
            matches!(refused, OpenError::NewerSchema { found, .. } if found == SCHEMA_VERSION + 1),
            "{refused}"
        );
        assert!(matches!(
            migrate(&database.url).await,
            Err(OpenError::NewerSchema { .. })
        ));
    });
}

#[test]
fn and_says_so_when_nobody_answers() {
    let options = PostgresOptions::new("postgres://a:geheim@127.0.0.1:9/x");
    let refused = block(PostgresStore::connect(options))
        .err()
        .expect("nobody is there");
    assert!(matches!(refused, OpenError::Database(_)), "{refused}");
    assert!(!refused.to_string().contains("geheim"), "{refused}");
}
