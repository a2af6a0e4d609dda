//! One run: load, search, insert, start anew.

use std::future::Future;
use std::time::{Duration, Instant};

use tmws::domain::{Filter, Mode, Search};
use tmws::store::sqlite::{SqliteOptions, SqliteStore};
use tmws::store::vectors::dot;
use tmws::store::{Store, Viewer};

use crate::corpus;

/// Memories in one load request.
const LOAD_BATCH: usize = 250;
/// Searches whose results are held against exact comparison.
const RECALLED: usize = 50;
/// Creates that are timed one by one.
const INSERTS: usize = 100;

pub(crate) const HEADER: &str = "store   memories       mode        p50 us    p99 us  recall@10 | insert p50 us | bytes/vector | start ms";

pub(crate) fn run(namespaces: usize, size: usize, searches: usize) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path());
    let memories = namespaces * size;
    let of = |n: usize| n % namespaces;
    for first in (0..memories).step_by(LOAD_BATCH) {
        let last = (first + LOAD_BATCH).min(memories);
        let batch = (first..last)
            .map(|n| corpus::memory(of(n), n as u64))
            .collect();
        for result in block(store.create_memories(batch)).expect("committed") {
            result.expect("stored");
        }
    }
    let insert = inserts(&store, memories, namespaces);
    let bytes = store.index_size().vector_bytes / memories;
    store.close();
    drop(store);
    let started = Instant::now();
    let store = open(dir.path());
    let start = started.elapsed();
    for mode in [Mode::Semantic, Mode::Lexical, Mode::Hybrid] {
        let times = times(&store, mode, namespaces, memories, searches);
        let recall = match mode {
            Mode::Semantic => format!("{:.3}", recall(&store, namespaces, memories)),
            _ => "-".into(),
        };
        println!(
            "sqlite  {:<14} {:<9} {:>8.0} {:>9.0} {recall:>10} | {:>13.0} | {bytes:>12} | {:>8.0}",
            format!("{namespaces}x{size}"),
            format!("{mode:?}").to_lowercase(),
            percentile(&times, 50).as_secs_f64() * 1e6,
            percentile(&times, 99).as_secs_f64() * 1e6,
            percentile(&insert, 50).as_secs_f64() * 1e6,
            start.as_secs_f64() * 1e3,
        );
    }
}

fn open(dir: &std::path::Path) -> SqliteStore {
    SqliteStore::open(dir, SqliteOptions::default()).expect("the store opens")
}

/// Each create is followed by a search that must find it; the create alone is timed, as a memory is searchable when
/// it is acknowledged.
fn inserts(store: &SqliteStore, memories: usize, namespaces: usize) -> Vec<Duration> {
    let mut times = Vec::with_capacity(INSERTS);
    for n in memories..memories + INSERTS {
        let namespace = n % namespaces;
        let new = corpus::memory(namespace, n as u64);
        let started = Instant::now();
        let stored = block(store.create_memories(vec![new]))
            .expect("committed")
            .remove(0);
        times.push(started.elapsed());
        let search = search(n as u64, Mode::Semantic);
        let page = block(store.search_memories(&viewer(namespace), search)).expect("answered");
        assert_eq!(page.hits[0].memory.id, stored.expect("stored").id);
    }
    times
}

fn times(
    store: &SqliteStore,
    mode: Mode,
    namespaces: usize,
    memories: usize,
    searches: usize,
) -> Vec<Duration> {
    let mut times = Vec::with_capacity(searches);
    for n in 0..searches {
        let n = question(n, memories);
        let search = search(n, mode);
        let viewer = viewer(n as usize % namespaces);
        let started = Instant::now();
        let page = block(store.search_memories(&viewer, search)).expect("answered");
        times.push(started.elapsed());
        assert!(!page.hits.is_empty());
    }
    times
}

/// Share of the ten truly nearest that a semantic search finds.
fn recall(store: &SqliteStore, namespaces: usize, memories: usize) -> f64 {
    let mut found = 0;
    for n in 0..RECALLED {
        let n = question(n, memories);
        let namespace = n as usize % namespaces;
        let query = corpus::vector(n);
        let mut exact: Vec<(f32, String)> = (0..memories + INSERTS)
            .filter(|other| other % namespaces == namespace)
            .map(|other| {
                let similarity = dot(&query, &corpus::vector(other as u64));
                (similarity, corpus::words(other as u64, 30))
            })
            .collect();
        exact.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        exact.truncate(10);
        // Importance moves the order of equals; what counts is what is found.
        let search = Search {
            limit: 30,
            ..search(n, Mode::Semantic)
        };
        let page = block(store.search_memories(&viewer(namespace), search)).expect("answered");
        let mut hits = page.hits;
        hits.sort_unstable_by(|a, b| {
            b.parts
                .similarity
                .partial_cmp(&a.parts.similarity)
                .expect("numbers")
        });
        hits.truncate(10);
        found += hits
            .iter()
            .filter(|hit| {
                exact
                    .iter()
                    .any(|(_, content)| *content == hit.memory.content)
            })
            .count();
    }
    found as f64 / (RECALLED * 10) as f64
}

/// The number of a question that no memory has: a neighbour on its topic.
fn question(n: usize, memories: usize) -> u64 {
    (memories * 2 + n * 7_919) as u64
}

fn search(n: u64, mode: Mode) -> Search {
    Search {
        query: corpus::words(n, 8),
        mode,
        vector: Some(corpus::embedded(n)),
        filter: Filter {
            include_shared: true,
            ..Filter::default()
        },
        similarity_min: None,
        limit: 10,
        cursor: None,
        counts_access: true,
    }
}

fn viewer(namespace: usize) -> Viewer {
    Viewer {
        key: corpus::owner(namespace),
        admin: false,
    }
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

fn block<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(future)
}
