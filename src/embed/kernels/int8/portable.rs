//! Whole-number products for any processor, and what the other versions are tested against.

use super::{QUAD, Task};

/// Outputs of a panel.
pub(super) const OUTPUTS: usize = 16;

/// Computes a panel; `to` begins at its first output in the first row.
pub(super) fn panel(task: &Task<'_>, to: &mut [f32]) {
    for (index, row) in task.rows.iter().enumerate() {
        let numbers = &task.numbers[index * task.inputs..][..task.inputs];
        let mut sums = [0_i32; OUTPUTS];
        let quads = numbers.as_chunks::<QUAD>().0;
        for (quad, weights) in quads.iter().zip(task.weights.chunks_exact(QUAD * OUTPUTS)) {
            for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<QUAD>().0) {
                for (x, weight) in quad.iter().zip(weights) {
                    *sum += i32::from(*x) * i32::from(*weight);
                }
            }
        }
        if let Some(to) = to[index * task.stride..].first_chunk_mut() {
            task.finish.row::<false, OUTPUTS>(sums, row, to);
        }
    }
}
