//! What a scenario prints: one line of JSON.

use serde::Serialize;

/// Faults that were seen, with the first few in words.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Faults {
    pub(crate) errors: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) examples: Vec<String>,
}

const EXAMPLES_MAX: usize = 5;
const EXAMPLE_CHARS_MAX: usize = 400;

impl Faults {
    /// What ended a run before it had a report of its own.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        let mut faults = Self::default();
        faults.add(|| format!("{error:#}"));
        faults
    }

    pub(crate) fn add(&mut self, example: impl FnOnce() -> String) {
        self.errors += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples
                .push(example().chars().take(EXAMPLE_CHARS_MAX).collect());
        }
    }

    pub(crate) fn none(&self) -> bool {
        self.errors == 0
    }
}

pub(crate) fn print(report: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(report)?);
    Ok(())
}

/// Two decimals are more than any of these figures is worth.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
