//! Whole-number products with AVX2: 8 outputs of up to 6 rows at a time.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi16, _mm256_add_epi32, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_setzero_si256,
};

use super::{QUAD, Task, blocks};
use crate::embed::kernels::quantise::GROUP_QUADS;

/// Outputs of a panel: the lanes of a vector.
pub(super) const OUTPUTS: usize = 8;
/// Rows at a time: four vectors of weights are shared by them.
const ROWS: usize = 6;
/// Inputs of one step.
const GROUP: usize = QUAD * GROUP_QUADS;

/// Computes a panel; `to` begins at its first output in the first row.
#[target_feature(enable = "avx2,fma")]
pub(super) fn panel(task: &Task<'_>, to: &mut [f32]) {
    for block in blocks(task.rows.len(), ROWS) {
        match block.len() {
            0 => {}
            1 => rows::<1>(task, block.start, to),
            2 => rows::<2>(task, block.start, to),
            3 => rows::<3>(task, block.start, to),
            4 => rows::<4>(task, block.start, to),
            5 => rows::<5>(task, block.start, to),
            _ => rows::<ROWS>(task, block.start, to),
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn rows<const N: usize>(task: &Task<'_>, first: usize, to: &mut [f32]) {
    let numbers = &task.numbers[first * task.inputs..][..N * task.inputs];
    assert!(task.inputs.is_multiple_of(GROUP));
    assert_eq!(task.weights.len(), task.inputs * OUTPUTS);
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_si256(); N];
    for step in 0..task.inputs / GROUP {
        // SAFETY: the panel has `inputs / GROUP` times four vectors of 32 weights, as asserted.
        let weights: [__m256i; GROUP_QUADS] = unsafe {
            let group = task
                .weights
                .as_ptr()
                .cast::<__m256i>()
                .add(step * GROUP_QUADS);
            std::array::from_fn(|quad| _mm256_loadu_si256(group.add(quad)))
        };
        for (row, sum) in sums.iter_mut().enumerate() {
            // SAFETY: each of the `N` rows in `numbers` has `inputs` bytes, and the step's 16 are
            // within them; an array of bytes may lie anywhere.
            let quads = unsafe {
                let at = row * task.inputs + step * GROUP;
                &*numbers.as_ptr().add(at).cast::<[[u8; QUAD]; GROUP_QUADS]>()
            };
            let product = |quad: usize| {
                let activations = _mm256_set1_epi32(i32::from_le_bytes(quads[quad]));
                _mm256_maddubs_epi16(activations, weights[quad])
            };
            // In bounds of 16 bits: see `quantise`.
            let first = _mm256_add_epi16(product(0), product(1));
            let second = _mm256_add_epi16(product(2), product(3));
            let short = _mm256_add_epi16(first, second);
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(short, ones));
        }
    }
    for (row, sum) in sums.into_iter().enumerate() {
        // SAFETY: both are 32 bytes without padding, and any bits are valid numbers.
        let sums: [i32; OUTPUTS] = unsafe { std::mem::transmute(sum) };
        let index = first + row;
        if let Some(to) = to[index * task.stride..].first_chunk_mut() {
            task.finish
                .row::<true, OUTPUTS>(sums, &task.rows[index], to);
        }
    }
}
