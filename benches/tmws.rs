//! The one benchmark binary; ids are `module/operation/parameter`.

use criterion::{criterion_group, criterion_main};

mod codec;
mod rpc;
mod store;

criterion_group!(
    benches,
    codec::codec,
    rpc::parse,
    rpc::dispatch,
    store::store
);
criterion_main!(benches);
