//! The one benchmark binary; ids are `module/operation/parameter`.

use criterion::{criterion_group, criterion_main};

mod codec;

criterion_group!(benches, codec::codec);
criterion_main!(benches);
