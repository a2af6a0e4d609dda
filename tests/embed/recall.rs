//! What rounding costs where it matters: finding a memory by a question in other words.

use std::path::Path;

use serde_json::Value;
use tmws::embed::{Isa, MiniLm, Precision, Tokenizer};

/// Share of the questions whose own memory is the nearest of all.
fn recall(model: &MiniLm, tokenizer: &Tokenizer, pairs: &[Value]) -> f64 {
    let embed = |name: &str| -> Vec<Vec<f32>> {
        let text = |pair: &Value| pair[name].as_str().unwrap().to_owned();
        let tokens = pairs
            .iter()
            .map(|pair| tokenizer.tokens(&text(pair)).unwrap());
        tokens.map(|tokens| model.embed(&tokens)).collect()
    };
    let (memories, questions) = (embed("memory"), embed("question"));
    let dot = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let found = questions.iter().enumerate().filter(|(own, question)| {
        let nearest = |a: &usize, b: &usize| {
            dot(question, &memories[*a]).total_cmp(&dot(question, &memories[*b]))
        };
        (0..memories.len()).max_by(nearest) == Some(*own)
    });
    found.count() as f64 / pairs.len() as f64
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes minutes without optimisation")]
fn rounding_costs_no_recall() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/paraphrases.jsonl");
    let lines = std::fs::read_to_string(path).unwrap();
    let pairs: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let installed = super::model();
    let tokenizer = Tokenizer::load(&installed.tokenizer).unwrap();
    let measure = |path: &Path, precision| {
        let model = MiniLm::load(path, precision, Isa::best()).unwrap();
        recall(&model, &tokenizer, &pairs)
    };
    let exact = measure(&installed.precise.unwrap(), Precision::F32);
    let rounded = measure(&installed.rounded, Precision::Int8);
    println!(
        "recall@1 of {}: unrounded {exact:.3}, rounded {rounded:.3}",
        pairs.len()
    );
    assert!(rounded >= exact - 0.015, "{rounded} instead of {exact}");
}
