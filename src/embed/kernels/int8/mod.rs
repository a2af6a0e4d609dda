//! Layers with rounded weights: whole-number products, and what brings them back to f32.
//!
//! Invariant: the weights obey the bound of [`weight_scale`](super::weight_scale), so no sum of
//! the AVX2 version overflows; packing checks it.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;
#[cfg(target_arch = "x86_64")]
mod vnni;

use super::quantise::{GROUP_QUADS, LEVELS, Quantised, Row};
use super::{Isa, Set};

/// Columns that may stay unrounded: the model has this many whose activations are ten times
/// larger than all others, and rounding these would leave the others with three bits.
pub(in crate::embed) const OUTLIERS: usize = 2;

/// Inputs that lie side by side for each output.
const QUAD: usize = 4;

/// A layer's weights and what is needed to use them.
///
/// They lie in panels of as many outputs as the instruction set works on together; in a panel,
/// quad after quad of inputs; in a quad, output after output.
#[derive(Debug)]
pub(in crate::embed) struct Int8Matrix {
    isa: Isa,
    inputs: usize,
    outputs: usize,
    panels: Vec<i8>,
    /// Step between rounded weights of each output.
    scale: Vec<f32>,
    /// Sum of each output's rounded weights: what a zero point is multiplied by.
    sum: Vec<i32>,
    bias: Vec<f32>,
    /// Inputs that are not rounded, and the weights of each for all outputs.
    outliers: Vec<usize>,
    outlier_weights: Vec<Vec<f32>>,
}

/// Rounded weights as they are stored: output after output.
#[derive(Debug)]
pub(in crate::embed) struct Rounded {
    /// `outputs` x `inputs`; 0 in the columns of outliers.
    pub(in crate::embed) weights: Vec<i8>,
    /// Of each output.
    pub(in crate::embed) scale: Vec<f32>,
    /// Of each output.
    pub(in crate::embed) bias: Vec<f32>,
    /// Inputs that are not rounded, with their weights for all outputs.
    pub(in crate::embed) outliers: Vec<(usize, Vec<f32>)>,
}

impl Int8Matrix {
    /// Packs weights for an instruction set; `None` if they do not obey the bounds.
    pub(in crate::embed) fn new(isa: Isa, rounded: Rounded) -> Option<Self> {
        let outputs = rounded.bias.len();
        let inputs = rounded.weights.len().checked_div(outputs)?;
        let panel = panel_outputs(isa);
        let sound = rounded.weights.len() == inputs * outputs
            && rounded.scale.len() == outputs
            && inputs.is_multiple_of(QUAD * GROUP_QUADS)
            && outputs.is_multiple_of(panel)
            && rounded.outliers.len() <= OUTLIERS
            && rounded
                .outliers
                .iter()
                .all(|(input, weights)| *input < inputs && weights.len() == outputs)
            && rounded.weights.chunks_exact(QUAD * GROUP_QUADS).all(fits);
        if !sound {
            return None;
        }
        let mut panels = Vec::with_capacity(rounded.weights.len());
        for rows in rounded.weights.chunks_exact(panel * inputs) {
            for quad in (0..inputs).step_by(QUAD) {
                for row in rows.chunks_exact(inputs) {
                    panels.extend_from_slice(&row[quad..quad + QUAD]);
                }
            }
        }
        let sum = rounded
            .weights
            .chunks_exact(inputs)
            .map(|row| row.iter().map(|&w| i32::from(w)).sum())
            .collect();
        let (outliers, outlier_weights) = rounded.outliers.into_iter().unzip();
        Some(Self {
            isa,
            inputs,
            outputs,
            panels,
            scale: rounded.scale,
            sum,
            bias: rounded.bias,
            outliers,
            outlier_weights,
        })
    }

