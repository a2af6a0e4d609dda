//! From tokens to a vector.

use super::attention::{self, Attention};
use super::weights::Weights;
use super::{INNER, WIDTH};
use crate::embed::kernels::{self, Isa, Quantised};

/// Room for one text; it grows to the longest one seen, some 3 MB at most.
#[derive(Default)]
pub(super) struct Scratch {
    /// Each token between the layers.
    tokens: Vec<f32>,
    /// What a layer adds to them.
    change: Vec<f32>,
    /// Queries, keys and values of each.
    split: Vec<f32>,
    attended: Vec<f32>,
    inner: Vec<f32>,
    attention: Attention,
    quantised: Quantised,
}

/// Runs the model.
pub(super) fn run(isa: Isa, weights: &Weights, tokens: &[u32], room: &mut Scratch) -> Vec<f32> {
    let count = tokens.len();
    if count == 0 {
        return vec![0.0; WIDTH];
    }
    for (buffer, width) in [
        (&mut room.tokens, WIDTH),
        (&mut room.change, WIDTH),
        (&mut room.split, attention::SPLIT_WIDTH),
        (&mut room.attended, WIDTH),
        (&mut room.inner, INNER),
    ] {
        buffer.resize(count * width, 0.0);
    }
    for (token, row) in tokens.iter().zip(room.tokens.chunks_exact_mut(WIDTH)) {
        weights.words.row(*token, row);
    }
    kernels::add(isa, &mut room.tokens, &weights.positions);
    weights.norm.apply(isa, &mut room.tokens);
    for layer in &weights.layers {
        let quantised = &mut room.quantised;
        layer
            .split
            .apply(isa, &room.tokens, quantised, &mut room.split);
        room.attention.run(isa, &room.split, &mut room.attended);
        layer
            .join
            .apply(isa, &room.attended, quantised, &mut room.change);
        kernels::add(isa, &mut room.tokens, &room.change);
        layer.join_norm.apply(isa, &mut room.tokens);
        layer
            .widen
            .apply(isa, &room.tokens, quantised, &mut room.inner);
        kernels::gelu(isa, &mut room.inner);
        layer
            .narrow
            .apply(isa, &room.inner, quantised, &mut room.change);
        kernels::add(isa, &mut room.tokens, &room.change);
        layer.narrow_norm.apply(isa, &mut room.tokens);
    }
    mean_direction(isa, &room.tokens)
}

/// The mean of all tokens, brought to length 1.
fn mean_direction(isa: Isa, tokens: &[f32]) -> Vec<f32> {
    let mut sum = vec![0.0; WIDTH];
    for token in tokens.chunks_exact(WIDTH) {
        kernels::add(isa, &mut sum, token);
    }
    let length = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
    for x in &mut sum {
        *x /= length.max(f32::MIN_POSITIVE);
    }
    sum
}
