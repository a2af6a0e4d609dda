//! Embedding: what a text of some length costs on one core, by precision and instruction set.
//!
//! Needs the model: `tmws model install --precise` brings it; without it these benches are left
//! out, without its unrounded weights those of f32.

use std::hint::black_box;

use criterion::Criterion;
use tmws::config::Config;
use tmws::embed::{self, Installed, Isa, MiniLm, Precision, Tokenizer};

/// Tokens of a text: a short query, a sentence, a paragraph, as long as can be.
const LENGTHS: [usize; 4] = [8, 17, 64, 256];

/// Everything in `embed/`.
#[expect(clippy::print_stderr, reason = "says what is left out")]
pub(crate) fn embed(c: &mut Criterion) {
    let settings = tmws::config::gather(None, &[], &[]).expect("defaults are valid");
    let config = Config::from_settings(&settings).expect("defaults are valid");
    let models = config.embedding.model_dir;
    let Some(installed) = embed::installed(&models, false) else {
        eprintln!(
            "embed/ is left out: there is no model; `tmws model install --precise` brings it"
        );
        return;
    };
    let tokenizer = Tokenizer::load(&installed.tokenizer).expect("an installed tokenizer");
    tokenise(c, &tokenizer);
    for isa in Isa::available() {
        forward(c, &installed, &tokenizer, Precision::Int8, isa);
        if installed.precise.is_some() {
            forward(c, &installed, &tokenizer, Precision::F32, isa);
        }
    }
    load(c, &installed);
}

/// A text of so many tokens, the two at its ends among them.
fn text(tokens: usize) -> String {
    let words = [
        "the", "build", "of", "server", "needs", "more", "memory", "now",
    ];
    let words: Vec<_> = words.into_iter().cycle().take(tokens - 2).collect();
    words.join(" ")
}

fn tokenise(c: &mut Criterion, tokenizer: &Tokenizer) {
    let mut group = c.benchmark_group("embed/tokenise");
    for length in LENGTHS {
        let text = text(length);
        group.bench_function(format!("{length}"), |b| {
            b.iter(|| tokenizer.tokens(black_box(&text)).expect("a legal text"))
        });
    }
}

fn forward(
    c: &mut Criterion,
    installed: &Installed,
    tokenizer: &Tokenizer,
    precision: Precision,
    isa: Isa,
) {
    let (path, name) = match (precision, &installed.precise) {
        (Precision::F32, Some(path)) => (path, "f32"),
        _ => (&installed.rounded, "int8"),
    };
    let model = MiniLm::load(path, precision, isa).expect("an installed model");
    let mut group = c.benchmark_group(format!("embed/{name}/{}", isa.name()));
    group.sample_size(20);
    for length in LENGTHS {
        let text = text(length);
        let tokens = tokenizer.tokens(&text).expect("a legal text");
        assert_eq!(tokens.len(), length);
        group.bench_function(format!("{length}"), |b| {
            b.iter(|| {
                let tokens = tokenizer.tokens(black_box(&text)).expect("a legal text");
                model.embed(&tokens)
            })
        });
    }
}

fn load(c: &mut Criterion, installed: &Installed) {
    let mut group = c.benchmark_group("embed/load");
    group.sample_size(10);
    group.bench_function("weights", |b| {
        b.iter(|| MiniLm::load(&installed.rounded, Precision::Int8, Isa::best()).expect("a model"))
    });
    group.bench_function("tokenizer", |b| {
        b.iter(|| Tokenizer::load(&installed.tokenizer).expect("a tokenizer"))
    });
}
