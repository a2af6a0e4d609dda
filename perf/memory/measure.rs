//! One run: load, search, insert, start anew.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tmws::domain::{Filter, Mode, Retention, Search};
use tmws::store::vectors::dot;
use tmws::store::{Store, Viewer};
use uuid::Uuid;

use crate::corpus::{self, Corpus};
use crate::subject::Place;

/// Memories in one load request.
const LOAD_BATCH: usize = 250;
/// Searches whose results are held against exact comparison.
const RECALLED: usize = 50;
/// Memories from which on PostgreSQL has a graph.
const GRAPH_MIN: usize = 50_000;
/// Creates that are timed one by one.
const INSERTS: usize = 100;
/// Callers that create at the same time.
const CREATORS: usize = 64;

pub(crate) const HEADER: &str = "store    memories    mode        p50 us    p99 us  recall@10 | insert p50 us | bytes/vector | start ms";

pub(crate) async fn run(url: Option<&str>, corpus: &Corpus, searches: usize) {
    let place = Place::new(url).await;
    let mut subject = place.open().await;
    let ids = load(&*subject.store, corpus).await;
    if matches!(place, Place::Database(_)) && corpus.len() >= GRAPH_MIN {
        grow_graph(&*subject.store, &place).await;
    }
    let insert = inserts(&*subject.store, corpus).await;
    let bytes = subject.vector_bytes().map_or("-".into(), |bytes| {
        (bytes / (corpus.len() + INSERTS)).to_string()
    });
    subject.close();
    let started = Instant::now();
    subject = place.open().await;
    subject.store.status().await.expect("it answers");
    let start = started.elapsed();
    // What a namespace's first search costs is told apart: it meets pages that nobody has looked at since the start.
    // Words find other memories than vectors, so each mode has looked once before it is timed.
    let modes = [
        ("first", Mode::Semantic),
        ("semantic", Mode::Semantic),
        ("lexical", Mode::Lexical),
        ("hybrid", Mode::Hybrid),
    ];
    for (name, mode) in modes {
        if name != "first" {
            times(&*subject.store, mode, corpus, corpus.namespaces).await;
        }
        let times = times(&*subject.store, mode, corpus, searches).await;
        let recall = match name {
            "semantic" => format!("{:.3}", recall(&*subject.store, corpus, &ids).await),
            _ => "-".into(),
        };
        println!(
            "{:<8} {:<11} {:<9} {:>8.0} {:>9.0} {recall:>10} | {:>13.0} | {bytes:>12} | {:>8.0}",
            place.name(),
            format!("{}x{}", corpus.namespaces, corpus.size),
            name,
            percentile(&times, 50).as_secs_f64() * 1e6,
            percentile(&times, 99).as_secs_f64() * 1e6,
            percentile(&insert, 50).as_secs_f64() * 1e6,
            start.as_secs_f64() * 1e3,
        );
    }
    subject.close();
}

/// Durable creates from many callers, each with one memory on its way.
pub(crate) async fn creates(url: Option<&str>, count: usize) {
    let place = Place::new(url).await;
    let subject = place.open().await;
    let store = &*subject.store;
    let new: Vec<_> = (0..count).map(|n| corpus::memory(0, n as u64)).collect();
    let new = std::cell::RefCell::new(new);
    let started = Instant::now();
    join_all((0..CREATORS).map(|_| async {
        loop {
            let Some(memory) = new.borrow_mut().pop() else {
                return;
            };
            let stored = store
                .create_memories(vec![memory])
                .await
                .expect("committed");
            assert!(stored[0].is_ok());
        }
    }))
    .await;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{:<8} {count} durable creates with vectors from {CREATORS} callers: {:.0} a second",
        place.name(),
        count as f64 / seconds
    );
    subject.close();
}

/// As the upkeep of a server does by and by.
async fn grow_graph(store: &dyn Store, place: &Place) {
    while !place.has_graph().await {
        let retention = Retention {
            half_life: Duration::from_secs(1),
            prune_below: 0.0,
            prune_age: Duration::from_secs(1),
            session_window: Duration::from_secs(tmws::config::limits::SESSION_WINDOW_SECONDS),
        };
        store.upkeep(retention).await.expect("the upkeep runs");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn load(store: &dyn Store, corpus: &Corpus) -> Vec<Uuid> {
    let mut ids = Vec::with_capacity(corpus.len());
    for first in (0..corpus.len()).step_by(LOAD_BATCH) {
        let last = (first + LOAD_BATCH).min(corpus.len());
        let batch = (first..last).map(|n| corpus.memory(n)).collect();
        for stored in store.create_memories(batch).await.expect("committed") {
            ids.push(stored.expect("stored").id);
        }
    }
    ids
}

/// Each create is followed by a search that must find it; the create alone is timed, as a memory is searchable when
/// it is acknowledged.
async fn inserts(store: &dyn Store, corpus: &Corpus) -> Vec<Duration> {
    let mut times = Vec::with_capacity(INSERTS);
    for n in corpus.len()..corpus.len() + INSERTS {
        let namespace = n % corpus.namespaces;
        let new = corpus::memory(namespace, n as u64);
        let started = Instant::now();
        let stored = store
            .create_memories(vec![new])
            .await
            .expect("committed")
            .remove(0);
        times.push(started.elapsed());
        let search = search(n as u64, Mode::Semantic);
        let page = store
            .search_memories(&viewer(namespace), search)
            .await
            .expect("answered");
        assert_eq!(page.hits[0].memory.id, stored.expect("stored").id);
    }
    times
}

async fn times(store: &dyn Store, mode: Mode, corpus: &Corpus, searches: usize) -> Vec<Duration> {
    let mut times = Vec::with_capacity(searches);
    for n in 0..searches {
        let n = corpus.question(n);
        let search = search(n, mode);
        let viewer = viewer(n as usize % corpus.namespaces);
        let started = Instant::now();
        let page = store
            .search_memories(&viewer, search)
            .await
            .expect("answered");
        times.push(started.elapsed());
        assert!(mode == Mode::Lexical || !page.hits.is_empty());
    }
    times
}

/// Share of the ten truly nearest that a semantic search finds.
async fn recall(store: &dyn Store, corpus: &Corpus, ids: &[Uuid]) -> f64 {
    let mut found = 0;
    for n in 0..RECALLED {
        let n = corpus.question(n);
        let namespace = n as usize % corpus.namespaces;
        let query = corpus::vector(n);
        let mut exact: Vec<(f32, usize)> = (namespace..corpus.len())
            .step_by(corpus.namespaces)
            .map(|other| (dot(&query, &corpus.vectors[other]), other))
            .collect();
        exact.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let exact: HashSet<Uuid> = exact
            .iter()
            .take(10)
            .map(|(_, other)| ids[*other])
            .collect();
        // Importance moves the order of equals; what counts is what is found.
        let search = Search {
            limit: 100,
            ..search(n, Mode::Semantic)
        };
        let mut hits = store
            .search_memories(&viewer(namespace), search)
            .await
            .expect("answered")
            .hits;
        // Those that were inserted after the load are not compared.
        hits.retain(|hit| ids.contains(&hit.memory.id));
        hits.sort_unstable_by(|a, b| {
            b.parts
                .similarity
                .partial_cmp(&a.parts.similarity)
                .expect("numbers")
        });
        found += hits
            .iter()
            .take(10)
            .filter(|hit| exact.contains(&hit.memory.id))
            .count();
    }
    found as f64 / (RECALLED * 10) as f64
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
