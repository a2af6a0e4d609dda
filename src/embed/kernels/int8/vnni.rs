//! Whole-number products with AVX-512 VNNI: 64 outputs of up to 6 rows at a time.

use std::arch::x86_64::{
    __m512i, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_si512,
};

use super::{QUAD, Task, blocks};

/// Outputs of a panel: four vectors.
pub(super) const OUTPUTS: usize = 64;
/// Rows at a time: with four vectors each they take 24 of 32 registers.
const ROWS: usize = 6;
/// Vectors of a panel, and the outputs of each.
const VECTORS: usize = 4;
const LANES: usize = OUTPUTS / VECTORS;

/// Computes a panel; `to` begins at its first output in the first row.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
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
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
fn rows<const N: usize>(task: &Task<'_>, first: usize, to: &mut [f32]) {
    let numbers = &task.numbers[first * task.inputs..][..N * task.inputs];
    assert!(task.inputs.is_multiple_of(QUAD));
    assert_eq!(task.weights.len(), task.inputs * OUTPUTS);
    let mut sums = [[_mm512_setzero_si512(); VECTORS]; N];
    for quad in 0..task.inputs / QUAD {
        // SAFETY: the panel has `inputs / QUAD` times four vectors of 64 weights, as asserted.
        let weights: [__m512i; VECTORS] = unsafe {
            let vectors = task.weights.as_ptr().cast::<__m512i>().add(quad * VECTORS);
            std::array::from_fn(|vector| _mm512_loadu_si512(vectors.add(vector)))
        };
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: each of the `N` rows in `numbers` has `inputs` bytes, and the quad is
            // within them; an array of bytes may lie anywhere.
            let bytes = unsafe {
                *numbers
                    .as_ptr()
                    .add(row * task.inputs + quad * QUAD)
                    .cast::<[u8; QUAD]>()
            };
            let activations = _mm512_set1_epi32(i32::from_le_bytes(bytes));
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = _mm512_dpbusd_epi32(*sum, activations, weights);
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        // SAFETY: both are 256 bytes without padding, and any bits are valid numbers.
        let sums: [[i32; LANES]; VECTORS] = unsafe { std::mem::transmute(sums) };
        let index = first + row;
        let to = &mut to[index * task.stride..][..OUTPUTS];
        for (vector, (sums, to)) in sums.into_iter().zip(to.as_chunks_mut().0).enumerate() {
            let finish = task.finish.from(vector * LANES);
            finish.row::<true, LANES>(sums, &task.rows[index], to);
        }
    }
}
