//! A question as the kernels compare it.

use super::{LANES, dot};

/// A question's vector in all the forms that a scan needs.
#[derive(Debug, Clone)]
pub struct Query {
    exact: Vec<f32>,
    /// Values in 127 steps around 64: unsigned, so that a multiplication with signed codes and
    /// the sum of two products stay within 16 bits (127 * 127 * 2 < 2^15).
    pub(super) codes: Vec<u8>,
    /// What one step of a code is worth.
    pub(super) scale: f32,
    /// The sign of each dimension.
    pub(super) bits: Vec<u64>,
}

/// What is added to a signed code of six bits and a sign.
pub(super) const OFFSET: i32 = 64;

impl Query {
    /// Prepares `vector`.
    pub fn new(vector: &[f32]) -> Self {
        let padded = vector.len().next_multiple_of(LANES);
        let largest = vector
            .iter()
            .fold(0.0_f32, |most, value| most.max(value.abs()));
        let scale = if largest > 0.0 { largest / 63.0 } else { 1.0 };
        let mut codes = vec![OFFSET as u8; padded];
        for (code, value) in codes.iter_mut().zip(vector) {
            *code = ((value / scale).round() as i32 + OFFSET) as u8;
        }
        Self {
            exact: vector.to_vec(),
            codes,
            scale,
            bits: signs(vector),
        }
    }

    /// The cosine to a vector of length 1 that is known exactly.
    pub fn similarity(&self, vector: &[f32]) -> f32 {
        dot(&self.exact, vector)
    }

    /// How far a scan's similarity is from the exact one, but for one in 10,000: each value of
    /// the question and of a row is off by up to half a step, independently, and rows have half
    /// the steps of questions.
    pub fn error(&self) -> f32 {
        // The deviation of a uniform error of one step is 0.29 steps; four of both together.
        4.0 * 0.29 * self.scale * 1.25_f32.sqrt()
    }

    /// Number of dimensions.
    pub fn dimension(&self) -> usize {
        self.exact.len()
    }
}

/// One bit for each dimension, set if the value is positive.
fn signs(vector: &[f32]) -> Vec<u64> {
    let mut bits = vec![0; vector.len().next_multiple_of(LANES) / 64];
    for (place, value) in vector.iter().enumerate() {
        bits[place / 64] |= u64::from(*value > 0.0) << (place % 64);
    }
    bits
}
