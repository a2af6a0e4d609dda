//! Memories and messages that were acknowledged are there after the process was killed in the middle of
//! its writes.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use tmws::domain::Timestamp;
use tmws::store::sqlite::{SqliteOptions, SqliteStore};
use tmws::store::{Messages, Store};
use uuid::Uuid;

use crate::fixture::*;
use crate::mail::*;

/// Tells the child which directory to fill.
const DIRECTORY: &str = "TMWS_TEST_STORE_DIRECTORY";
const ROUNDS: usize = 5;
const MARK: &str = "acknowledged ";
/// In front of what is the id of a message.
const POSTED: &str = "posted ";

#[test]
fn in_a_loop() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut acknowledged: Vec<Uuid> = Vec::new();
    let mut posted: Vec<Uuid> = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args([
                "--exact",
                "sqlite_survives_sigkill::child",
                "--ignored",
                "--nocapture",
            ])
            .env(DIRECTORY, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut heard = 0;
        for line in lines.map_while(Result::ok) {
            // The test harness begins its own line before the first mark.
            if let Some((_, id)) = line.split_once(MARK).filter(|(_, id)| id.len() == 36) {
                acknowledged.push(id.parse().expect("an id"));
                heard += 1;
            }
            if let Some((_, id)) = line.split_once(POSTED).filter(|(_, id)| id.len() == 36) {
                posted.push(id.parse().expect("an id"));
            }
            if heard == 40 + 17 * round {
                // SIGKILL; what is still in the pipe is read to its end.
                child.kill().expect("killed");
            }
        }
        child.wait().expect("gone");
    }
    assert!(acknowledged.len() > ROUNDS * 40);
    let store = SqliteStore::open(dir.path(), SqliteOptions::default()).expect("open");
    for id in acknowledged {
        assert!(
            block(store.get_memory(&alice(), id)).is_ok(),
            "{id} was lost"
        );
    }
    let waiting = block(store.waiting_messages(&bob().key, 10_000)).expect("an answer");
    let waiting: HashSet<_> = waiting.iter().map(|waiting| waiting.message.id).collect();
    assert!(posted.len() > ROUNDS);
    for id in posted {
        assert!(waiting.contains(&id), "the message {id} was lost");
    }
    let database = rusqlite::Connection::open(dir.path().join("tmws.db")).expect("open");
    let check: String = database
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("checked");
    assert_eq!(check, "ok");
}

/// Not a test: what the killed process runs.
#[test]
#[ignore = "is run by in_a_loop"]
fn child() {
    let Ok(dir) = std::env::var(DIRECTORY) else {
        return;
    };
    let store = SqliteStore::open(Path::new(&dir), SqliteOptions::default()).expect("open");
    let mut out = std::io::stdout();
    loop {
        let answers: Vec<_> = (0..8)
            .map(|_| store.create_memories(vec![new(&alice(), "durable")]))
            .collect();
        for answer in answers {
            let id = block(answer).expect("committed")[0]
                .as_ref()
                .expect("stored")
                .id;
            if writeln!(out, "{MARK}{id}").is_err() {
                return;
            }
        }
        let message = message_at(Timestamp::now(), "durable");
        let new = new_message(&message, vec![inbox(&bob())]);
        let answers = block(store.post_messages(vec![new])).expect("committed");
        answers[0].as_ref().expect("stored");
        if writeln!(out, "{POSTED}{}", message.id).is_err() {
            return;
        }
    }
}
