//! Meaning as numbers: what an embedding model makes of a text.

use std::sync::Arc;

use uuid::Uuid;

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

/// A vector with the model that it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// Whose vector it is.
    pub model: Model,
    /// The vector.
    pub vector: Vector,
}

/// A memory whose text has no vector of some model yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unembedded {
    /// The memory.
    pub id: Uuid,
    /// The version that brought its present text.
    pub text_version: u64,
    /// The text.
    pub content: String,
}

/// A vector that has been computed for a stored memory.
#[derive(Debug, Clone, PartialEq)]
pub struct NewVector {
    /// The memory.
    pub id: Uuid,
    /// The version that brought the text it was computed from; if the text has changed since, the
    /// vector is out of date and dropped.
    pub text_version: u64,
    /// The vector.
    pub vector: Vector,
}

/// How far the store's vectors are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingState {
    /// The model that searches compare; none before the first.
    pub active: Option<ModelProgress>,
    /// The model that a switch is filling up.
    pub target: Option<ModelProgress>,
    /// Memories that could have a vector: neither deleted nor expired.
    pub memories: u64,
}

/// How many memories have a vector of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelProgress {
    /// The model.
    pub model: Model,
    /// Memories with a vector of it.
    pub embedded: u64,
}
