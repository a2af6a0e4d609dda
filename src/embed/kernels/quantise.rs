//! Rounding to whole numbers of seven and eight bits.
//!
//! AVX2 multiplies unsigned by signed bytes and adds neighbours into 16 bits with saturation, so
//! the products must be kept from overflowing. Two bounds do so without losing speed:
//! - activations have 7 bits (0 to [`LEVELS`]), with a zero point of their own in each row;
//! - the weights of an output are scaled so that the positive ones of each eight which meet in one
//!   16-bit sum add up to at most [`GROUP_SUM_MAX`], and so do the negative ones. As most weights
//!   are small, this costs a quarter of the scale, not three bits of it.
//!
//! Four products per 16-bit sum then need only one widening, which makes AVX2 a third faster than
//! widening each. The seventh bit is bought back elsewhere: the few columns whose activations are
//! ten times larger than all others stay unrounded (see `Int8Matrix`). All instruction sets
//! round alike, so that one is tested against another to the last bit of a whole-number sum.

use super::{LANES, multiply_add, versions};

/// Largest rounded activation.
pub(in crate::embed) const LEVELS: u8 = 127;
/// Largest rounded weight.
pub(in crate::embed) const WEIGHT_MAX: f32 = 127.0;
/// Inputs whose products meet in one 16-bit sum: two neighbours of each of four quads.
pub(super) const GROUP_QUADS: usize = 4;
/// What 16 bits hold, in units of the largest activation; half a unit per weight is left for
/// rounding them.
const GROUP_SUM_MAX: f32 = (i16::MAX / LEVELS as i16) as f32 - 4.0;

const _: () = assert!((GROUP_SUM_MAX as i32 + 4) * LEVELS as i32 <= i16::MAX as i32);

/// The step between rounded weights of one output that keeps all sums in bounds.
pub(in crate::embed) fn weight_scale(weights: &[f32]) -> f32 {
    let largest = weights.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    let mut scale = largest / WEIGHT_MAX;
    for group in weights.chunks(4 * GROUP_QUADS) {
        for half in 0..2 {
            let meeting = || {
                let quads = group.chunks(4);
                quads.flat_map(move |quad| quad.iter().skip(2 * half).take(2))
            };
            let positive: f32 = meeting().filter(|w| **w > 0.0).sum();
            let negative: f32 = meeting().filter(|w| **w < 0.0).sum();
            scale = scale
                .max(positive / GROUP_SUM_MAX)
                .max(-negative / GROUP_SUM_MAX);
        }
    }
    // A row of zeros has any scale.
    if scale > 0.0 { scale } else { 1.0 }
}

/// Rounded rows of activations.
#[derive(Debug, Default)]
pub(in crate::embed) struct Quantised {
    /// Row after row.
    pub(super) numbers: Vec<u8>,
    /// Of each row.
    pub(super) rows: Vec<Row>,
    plain: Vec<f32>,
}

/// How a row was rounded: a number `q` stands for `scale * (q - zero)`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row {
    pub(super) scale: f32,
    pub(super) zero: i32,
    /// Activations that were left out of the rounding.
    pub(super) outliers: [f32; super::int8::OUTLIERS],
}

impl Quantised {
    /// Rounds rows of `width` numbers, except those in the columns `outliers`.
    pub(super) fn set(&mut self, isa: super::Isa, rows: &[f32], width: usize, outliers: &[usize]) {
        self.numbers.resize(rows.len(), 0);
        self.rows.resize(rows.len() / width, Row::default());
        self.plain.resize(width, 0.0);
        for ((row, rounded), how) in rows
            .chunks_exact(width)
            .zip(self.numbers.chunks_exact_mut(width))
            .zip(&mut self.rows)
        {
            self.plain.copy_from_slice(row);
            how.outliers = Default::default();
            for (kept, &column) in how.outliers.iter_mut().zip(outliers) {
                *kept = std::mem::take(&mut self.plain[column]);
            }
            round(isa, &self.plain, rounded, how);
        }
    }
}

#[inline(always)]
fn round_body<const FMA: bool>(row: &[f32], rounded: &mut [u8], how: &mut Row) {
    // Rounds and leaves the whole number in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let (mut low, mut high) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    for block in row.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            let x = block[lane];
            low[lane] = if x < low[lane] { x } else { low[lane] };
            high[lane] = if x > high[lane] { x } else { high[lane] };
        }
    }
    let low = low.into_iter().fold(0.0, f32::min);
    let high = high.into_iter().fold(0.0, f32::max);
    let scale = ((high - low) / f32::from(LEVELS)).max(f32::MIN_POSITIVE);
    let inverse = 1.0 / scale;
    let zero = (-low * inverse).round();
    how.scale = scale;
    how.zero = zero as i32;
    for (x, rounded) in row.iter().zip(rounded) {
        let level = multiply_add::<FMA>(*x, inverse, zero);
        let level = if level > 0.0 { level } else { 0.0 };
        let level = if level < f32::from(LEVELS) {
            level
        } else {
            f32::from(LEVELS)
        };
        *rounded = (level + ROUND).to_bits() as u8;
    }
}
versions! {
    /// Rounds one row; its width is a multiple of 16.
    fn round(row: &[f32], rounded: &mut [u8], how: &mut Row) = round_body
}
