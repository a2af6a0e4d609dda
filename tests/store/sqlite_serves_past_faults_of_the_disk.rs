//! A file system that refuses writes makes the store unavailable for writes alone, loses nothing
//! that was acknowledged, and is noticed when it takes writes again, without reopening.
//!
//! Both faults take privileges. Without them a test says that it did not run; with them, whatever
//! keeps it from running is a failure.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tmws::store::sqlite::{SqliteOptions, SqliteStore};
use tmws::store::{Store, StoreError};
use uuid::Uuid;

use crate::fixture::*;

/// Bit of CAP_LINUX_IMMUTABLE: `chattr +i`.
const IMMUTABLE: u32 = 9;
/// Bit of CAP_SYS_ADMIN: `mount`.
const ADMIN: u32 = 21;
/// Tells the child where to mount its disk.
const DIRECTORY: &str = "TMWS_TEST_DISK_DIRECTORY";
/// What the child says when it is done: a child that ran no test succeeds too.
const DONE: &str = "the disk was full and filled again";

/// True if this process may do it.
fn may(capability: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .expect("capabilities");
    let effective = u64::from_str_radix(effective.trim(), 16).expect("a number");
    effective >> capability & 1 == 1
}

/// Runs a tool of the system; false, with its words on standard error, if it fails.
fn system(line: &str) -> bool {
    let mut words = line.split(' ');
    let status = Command::new(words.next().expect("a program"))
        .args(words)
        .status();
    status.is_ok_and(|status| status.success())
}

/// Says something past the test harness, which keeps what is printed to itself.
fn tell(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("standard error is open");
}

/// Stores a memory, or tells why not, whichever level the refusal comes from.
fn store_one(store: &SqliteStore, content: &str) -> Result<Uuid, StoreError> {
    let memory = block(store.create_memories(vec![new(&alice(), content)]))?.remove(0)?;
    Ok(memory.id)
}

#[track_caller]
fn assert_unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(
        matches!(result, Err(StoreError::Unavailable(_))),
        "{result:?}"
    );
}

/// Waits until the store says by itself that it serves; nobody writes meanwhile.
#[track_caller]
fn assert_recovers(store: &SqliteStore) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while block(store.status()).is_err() {
        assert!(Instant::now() < deadline, "the store does not recover");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[track_caller]
fn assert_all_there(store: &SqliteStore, ids: &[Uuid]) {
    for id in ids {
        assert!(block(store.get_memory(&alice(), *id)).is_ok(), "{id}");
    }
}

/// The files cannot be written to, whatever descriptors are open. A mount that becomes read-only
/// would not do: the kernel refuses that while a file on it is open for writing.
struct ReadOnly(String);

impl ReadOnly {
    fn make(dir: &Path) -> Option<Self> {
        let dir = dir.display();
        let files = format!("{dir}/tmws.db {dir}/tmws.db-wal");
        let made = Self(files);
        system(&format!("chattr +i {}", made.0)).then_some(made)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        system(&format!("chattr -i {}", self.0));
    }
}

#[test]
fn when_its_files_become_read_only() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = SqliteStore::open(dir.path(), SqliteOptions::default()).expect("open");
    let mut stored = vec![store_one(&store, "before the fault").expect("stored")];
    let Some(fault) = ReadOnly::make(dir.path()) else {
        assert!(!may(IMMUTABLE), "chattr is allowed, but fails");
        tell("NOT RUN: chattr +i takes CAP_LINUX_IMMUTABLE");
        return;
    };
    for _ in 0..3 {
        assert_unavailable(store_one(&store, "refused"));
    }
    assert_unavailable(block(store.delete_memory(&alice(), stored[0], false, None)));
    assert_unavailable(block(store.status()));
    assert_all_there(&store, &stored);
    assert_eq!(
        block(store.memory_stats(&alice()))
            .expect("reads go on")
            .owned,
        1
    );
    drop(fault);
    assert_recovers(&store);
    stored.push(store_one(&store, "after the fault").expect("stored"));
    store.close();
    let store = SqliteStore::open(dir.path(), SqliteOptions::default()).expect("open again");
    assert_all_there(&store, &stored);
    let owned = block(store.memory_stats(&alice())).expect("counted").owned;
    assert_eq!(owned, 2, "what was refused is not there");
}

#[test]
fn when_the_disk_is_full() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    if !may(ADMIN) {
        tell("NOT RUN: mount takes CAP_SYS_ADMIN");
        return;
    }
    // In a mount namespace of its own, so that the disk goes with the child.
    let output = Command::new("unshare")
        .arg("-m")
        .arg(std::env::current_exe().expect("this binary"))
        .args([
            "--exact",
            "sqlite_serves_past_faults_of_the_disk::child",
            "--ignored",
            "--nocapture",
        ])
        .env(DIRECTORY, dir.path())
        .output()
        .expect("unshare is there");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complained.contains(DONE),
        "{said}{complained}"
    );
}

/// Not a test: what runs on the small disk.
#[test]
#[ignore = "is run by when_the_disk_is_full"]
fn child() {
    let Ok(dir) = std::env::var(DIRECTORY) else {
        return;
    };
    assert!(
        system(&format!("mount -t tmpfs -o size=8m tmpfs {dir}")),
        "mount is allowed, but fails"
    );
    let dir = Path::new(&dir);
    let ballast = dir.join("ballast");
    std::fs::write(&ballast, vec![0; 3 << 20]).expect("there is room for it");
    let store = SqliteStore::open(dir, SqliteOptions::default()).expect("open");
    let mut stored = Vec::new();
    fill(&store, &mut stored);
    assert_says_so(&store);
    assert_all_there(&store, &stored);
    std::fs::remove_file(&ballast).expect("removed");
    assert_recovers(&store);
    let before = stored.len();
    stored.push(store_one(&store, "there is room again").expect("stored"));
    fill(&store, &mut stored);
    assert!(stored.len() > before + 10, "the room is used");
    // The end of the process finds a full disk too: the log cannot be folded into the database.
    store.close();
    drop(store);
    let larger = format!("mount -o remount,size=64m {}", dir.display());
    assert!(system(&larger), "the disk grows");
    let store = SqliteStore::open(dir, SqliteOptions::default()).expect("open again");
    assert_all_there(&store, &stored);
    let owned = block(store.memory_stats(&alice())).expect("counted").owned;
    assert_eq!(owned, stored.len() as u64, "what was refused is not there");
    store_one(&store, "and goes on").expect("stored");
    store.close();
    let database = rusqlite::Connection::open(dir.join("tmws.db")).expect("open");
    let check: String = database
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("checked");
    assert_eq!(check, "ok");
    tell(DONE);
}

/// What a disk is filled with.
fn filler() -> String {
    "filler ".repeat(5_000)
}

/// The store tells that it takes no writes. Its own trial, once a second, is so small that it may
/// find room where a memory does not; so a refusal comes right before the question.
#[track_caller]
fn assert_says_so(store: &SqliteStore) {
    let said = (0..5).any(|_| {
        assert_unavailable(store_one(store, &filler()));
        matches!(block(store.status()), Err(StoreError::Unavailable(_)))
    });
    assert!(said, "the store refuses writes and calls itself well");
}

/// Stores until the disk is full, and some more.
fn fill(store: &SqliteStore, stored: &mut Vec<Uuid>) {
    let text = filler();
    let mut refusals = 0;
    while refusals < 5 {
        match store_one(store, &text) {
            Ok(id) => stored.push(id),
            Err(error) => {
                refusals += 1;
                assert_unavailable::<()>(Err(error));
            }
        }
        assert!(stored.len() < 10_000, "the disk has no end");
    }
}
