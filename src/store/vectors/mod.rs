//! Vectors in memory, one segment's worth: quantised rows, and the scan for those nearest to a
//! question.
//!
//! A row is 384 signed bytes and a scale; a dot product with a question of 7 unsigned bits is
//! exact in integers on every instruction set, so all of them find the same. In large segments a
//! first pass over one bit per dimension picks the rows that the bytes are compared for.
//!
//! ```text
//! f32 vector --quantize--> scale, i8 codes --sign--> bits
//! ```
//!
//! Invariant: what a scan reports as similarity is within 0.01 of the cosine of the f32 vectors;
//! whoever needs it exact computes it from those.

pub mod kernels;
mod query;
mod rows;

pub use query::Query;
pub use rows::{BITS_ROWS_MIN, Rows};

/// Codes are padded with zeros to a multiple of this, so that kernels have no remainder.
pub const LANES: usize = 64;

/// A vector in bytes: value = code * scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    /// What one step of a code is worth.
    pub scale: f32,
    /// One signed byte for each dimension.
    pub codes: Box<[i8]>,
}

impl Quantized {
    /// Rounds each value to the nearest of 255 steps between the largest and its negative.
    pub fn new(vector: &[f32]) -> Self {
        let largest = vector
            .iter()
            .fold(0.0_f32, |most, value| most.max(value.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        let codes = vector
            .iter()
            .map(|value| (value / scale).round() as i8)
            .collect();
        Self { scale, codes }
    }

    /// The scale in four bytes, little-endian, and the codes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4 + self.codes.len());
        bytes.extend(self.scale.to_le_bytes());
        bytes.extend(self.codes.iter().map(|code| *code as u8));
        bytes
    }
}

/// The dot product of two vectors, which is their cosine if both have length 1.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Eight sums at once: the order of additions is fixed, whatever the compiler makes of it.
    let mut sums = [0.0_f32; 8];
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests;
