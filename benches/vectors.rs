//! The vector scan: what a question costs among so many memories, without a store around it; and what a store makes of it.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use tmws::domain::{Filter, Mode, Search};
use tmws::store::sqlite::{SqliteOptions, SqliteStore};
use tmws::store::vectors::{Quantized, Query, Rows, dot};
use tmws::store::{Store, Viewer};

use crate::corpus;

/// Rows of one namespace: all bytes are compared in the first, bits decide which in the others.
const ROWS: [usize; 3] = [1_000, 10_000, 100_000];
/// Candidates that a search keeps.
const WANTED: usize = 200;
/// Memories of a store, all in one namespace; `cargo run --release --example memory` has more.
const STORED: [usize; 2] = [1_000, 10_000];
/// Entries of one load request.
const LOAD_BATCH: usize = 250;

/// Everything in `vectors/`.
pub(crate) fn vectors(c: &mut Criterion) {
    forms(c);
    scan(c);
    for size in STORED {
        search(c, size);
    }
}

/// A vector in the forms that are kept and asked with.
fn forms(c: &mut Criterion) {
    let vector = corpus::vector(1);
    c.bench_function("vectors/quantise", |b| {
        b.iter(|| Quantized::new(black_box(&vector)))
    });
    c.bench_function("vectors/question", |b| {
        b.iter(|| Query::new(black_box(&vector)))
    });
    let other = corpus::vector(2);
    c.bench_function("vectors/exact", |b| {
        b.iter(|| dot(black_box(&vector), black_box(&other)))
    });
}

fn scan(c: &mut Criterion) {
    let mut group = c.benchmark_group("vectors/scan");
    let mut rows = Rows::default();
    for size in ROWS {
        for n in rows.len()..size {
            let quantized = Quantized::new(&corpus::vector(n as u64));
            rows.push(Some((quantized.scale, &quantized.codes)));
        }
        let query = Query::new(&corpus::vector(size as u64 * 2));
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                let mut best = (f32::MIN, 0);
                rows.scan(
                    &query,
                    WANTED,
                    |_| true,
                    |slot, similarity| {
                        if similarity > best.0 {
                            best = (similarity, slot);
                        }
                    },
                );
                assert!(best.0 > 0.0);
                best
            });
        });
    }
    group.finish();
}

fn search(c: &mut Criterion, size: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = SqliteStore::open(dir.path(), SqliteOptions::default()).expect("open");
    let corpus = corpus::Corpus::new(1, size);
    for first in (0..size).step_by(LOAD_BATCH) {
        let batch = (first..(first + LOAD_BATCH).min(size)).map(|n| corpus.memory(n));
        let stored = runtime.block_on(store.create_memories(batch.collect()));
        assert!(stored.expect("committed").iter().all(Result::is_ok));
    }
    let viewer = Viewer {
        key: corpus::owner(0),
        admin: false,
    };
    for (name, mode) in [
        ("semantic", Mode::Semantic),
        ("lexical", Mode::Lexical),
        ("hybrid", Mode::Hybrid),
    ] {
        let mut asked = 0;
        c.bench_function(&format!("vectors/store-{name}/{size}"), |b| {
            b.iter_batched(
                || {
                    asked += 1;
                    question(corpus.question(asked), mode)
                },
                |search| {
                    let page = runtime.block_on(store.search_memories(&viewer, search));
                    let page = page.expect("answered");
                    assert!(mode == Mode::Lexical || page.hits.len() == 10);
                    page
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
}

fn question(n: u64, mode: Mode) -> Search {
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
