//! The weights as they are published.

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

use super::error::LoadError;
use super::weights::{Layer, Linear, Norm, Weights, Words};
use super::{HEAD_WIDTH, INNER, LAYERS, TOKENS_MAX, VOCABULARY, WIDTH};
use crate::embed::kernels::F32Matrix;

/// A published file, read whole.
pub(in crate::embed) struct Checkpoint {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// A layer of products as published: weights output after output.
pub(super) struct PlainLinear {
    pub(super) weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

/// A layer as published, its parts named as in [`Layer`].
pub(super) struct PlainLayer {
    pub(super) split: PlainLinear,
    pub(super) join: PlainLinear,
    pub(super) join_norm: Norm,
    pub(super) widen: PlainLinear,
    pub(super) narrow: PlainLinear,
    pub(super) narrow_norm: Norm,
}

/// What comes before the layers.
pub(super) struct PlainEmbeddings {
    pub(super) words: Vec<f32>,
    pub(super) positions: Vec<f32>,
    pub(super) norm: Norm,
}

impl Checkpoint {
    pub(in crate::embed) fn open(path: &Path) -> Result<Self, LoadError> {
        Ok(Self {
            bytes: std::fs::read(path).map_err(LoadError::file(path))?,
            path: path.to_owned(),
        })
    }

    /// The model with these weights, unrounded.
    pub(super) fn weights(&self) -> Result<Weights, LoadError> {
        let tensors = self.tensors()?;
        let linear = |plain: PlainLinear| Linear::F32(F32Matrix::new(&plain.weights, plain.bias));
        let layers = (0..LAYERS).map(|index| {
            let plain = tensors.layer(index)?;
            Ok(Layer {
                split: linear(plain.split),
                join: linear(plain.join),
                join_norm: plain.join_norm,
                widen: linear(plain.widen),
                narrow: linear(plain.narrow),
                narrow_norm: plain.narrow_norm,
            })
        });
        let layers = layers.collect::<Result<_, LoadError>>()?;
        let plain = tensors.embeddings()?;
        Ok(Weights {
            words: Words::F32(plain.words),
            positions: plain.positions,
            norm: plain.norm,
            layers,
        })
    }

    pub(super) fn tensors(&self) -> Result<Tensors<'_>, LoadError> {
        let damaged = LoadError::damaged(&self.path);
        Ok(Tensors {
            path: &self.path,
            tensors: SafeTensors::deserialize(&self.bytes)
                .map_err(|error| damaged(error.to_string()))?,
        })
    }
}

/// The tensors of a checkpoint by name.
pub(super) struct Tensors<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
}

impl Tensors<'_> {
    pub(super) fn embeddings(&self) -> Result<PlainEmbeddings, LoadError> {
        let words = "embeddings.word_embeddings.weight";
        let mut positions = self.rows("embeddings.position_embeddings.weight", 512)?;
        positions.truncate(TOKENS_MAX * WIDTH);
        let kinds = self.rows("embeddings.token_type_embeddings.weight", 2)?;
        for row in positions.chunks_exact_mut(WIDTH) {
            for (position, kind) in row.iter_mut().zip(&kinds) {
                *position += kind;
            }
        }
        Ok(PlainEmbeddings {
            words: self.rows(words, VOCABULARY)?,
            positions,
            norm: self.norm("embeddings.LayerNorm")?,
        })
    }

    pub(super) fn layer(&self, index: usize) -> Result<PlainLayer, LoadError> {
        let name = |part: &str| format!("encoder.layer.{index}.{part}");
        let linear = |part, inputs, outputs| self.linear(&name(part), inputs, outputs);
        let mut split = linear("attention.self.query", WIDTH, WIDTH)?;
        // What attention divides its scores by, once and for all.
        let scale = 1.0 / (HEAD_WIDTH as f32).sqrt();
        for number in split.weights.iter_mut().chain(&mut split.bias) {
            *number *= scale;
        }
        for part in ["attention.self.key", "attention.self.value"] {
            let more = linear(part, WIDTH, WIDTH)?;
            split.weights.extend(more.weights);
            split.bias.extend(more.bias);
        }
        Ok(PlainLayer {
            split,
            join: linear("attention.output.dense", WIDTH, WIDTH)?,
            join_norm: self.norm(&name("attention.output.LayerNorm"))?,
            widen: linear("intermediate.dense", WIDTH, INNER)?,
            narrow: linear("output.dense", INNER, WIDTH)?,
            narrow_norm: self.norm(&name("output.LayerNorm"))?,
        })
    }

    fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Result<PlainLinear, LoadError> {
        Ok(PlainLinear {
            weights: self.numbers(&format!("{name}.weight"), inputs * outputs)?,
            bias: self.numbers(&format!("{name}.bias"), outputs)?,
        })
    }

    fn norm(&self, name: &str) -> Result<Norm, LoadError> {
        Ok(Norm {
            gain: self.numbers(&format!("{name}.weight"), WIDTH)?,
            shift: self.numbers(&format!("{name}.bias"), WIDTH)?,
        })
    }

    fn rows(&self, name: &str, rows: usize) -> Result<Vec<f32>, LoadError> {
        self.numbers(name, rows * WIDTH)
    }

    fn numbers(&self, name: &str, count: usize) -> Result<Vec<f32>, LoadError> {
        let damaged = LoadError::damaged(self.path);
        let tensor = self
            .tensors
            .tensor(name)
            .map_err(|error| damaged(error.to_string()))?;
        let (numbers, rest) = tensor.data().as_chunks::<4>();
        if tensor.dtype() != Dtype::F32 || numbers.len() != count || !rest.is_empty() {
            return Err(damaged(format!("{name} is not {count} numbers of 32 bits")));
        }
        Ok(numbers
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect())
    }
}
