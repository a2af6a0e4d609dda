//! Vectors against those of the reference implementation.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tmws::embed::{Isa, MiniLm, Precision, Tokenizer};

struct Reference {
    text: String,
    vector: Vec<f32>,
}

/// Texts with the vectors that the reference implementation gives them. Without optimisation a
/// token takes a tenth of a second: then only some short ones, which still differ in length and
/// script.
fn references() -> Vec<Reference> {
    let mut all = all_references();
    assert!(all.len() >= 30);
    if cfg!(debug_assertions) {
        all.sort_by_key(|reference| reference.text.len());
        all = all.into_iter().step_by(4).take(4).collect();
    }
    all
}

fn all_references() -> Vec<Reference> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/embeddings/reference.jsonl");
    let lines = std::fs::read_to_string(path).unwrap();
    let reference = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let bytes = BASE64_STANDARD
            .decode(line["vector"].as_str().unwrap())
            .unwrap();
        let numbers = bytes.as_chunks::<4>().0.iter();
        Reference {
            text: line["text"].as_str().unwrap().to_owned(),
            vector: numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        }
    };
    lines.lines().map(reference).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn assert_close(precision: Precision, isa: Isa, least: f32) {
    let installed = super::model();
    let path = match precision {
        Precision::Int8 => installed.rounded,
        Precision::F32 => installed.precise.unwrap(),
    };
    let model = MiniLm::load(&path, precision, isa).unwrap();
    let tokenizer = Tokenizer::load(&installed.tokenizer).unwrap();
    let references = references();
    let cosines: Vec<f32> = references
        .iter()
        .map(|reference| {
            let vector = model.embed(&tokenizer.tokens(&reference.text).unwrap());
            let length = cosine(&vector, &vector);
            assert!(
                (length - 1.0).abs() < 1e-4,
                "{:?}: {length}",
                reference.text
            );
            cosine(&vector, &reference.vector)
        })
        .collect();
    let mean = cosines.iter().sum::<f32>() / cosines.len() as f32;
    let worst = cosines.iter().copied().fold(1.0, f32::min);
    println!(
        "{} {precision:?}: mean {mean:.5}, least {worst:.5}",
        isa.name()
    );
    for (cosine, reference) in cosines.iter().zip(&references) {
        assert!(*cosine > least, "{:?}: {cosine}", reference.text);
    }
}

#[test]
fn unrounded_vectors_are_those_of_the_reference() {
    assert_close(Precision::F32, Isa::best(), 0.9999);
}

#[test]
fn rounded_vectors_are_close_to_the_reference() {
    assert_close(Precision::Int8, Isa::best(), 0.99);
}

#[test]
fn every_instruction_set_gives_nearly_the_same_vectors() {
    let installed = super::model();
    let tokenizer = Tokenizer::load(&installed.tokenizer).unwrap();
    let load = |isa| MiniLm::load(&installed.rounded, Precision::Int8, isa).unwrap();
    let portable = load(Isa::PORTABLE);
    // The last bit of a sum of f32 decides now and then to which whole number one is rounded.
    for isa in Isa::available() {
        let model = load(isa);
        for reference in references()
            .iter()
            .take(if cfg!(debug_assertions) { 2 } else { 20 })
        {
            let tokens = tokenizer.tokens(&reference.text).unwrap();
            let same = cosine(&model.embed(&tokens), &portable.embed(&tokens));
            assert!(
                same > 0.995,
                "{}: {same} for {:?}",
                isa.name(),
                reference.text
            );
        }
    }
}

#[test]
fn what_was_embedded_before_does_not_matter() {
    let installed = super::model();
    let tokenizer = Tokenizer::load(&installed.tokenizer).unwrap();
    let model = MiniLm::load(&installed.rounded, Precision::Int8, Isa::best()).unwrap();
    let texts = [
        "a short one",
        &"a longer one ".repeat(8),
        "",
        "😀 機械学習 Zürich",
    ];
    let embed = |text: &str| model.embed(&tokenizer.tokens(text).unwrap());
    let first: Vec<_> = texts.iter().map(|text| embed(text)).collect();
    let again: Vec<_> = texts.iter().rev().map(|text| embed(text)).collect();
    assert!(first.iter().eq(again.iter().rev()));
}

#[test]
fn tokens_beyond_the_limit_do_not_count() {
    let installed = super::model();
    let tokenizer = Tokenizer::load(&installed.tokenizer).unwrap();
    let tokens = tokenizer.tokens(&"word ".repeat(5_000)).unwrap();
    assert_eq!(tokens.len(), 256);
    assert_eq!(tokenizer.tokens("").unwrap().len(), 2);
}
