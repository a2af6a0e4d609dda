//! The model's parts in memory.

use super::{VOCABULARY, WIDTH};
use crate::embed::kernels::{self, F32Matrix, Int8Matrix, Isa, Quantised};

/// Everything that was learnt.
pub(super) struct Weights {
    pub(super) words: Words,
    /// Of each place in a text, `TOKENS_MAX` x `WIDTH`; the model's first token type, which is
    /// the only one of a single text, is added already.
    pub(super) positions: Vec<f32>,
    pub(super) norm: Norm,
    pub(super) layers: Vec<Layer>,
}

/// One of the six layers.
pub(super) struct Layer {
    /// To queries (already divided by the root of a head's width), keys and values.
    pub(super) split: Linear,
    /// From what was attended to.
    pub(super) join: Linear,
    pub(super) join_norm: Norm,
    pub(super) widen: Linear,
    pub(super) narrow: Linear,
    pub(super) narrow_norm: Norm,
}

/// A layer norm.
pub(super) struct Norm {
    pub(super) gain: Vec<f32>,
    pub(super) shift: Vec<f32>,
}

impl Norm {
    pub(super) fn apply(&self, isa: Isa, rows: &mut [f32]) {
        kernels::layer_norm(isa, rows, &self.gain, &self.shift);
    }
}

/// A layer of products.
pub(super) enum Linear {
    Int8(Int8Matrix),
    F32(F32Matrix),
}

impl Linear {
    pub(super) fn apply(&self, isa: Isa, rows: &[f32], room: &mut Quantised, to: &mut [f32]) {
        match self {
            Self::Int8(matrix) => matrix.apply(rows, room, to),
            Self::F32(matrix) => matrix.apply(isa, rows, to),
        }
    }
}

/// What each token means by itself, `VOCABULARY` x `WIDTH`.
pub(super) enum Words {
    /// Bytes, and the step between them in each row.
    Int8 {
        numbers: Vec<i8>,
        scale: Vec<f32>,
    },
    F32(Vec<f32>),
}

impl Words {
    /// Writes one token's row; a token that the model does not know has none.
    pub(super) fn row(&self, token: u32, to: &mut [f32]) {
        let token = token as usize;
        if token >= VOCABULARY {
            return to.fill(0.0);
        }
        let row = token * WIDTH..(token + 1) * WIDTH;
        match self {
            Self::Int8 { numbers, scale } => {
                for (to, number) in to.iter_mut().zip(&numbers[row]) {
                    *to = f32::from(*number) * scale[token];
                }
            }
            Self::F32(numbers) => to.copy_from_slice(&numbers[row]),
        }
    }
}
