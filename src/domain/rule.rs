//! A rule of the domain that an argument breaks.

/// Names the argument, the rule and the bound, in a sentence that a model or a person can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Violation {
    /// The argument as the caller wrote it, for example `importance`.
    pub field: &'static str,
    /// What is wrong, with the value and the bound where they help.
    pub problem: String,
}

impl Violation {
    /// Creates a violation of the rule that `problem` describes.
    pub fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self {
            field,
            problem: problem.into(),
        }
    }
}
