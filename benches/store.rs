//! The embedded store: what a shard waits for a write, a read and a search.
//!
//! Each size is loaded once, on the disk that `TMPDIR` names; its syncs are part of what the
//! creates measure. All memories lie in one namespace and the viewer may see all of them.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use futures_util::future::join_all;
use tmws::domain::{Access, AgentKey, Filter, Memory, Mode, NewMemory, Order, Recall, Search};
use tmws::store::sqlite::{SqliteOptions, SqliteStore};
use tmws::store::{Store, Viewer};

/// Entries of one load request.
const LOAD_BATCH: usize = 100;
/// Agents of the one namespace that holds everything.
const AGENTS: usize = 100;

/// Benches of the embedded store.
pub(crate) fn store(c: &mut Criterion) {
    creates(c);
    for size in [1_000, 10_000, 100_000] {
        let loaded = Loaded::new(size);
        reads(c, &loaded);
    }
}

fn creates(c: &mut Criterion) {
    let runtime = runtime();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = SqliteStore::open(dir.path(), SqliteOptions::default()).expect("open");
    let mut group = c.benchmark_group("store/create");
    let mut made = 0;
    for creators in [1, 64] {
        group.throughput(Throughput::Elements(creators as u64));
        group.bench_function(BenchmarkId::from_parameter(creators), |b| {
            b.iter(|| {
                let answers = (0..creators).map(|_| {
                    made += 1;
                    store.create_memories(vec![memory(made)])
                });
                let answers: Vec<_> = answers.collect();
                for answer in runtime.block_on(join_all(answers)) {
                    assert!(answer.expect("committed")[0].is_ok());
                }
            });
        });
    }
    group.finish();
    let stats = store.writer_stats();
    assert!(stats.transactions <= stats.requests && stats.failures == 0);
}

struct Loaded {
    size: usize,
    store: SqliteStore,
    memories: Vec<Memory>,
    _dir: tempfile::TempDir,
}

impl Loaded {
    fn new(size: usize) -> Self {
        let runtime = runtime();
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = SqliteStore::open(dir.path(), SqliteOptions::default()).expect("open");
        let mut memories = Vec::with_capacity(size);
        for first in (0..size).step_by(LOAD_BATCH) {
            let batch = (first..first + LOAD_BATCH).map(memory).collect();
            let stored = runtime
                .block_on(store.create_memories(batch))
                .expect("committed");
            memories.extend(stored.into_iter().map(|result| result.expect("stored")));
        }
        Self {
            size,
            store,
            memories,
            _dir: dir,
        }
    }
}

fn reads(c: &mut Criterion, loaded: &Loaded) {
    let runtime = runtime();
    let size = loaded.size;
    let store = &loaded.store;
    let viewer = viewer(7);
    let mut at = 0;
    c.bench_function(&format!("store/get/{size}"), |b| {
        b.iter(|| {
            at = (at + 7_919) % size;
            let wanted = &loaded.memories[at];
            let got = runtime
                .block_on(store.get_memory(&viewer, wanted.id))
                .expect("visible");
            assert_eq!(got.content, wanted.content);
        });
    });
    // What people ask: some rare words among common ones; one rare; one that half of all hold.
    for (name, query) in [
        ("search", "why did word2500 of word300 fail with word40"),
        ("search-rare", "word2500"),
        ("search-common", "word0"),
    ] {
        c.bench_function(&format!("store/{name}/{size}"), |b| {
            b.iter(|| {
                let search = Search {
                    query: query.into(),
                    mode: Mode::Lexical,
                    vector: None,
                    filter: everything(),
                    similarity_min: None,
                    limit: 10,
                    cursor: None,
                    counts_access: true,
                };
                let page = runtime.block_on(store.search_memories(&viewer, search));
                let page = page.expect("answered");
                assert!(size < 10_000 || page.hits.len() == 10);
                black_box(page)
            });
        });
    }
    for order in [Order::Newest, Order::Importance] {
        c.bench_function(
            &format!("store/recall-{order:?}/{size}").to_lowercase(),
            |b| {
                b.iter(|| {
                    let recall = Recall {
                        filter: everything(),
                        order,
                        limit: 10,
                        cursor: None,
                        counts_access: true,
                    };
                    let page = runtime.block_on(store.recall_memories(&viewer, recall));
                    assert_eq!(page.expect("answered").items.len(), 10);
                });
            },
        );
    }
    c.bench_function(&format!("store/status/{size}"), |b| {
        b.iter(|| {
            let status = runtime.block_on(store.status()).expect("up");
            assert_eq!(status.memories, size as u64);
        });
    });
    let mut group = c.benchmark_group("store/stats");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(1));
    group.bench_function(BenchmarkId::from_parameter(size), |b| {
        b.iter(|| {
            let stats = runtime
                .block_on(store.memory_stats(&viewer))
                .expect("answered");
            assert_eq!(stats.owned + stats.shared_with_me, size as u64);
        });
    });
    group.finish();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
}

fn viewer(agent: usize) -> Viewer {
    let key = AgentKey::new("bench", &format!("agent-{agent}")).expect("a valid name");
    Viewer { key, admin: false }
}

fn everything() -> Filter {
    Filter {
        include_shared: true,
        ..Filter::default()
    }
}

/// The `n`th memory: forty words with a frequency that falls with their number, as in a language.
fn memory(n: usize) -> NewMemory {
    let mut state = n as u64 + 1;
    let words: Vec<_> = (0..40)
        .map(|_| {
            // SplitMix64.
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut bits = state;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            let fraction = ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
            format!("word{}", 20_000f64.powf(fraction) as usize - 1)
        })
        .collect();
    NewMemory {
        owner: viewer(n % AGENTS).key,
        admin: false,
        session_id: None,
        content: words.join(" "),
        kind: Some("fact".into()),
        tags: vec!["bench".into()],
        importance: (n % 100) as f64 / 100.0,
        access_level: Access::Team,
        metadata: Default::default(),
        source: None,
        trust: 1.0,
        valid_from: None,
        valid_to: None,
        ttl_seconds: None,
        supersedes: None,
        vector: None,
    }
}
