//! A scan of 10,000 vectors, and the embedding of a short text. What both cost depends on the
//! instructions that the processor has.

use std::hint::black_box;

use tmws::config::{self, Config};
use tmws::embed::{self, Isa, MiniLm, Precision, Tokenizer};
use tmws::store::vectors::{Quantized, Query, Rows};

use super::Counter;

const ROWS: usize = 10_000;
const DIMENSION: usize = 384;
const WANTED: usize = 10;
const SCANS: u64 = 4;
/// The two that stand around every text are among them.
const TOKENS: usize = 8;

pub(crate) fn count(counter: &Counter) {
    if counter.wants("vectors/scan") {
        scan(counter);
    }
    if counter.wants("embed/text") {
        text(counter);
    }
}

/// The `n`th vector of length 1 (splitmix64).
fn vector(n: u64) -> Vec<f32> {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let values: Vec<f32> = (0..DIMENSION)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (((mixed ^ (mixed >> 31)) >> 40) as f32) / (1 << 23) as f32 - 1.0
        })
        .collect();
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.iter().map(|value| value / length).collect()
}

fn scan(counter: &Counter) {
    let mut rows = Rows::default();
    for n in 0..ROWS {
        let quantized = Quantized::new(&vector(n as u64));
        rows.push(Some((quantized.scale, &quantized.codes)));
    }
    let query = Query::new(&vector(7));
    counter.count("vectors/scan", SCANS, || {
        for _ in 0..SCANS {
            let mut best = (0, f32::MIN);
            rows.scan(
                black_box(&query),
                WANTED,
                |_| true,
                |slot, similarity| {
                    if similarity > best.1 {
                        best = (slot, similarity);
                    }
                },
            );
            assert_eq!(best.0, 7);
        }
    });
}

fn text(counter: &Counter) {
    let name = "embed/text";
    let settings = config::gather(None, &[], &[]).expect("defaults are valid");
    let config = Config::from_settings(&settings).expect("defaults are valid");
    let Some(installed) = embed::installed(&config.embedding.model_dir, false) else {
        counter.leave_out(name, "the model is not installed (tmws model install)");
        return;
    };
    let tokenizer = Tokenizer::load(&installed.tokenizer).expect("an installed tokenizer");
    let model = MiniLm::load(&installed.rounded, Precision::Int8, Isa::best()).expect("a model");
    let tokens = tokenizer
        .tokens("the build of server needs more")
        .expect("a text");
    assert_eq!(tokens.len(), TOKENS);
    counter.count(name, 1, || {
        let vector = model.embed(black_box(&tokens));
        assert_eq!(vector.len(), DIMENSION);
    });
}
