//! all-MiniLM-L6-v2: a BERT of six layers whose mean output is a text's place among meanings.
//!
//! Invariants: one text per call; nothing is allocated per layer; a text's vector depends on its
//! tokens alone, not on what was embedded before it.

mod attention;
mod checkpoint;
mod error;
mod format;
mod forward;
mod quantised;
mod weights;

use std::path::Path;

use parking_lot::Mutex;

pub(super) use checkpoint::Checkpoint;
pub use error::LoadError;
pub(super) use format::{is_current, write};

use super::kernels::Isa;
use forward::Scratch;
use weights::Weights;

/// Numbers of a vector and of each token between the layers.
const WIDTH: usize = 384;
/// Heads of an attention, and numbers of each.
const HEADS: usize = 12;
const HEAD_WIDTH: usize = WIDTH / HEADS;
/// Numbers of a token inside a feed-forward block.
const INNER: usize = 1536;
const LAYERS: usize = 6;
/// Tokens that the model knows.
const VOCABULARY: usize = 30_522;
/// Tokens of a text; the model was trained on no longer ones, and what follows is cut off.
pub(super) const TOKENS_MAX: usize = 256;

/// How exactly the weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Rounded to bytes: a quarter of the size, several times as fast.
    Int8,
    /// As published.
    F32,
}

/// The loaded model.
pub struct MiniLm {
    isa: Isa,
    weights: Weights,
    /// Room to work in, of as many calls as were ever under way at once.
    scratch: Mutex<Vec<Scratch>>,
}

impl MiniLm {
    /// Loads weights: with [`Precision::Int8`] the file that an installation writes, otherwise the
    /// published checkpoint.
    pub fn load(path: &Path, precision: Precision, isa: Isa) -> Result<Self, LoadError> {
        let weights = match precision {
            Precision::Int8 => format::read(path, isa)?,
            Precision::F32 => Checkpoint::open(path)?.weights()?,
        };
        Ok(Self {
            isa,
            weights,
            scratch: Mutex::default(),
        })
    }

    /// The vector of a text's tokens, of length 1. Those beyond the 256th do not count.
    pub fn embed(&self, tokens: &[u32]) -> Vec<f32> {
        let mut scratch = self.scratch.lock().pop().unwrap_or_default();
        let tokens = &tokens[..tokens.len().min(TOKENS_MAX)];
        let vector = forward::run(self.isa, &self.weights, tokens, &mut scratch);
        self.scratch.lock().push(scratch);
        vector
    }

    /// The instruction set that it runs on.
    pub fn isa(&self) -> Isa {
        self.isa
    }
}

impl std::fmt::Debug for MiniLm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MiniLm")
            .field("isa", &self.isa)
            .finish_non_exhaustive()
    }
}
