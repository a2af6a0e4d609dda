//! Searches among 1,000 memories of one agent: what the index in memory does, and what the embedded store makes of it
//! with a thread of its own; a create and a read of the store beside them.

use tmws::domain::{Access, AgentKey, Filter, Mode, Search, Timestamp};
use tmws::store::index::{Document, Index, Question, Times};
use tmws::store::sqlite::{SqliteOptions, SqliteStore};
use tmws::store::vectors::{Quantized, Query};
use tmws::store::{Store, Viewer};
use uuid::Uuid;

use super::{Counter, corpus};

const MEMORIES: usize = 1_000;
/// Entries of one load request.
const LOAD_BATCH: usize = 250;
const OPERATIONS: u64 = 16;
/// Terms of a question, and of a memory.
const ASKED: usize = 8;
const TERMS: usize = 30;
const MODES: [(&str, Mode); 3] = [
    ("semantic", Mode::Semantic),
    ("lexical", Mode::Lexical),
    ("hybrid", Mode::Hybrid),
];

pub(crate) fn count(counter: &Counter) {
    if counter.wants("index/") {
        index(counter);
    }
    if counter.wants("store/") {
        store(counter);
    }
}

fn everything() -> Filter {
    Filter {
        include_shared: true,
        ..Filter::default()
    }
}

/// The words of a text by their numbers, as the store knows them by hashes.
fn terms(n: u64, count: usize) -> Vec<u64> {
    let mut terms: Vec<u64> = corpus::words(n, count)
        .split(' ')
        .filter_map(|word| word.strip_prefix("word")?.parse().ok())
        .collect();
    terms.sort_unstable();
    terms.dedup();
    terms
}

fn document(owner: &AgentKey, n: u64, at: Timestamp) -> Document {
    let quantized = Quantized::new(&corpus::vector(n));
    Document {
        id: Uuid::from_u128(u128::from(n)),
        owner: owner.clone(),
        access: Access::Private,
        grantees: Vec::new(),
        created_at: at,
        times: Times::default(),
        importance: (n % 100) as f64 / 100.0,
        trust: 1.0,
        kind: None,
        source: None,
        tags: Vec::new(),
        terms: terms(n, TERMS),
        words: TERMS as u32,
        vector: Some((quantized.scale, quantized.codes.to_vec())),
    }
}

fn index(counter: &Counter) {
    let index = Index::default();
    let viewer = corpus::owner(0);
    let now = Timestamp::now();
    for n in 0..MEMORIES as u64 {
        index.put(n as i64, Some(&document(&viewer, n, now)));
    }
    let filter = everything();
    let asked: Vec<_> = (0..OPERATIONS)
        .map(|n| MEMORIES as u64 * 2 + n)
        .map(|n| (terms(n, ASKED), Query::new(&corpus::vector(n))))
        .collect();
    for (name, mode) in MODES {
        counter.count(&format!("index/{name}"), OPERATIONS, || {
            for (terms, vector) in &asked {
                let found = index.find(&Question {
                    viewer: &viewer,
                    mode,
                    terms,
                    vector: Some(vector),
                    filter: &filter,
                    now,
                });
                assert!(!found.candidates.is_empty());
            }
        });
    }
}

fn store(counter: &Counter) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = SqliteStore::open(dir.path(), SqliteOptions::default()).expect("open");
    let corpus = corpus::Corpus::new(1, MEMORIES);
    let mut ids = Vec::new();
    for first in (0..MEMORIES).step_by(LOAD_BATCH) {
        let batch = (first..first + LOAD_BATCH).map(|n| corpus.memory(n));
        let stored = runtime.block_on(store.create_memories(batch.collect()));
        ids.extend(
            stored
                .expect("committed")
                .into_iter()
                .map(|one| one.expect("stored").id),
        );
    }
    let viewer = Viewer {
        key: corpus::owner(0),
        admin: false,
    };
    counter.count("store/get", OPERATIONS, || {
        for id in ids.iter().take(OPERATIONS as usize) {
            runtime
                .block_on(store.get_memory(&viewer, *id))
                .expect("visible");
        }
    });
    for (name, mode) in MODES {
        let questions: Vec<_> = (0..OPERATIONS)
            .map(|n| question(corpus.question(n as usize), mode))
            .collect();
        counter.count(&format!("store/search_{name}"), OPERATIONS, || {
            for question in &questions {
                let page = runtime.block_on(store.search_memories(&viewer, question.clone()));
                assert!(!page.expect("answered").hits.is_empty());
            }
        });
    }
    let mut made = MEMORIES as u64;
    counter.count("store/create", OPERATIONS, || {
        for _ in 0..OPERATIONS {
            made += 1;
            let stored = runtime.block_on(store.create_memories(vec![corpus::memory(0, made)]));
            assert!(stored.expect("committed")[0].is_ok());
        }
    });
}

fn question(n: u64, mode: Mode) -> Search {
    Search {
        query: corpus::words(n, ASKED),
        mode,
        vector: Some(corpus::embedded(n)),
        filter: everything(),
        similarity_min: None,
        limit: 10,
        cursor: None,
        counts_access: true,
    }
}
