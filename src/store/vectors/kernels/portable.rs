//! The kernels in plain Rust: what the others are measured against.

pub(super) fn dot(query: &[u8], rows: &[i8], out: &mut [i32]) {
    for (row, out) in rows.chunks_exact(query.len().max(1)).zip(out) {
        *out = query
            .iter()
            .zip(row)
            .map(|(q, r)| i32::from(*q) * i32::from(*r))
            .sum();
    }
}

/// Inlined into those who have an instruction that counts bits.
#[inline(always)]
pub(super) fn hamming(query: &[u64], rows: &[u64], out: &mut [u16]) {
    // The length of the usual model is a constant to the compiler, which then unrolls the row.
    if let Ok(query) = <&[u64; 6]>::try_from(query) {
        let (rows, _) = rows.as_chunks::<6>();
        for (row, out) in rows.iter().zip(out) {
            *out = differing(query, row);
        }
    } else {
        for (row, out) in rows.chunks_exact(query.len().max(1)).zip(out) {
            *out = differing(query, row);
        }
    }
}

#[inline(always)]
fn differing(query: &[u64], row: &[u64]) -> u16 {
    let words = query.iter().zip(row);
    let differ: u32 = words.map(|(q, r)| (q ^ r).count_ones()).sum();
    differ as u16
}
