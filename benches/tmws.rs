//! All micro benches: one binary, ids `module/operation/parameter`.

use criterion::{criterion_group, criterion_main};

mod store;

criterion_group!(benches, store::store);
criterion_main!(benches);
