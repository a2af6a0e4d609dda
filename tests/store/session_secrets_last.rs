//! The secret of sessions is the same on every node of a store and after every restart, and
//! another one in every store.

use tmws::store::Messages;
use tmws::store::postgres::{PostgresOptions, PostgresStore};

use crate::fixture::*;
use crate::service::Database;

on_every_store!(over_restarts);

fn secret(fixture: &Fixture) -> Vec<u8> {
    secret_of(&*fixture.store)
}

fn secret_of(store: &(impl Messages + ?Sized)) -> Vec<u8> {
    let secret = block(store.session_secret()).expect("a secret");
    assert_eq!(secret.len(), 32);
    secret
}

fn over_restarts(store: Backend) {
    let fixture = store.open();
    let before = secret(&fixture);
    assert_eq!(secret(&fixture), before);
    assert_eq!(secret(&fixture.reopen()), before);
}

#[test]
fn and_differ_between_directories() {
    let [one, two] = [(); 2].map(|()| secret(&Backend::Sqlite.open()));
    assert_ne!(one, two);
}

#[test]
fn and_differ_between_databases() {
    // Not a fixture's: those are copies of one database.
    let [one, two] = [(); 2].map(|()| {
        let database = Database::empty();
        let options = PostgresOptions::new(&database.url);
        let store = block(PostgresStore::connect(options)).expect("the store opens");
        secret_of(&store)
    });
    assert_ne!(one, two);
}

#[test]
fn and_are_shared_by_nodes() {
    let one = Backend::Postgres.open();
    assert_eq!(secret(&one.another_node()), secret(&one));
}
