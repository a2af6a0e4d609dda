//! Whatever of the log's end a power loss leaves behind: the store opens, and every memory whose
//! commit lies before the tear is there, with its vector, and found.

use std::path::Path;

use tmws::domain::{Embedded, Mode, Model, NewMemory, Search};
use tmws::store::Store;
use tmws::store::sqlite::{SqliteOptions, SqliteStore};
use uuid::Uuid;

use crate::fixture::*;

const DATABASE: &str = "tmws.db";
const LOG: &str = "tmws.db-wal";
/// What a disk writes at once.
const SECTOR: usize = 512;
/// Memories in the log; those before it are in the database.
const LOGGED: usize = 24;
const FOLDED: usize = 4;
/// As many as the memories, so that each can point its own way.
const DIMENSION: usize = 32;
/// Sectors of the log's end that are cut off one by one.
const SECTORS_CUT: usize = 72;

/// A memory and the length of the log when it was acknowledged.
struct Acknowledged {
    id: Uuid,
    place: usize,
    log_bytes: usize,
}

fn meaning(place: usize) -> Embedded {
    let mut vector = vec![0.0; DIMENSION];
    vector[place] = 1.0;
    Embedded {
        model: Model {
            name: "of a test".into(),
            dimension: DIMENSION,
        },
        vector: vector.into(),
    }
}

/// A word that only this memory has.
fn word(place: usize) -> String {
    let letter = |index: usize| char::from(b'a' + (index % 20) as u8);
    format!("zq{}{}x", letter(place / 20), letter(place))
}

fn write(store: &SqliteStore, places: std::ops::Range<usize>, log: &Path) -> Vec<Acknowledged> {
    places
        .map(|place| {
            let new = NewMemory {
                vector: Some(meaning(place)),
                ..new(&alice(), &format!("the word is {}", word(place)))
            };
            let stored = block(store.create_memories(vec![new])).expect("committed");
            Acknowledged {
                id: stored[0].as_ref().expect("stored").id,
                place,
                log_bytes: std::fs::metadata(log).map_or(0, |log| log.len() as usize),
            }
        })
        .collect()
}

/// Opens a copy whose log is `log` up to a tear at `tear`, and looks for all that was before it;
/// returns how many memories are there.
fn check(database: &[u8], log: &[u8], tear: usize, written: &[Acknowledged], what: &str) -> usize {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join(DATABASE), database).expect("copied");
    std::fs::write(dir.path().join(LOG), log).expect("copied");
    let store = SqliteStore::open(dir.path(), SqliteOptions::default())
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut present = 0;
    for memory in written {
        let found = block(store.get_memory(&alice(), memory.id)).is_ok();
        assert!(
            found || memory.log_bytes > tear,
            "{what}: memory {} is lost",
            memory.place
        );
        if found {
            present += 1;
        }
        for mode in [Mode::Lexical, Mode::Semantic] {
            let search = Search {
                query: word(memory.place),
                mode,
                vector: (mode == Mode::Semantic).then(|| meaning(memory.place)),
                filter: everything(),
                similarity_min: Some(0.9),
                limit: 1,
                cursor: None,
                counts_access: false,
            };
            let page = block(store.search_memories(&alice(), search))
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            let hit = page.hits.first().map(|hit| hit.memory.id);
            // What is there is whole, and what is not there leaves nothing behind.
            assert_eq!(hit == Some(memory.id), found, "{what}: {mode:?}");
        }
    }
    let state = block(store.embedding_state()).expect("answered");
    let embedded = state.active.map_or(0, |active| active.embedded);
    assert_eq!((state.memories, embedded), (present, present), "{what}");
    assert!(
        write(&store, DIMENSION - 1..DIMENSION, Path::new("")).len() == 1,
        "{what}: it goes on"
    );
    present as usize
}

#[test]
fn wherever_the_log_is_torn() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (database, log) = (dir.path().join(DATABASE), dir.path().join(LOG));
    let store = SqliteStore::open(dir.path(), SqliteOptions::default()).expect("open");
    let mut written = write(&store, 0..FOLDED, Path::new(""));
    store.close();
    let store = SqliteStore::open(dir.path(), SqliteOptions::default()).expect("open again");
    written.extend(write(&store, FOLDED..FOLDED + LOGGED, &log));
    // While the store is live: nothing was folded into the database or written down at the end.
    let database = std::fs::read(database).expect("copied");
    let log = std::fs::read(log).expect("copied");
    let last = written.last().expect("written").log_bytes;
    assert_eq!(last, log.len(), "the log grows with each memory");
    assert!(written[FOLDED].log_bytes > 0 && log.len() > SECTORS_CUT * SECTOR);

    let all = check(&database, &log, log.len(), &written, "whole");
    assert_eq!(all, FOLDED + LOGGED);
    assert_eq!(check(&database, &[], 0, &written, "no log"), FOLDED);
    let first_cut = log.len() - SECTORS_CUT * SECTOR;
    let sectors = (0..SECTORS_CUT).map(|sector| first_cut + sector * SECTOR);
    // Also where there is no log to speak of, or half a head of it.
    for cut in [16, 32, 40].into_iter().chain(sectors.clone()) {
        let what = format!("cut at {cut} of {}", log.len());
        let present = check(&database, &log[..cut], cut, &written, &what);
        assert!(present < all, "{what}: the end of it was needed");
    }
    // A sector that was never written, or one bit of it that was written wrong.
    for (index, at) in sectors.enumerate() {
        let mut torn = log.clone();
        if index % 2 == 0 {
            torn[at..at + SECTOR].fill(0);
        } else {
            torn[at + index * 7 % SECTOR] ^= 1 << (index % 8);
        }
        let what = format!("damaged at {at} of {}", log.len());
        check(&database, &torn, at, &written, &what);
    }
}
