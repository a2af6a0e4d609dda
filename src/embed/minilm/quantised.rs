//! Rounding the published weights.

use super::checkpoint::PlainLinear;
use super::{VOCABULARY, WIDTH};
use crate::embed::kernels::{Rounded, WEIGHT_MAX, weight_scale};

/// Columns between the layers whose activations reach ten times those of all others, in every
/// layer and for every text that we looked at. They are not rounded.
pub(super) const OUTLIERS: [usize; 2] = [99, 223];

/// Rounds a layer of products that reads what lies between the layers.
pub(super) fn with_outliers(mut plain: PlainLinear) -> Rounded {
    let inputs = plain.weights.len() / plain.bias.len();
    let outliers = OUTLIERS.map(|input| {
        let column = plain.weights.iter_mut().skip(input).step_by(inputs);
        (input, column.map(std::mem::take).collect())
    });
    Rounded {
        outliers: outliers.into(),
        ..without_outliers(plain)
    }
}

/// Rounds any other layer of products.
pub(super) fn without_outliers(plain: PlainLinear) -> Rounded {
    let inputs = plain.weights.len() / plain.bias.len();
    let mut weights = Vec::with_capacity(plain.weights.len());
    let mut scale = Vec::with_capacity(plain.bias.len());
    for row in plain.weights.chunks_exact(inputs) {
        let step = weight_scale(row);
        scale.push(step);
        round(row, step, &mut weights);
    }
    Rounded {
        weights,
        scale,
        bias: plain.bias,
        outliers: Vec::new(),
    }
}

/// Rounds the table of words: bytes, and the step between them in each row.
pub(super) fn words(plain: &[f32]) -> (Vec<i8>, Vec<f32>) {
    let mut numbers = Vec::with_capacity(VOCABULARY * WIDTH);
    let mut scale = Vec::with_capacity(VOCABULARY);
    for row in plain.chunks_exact(WIDTH) {
        let largest = row.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        let step = (largest / WEIGHT_MAX).max(f32::MIN_POSITIVE);
        scale.push(step);
        round(row, step, &mut numbers);
    }
    (numbers, scale)
}

fn round(row: &[f32], step: f32, to: &mut Vec<i8>) {
    let levels = row.iter().map(|weight| (weight / step).round());
    to.extend(levels.map(|level| level.clamp(-WEIGHT_MAX, WEIGHT_MAX) as i8));
}
