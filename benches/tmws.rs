//! The one benchmark binary; ids are `module/operation/parameter`.

use criterion::{criterion_group, criterion_main};

mod codec;
#[expect(dead_code, reason = "the example has more uses for it")]
#[path = "../perf/memory/corpus.rs"]
mod corpus;
mod dispatching;
mod embed;
mod lanes;
mod rpc;
mod store;
mod vectors;

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion_group!(
    benches,
    codec::codec,
    embed::embed,
    lanes::lanes,
    rpc::parse,
    rpc::dispatch,
    store::store,
    vectors::vectors
);
criterion_main!(benches);
