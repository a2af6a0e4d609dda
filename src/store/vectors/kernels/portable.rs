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

pub(super) fn hamming(query: &[u64], rows: &[u64], out: &mut [u16]) {
    for (row, out) in rows.chunks_exact(query.len().max(1)).zip(out) {
        let differ: u32 = query
            .iter()
            .zip(row)
            .map(|(q, r)| (q ^ r).count_ones())
            .sum();
        *out = differ as u16;
    }
}
