//! The one benchmark binary; ids are `module/operation/parameter`.

use criterion::{criterion_group, criterion_main};

mod codec;
mod dispatching;
mod embed;
mod lanes;
mod rpc;
mod store;

criterion_group!(
    benches,
    codec::codec,
    embed::embed,
    lanes::lanes,
    rpc::parse,
    rpc::dispatch,
    store::store
);
criterion_main!(benches);
