//! Each mode on each set.

use tmws::domain::Mode;

use crate::sets;
use crate::subject::{Subject, embedder};

/// Recall@1 of the reference on the paraphrases; see `tests/data/README.md`.
const REFERENCE_PARAPHRASES: f64 = 0.7373;

#[test]
fn hybrid_is_at_least_as_good_as_either_alone() {
    let embedder = embedder();
    let mut failures = Vec::new();
    println!("{:<14} {:<9} recall@1 recall@5", "set", "mode");
    for (name, set) in [
        ("paraphrases", sets::pairs("paraphrases")),
        ("codes", sets::pairs("codes")),
        ("conversations", sets::conversations()),
    ] {
        let subject = Subject::new(&embedder, &set);
        let [semantic, lexical, hybrid] =
            [Mode::Semantic, Mode::Lexical, Mode::Hybrid].map(|mode| {
                let (first, five) = subject.recall(mode);
                let mode = format!("{mode:?}").to_lowercase();
                println!("{name:<14} {mode:<9} {first:>8.4} {five:>8.4}");
                first
            });
        if hybrid < semantic.max(lexical) {
            failures.push(format!("{name}: {hybrid} < {}", semantic.max(lexical)));
        }
        if name == "paraphrases" && semantic < REFERENCE_PARAPHRASES - 0.01 {
            failures.push(format!("{name}: semantic {semantic}"));
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}