    /// Rows of inputs to rows of outputs. `rounded` is room to work in.
    pub(in crate::embed) fn apply(&self, rows: &[f32], rounded: &mut Quantised, to: &mut [f32]) {
        rounded.set(self.isa, rows, self.inputs, &self.outliers);
        assert!(rows.len().is_multiple_of(self.inputs));
        assert_eq!(to.len() / self.outputs, rounded.rows.len());
        let panel = panel_outputs(self.isa);
        for (index, weights) in self.panels.chunks_exact(panel * self.inputs).enumerate() {
            let task = Task {
                weights,
                inputs: self.inputs,
                numbers: &rounded.numbers,
                rows: &rounded.rows,
                finish: self.finish(index * panel, panel),
                stride: self.outputs,
            };
            let to = &mut to[index * panel..];
            match self.isa.0 {
                Set::Portable => portable::panel(&task, to),
                // SAFETY: this `Isa` exists, so the processor has AVX2 and FMA.
                #[cfg(target_arch = "x86_64")]
                Set::Avx2 => unsafe { avx2::panel(&task, to) },
                // SAFETY: this `Isa` exists, so the processor has AVX-512 with VNNI.
                #[cfg(target_arch = "x86_64")]
                Set::Vnni => unsafe { vnni::panel(&task, to) },
            }
        }
    }

    fn finish(&self, from: usize, count: usize) -> Finish<'_> {
        let outputs = from..from + count;
        let outlier = |place: usize| {
            let weights = self.outlier_weights.get(place);
            weights.map_or(&[][..], |weights| &weights[outputs.clone()])
        };
        Finish {
            scale: &self.scale[outputs.clone()],
            sum: &self.sum[outputs.clone()],
            bias: &self.bias[outputs.clone()],
            outliers: [outlier(0), outlier(1)],
        }
    }
}

/// Outputs of a panel.
fn panel_outputs(isa: Isa) -> usize {
    match isa.0 {
        Set::Portable => portable::OUTPUTS,
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => avx2::OUTPUTS,
        #[cfg(target_arch = "x86_64")]
        Set::Vnni => vnni::OUTPUTS,
    }
}

/// True if no sum of these four quads overflows 16 bits, whatever the activations.
fn fits(group: &[i8]) -> bool {
    (0..2).all(|half| {
        let meeting = || {
            let quads = group.chunks_exact(QUAD);
            quads.flat_map(move |quad| quad[2 * half..2 * half + 2].iter().copied())
        };
        let sum = |sign: i32| -> i32 { meeting().map(|w| (sign * i32::from(w)).max(0)).sum() };
        sum(1).max(sum(-1)) * i32::from(LEVELS) <= i32::from(i16::MAX)
    })
}

/// One panel for all rows.
struct Task<'a> {
    weights: &'a [i8],
    inputs: usize,
    /// Rounded activations, row after row.
    numbers: &'a [u8],
    rows: &'a [Row],
    finish: Finish<'a>,
    /// Numbers from one row of the result to the next.
    stride: usize,
}

/// From whole-number sums to outputs, for the outputs of one panel.
struct Finish<'a> {
    scale: &'a [f32],
    sum: &'a [i32],
    bias: &'a [f32],
    /// Weights of the unrounded inputs; empty if there are none.
    outliers: [&'a [f32]; OUTLIERS],
}

impl<'a> Finish<'a> {
    /// For the outputs from `first` on.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn from(&self, first: usize) -> Self {
        let rest = |numbers: &'a [f32]| numbers.get(first..).unwrap_or_default();
        Self {
            scale: &self.scale[first..],
            sum: &self.sum[first..],
            bias: &self.bias[first..],
            outliers: self.outliers.map(rest),
        }
    }

    /// Turns the sums of one row into its outputs.
    #[inline(always)]
    fn row<const FMA: bool, const N: usize>(&self, sums: [i32; N], row: &Row, to: &mut [f32; N]) {
        let read = |from: &[f32]| -> [f32; N] { from[..N].try_into().unwrap_or([0.0; N]) };
        let (scale, mut outputs) = (read(self.scale), read(self.bias));
        let shifts: [i32; N] = self.sum[..N].try_into().unwrap_or([0; N]);
        for output in 0..N {
            let exact = (sums[output] - row.zero * shifts[output]) as f32;
            let step = row.scale * scale[output];
            outputs[output] = super::multiply_add::<FMA>(exact, step, outputs[output]);
        }
        for (weights, activation) in self.outliers.iter().zip(row.outliers) {
            if let Some(weights) = weights.first_chunk::<N>() {
                for output in 0..N {
                    outputs[output] =
                        super::multiply_add::<FMA>(activation, weights[output], outputs[output]);
                }
            }
        }
        *to = outputs;
    }
}

/// Splits `rows` into the fewest blocks of at most `most`, as equal as can be: a block of one row
/// costs nearly what a block of three does.
fn blocks(rows: usize, most: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let count = rows.div_ceil(most).max(1);
    (0..count).map(move |block| block * rows / count..(block + 1) * rows / count)
}
