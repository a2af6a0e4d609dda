//! Meaning as numbers: what an embedding model makes of a text.

use std::sync::Arc;

/// A text's place among meanings: as many numbers as the model has dimensions, of length 1, so
/// that the dot product of two is their cosine. Vectors of two models have nothing in common.
pub type Vector = Arc<[f32]>;

/// A model as the store knows it: vectors are kept per model and compared within one only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Model {
    /// Such as `all-MiniLM-L6-v2`.
    pub name: Arc<str>,
    /// Length of its vectors.
    pub dimension: usize,
}
