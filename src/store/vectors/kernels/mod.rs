//! Dot products and distances of many rows, on the widest instructions that the machine has.
//!
//! Invariant: every path computes the same integers; the portable one is the reference.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use std::sync::LazyLock;

/// One implementation of both kernels.
#[derive(Debug, Clone, Copy)]
pub struct Kernels {
    /// Such as `avx2`.
    pub name: &'static str,
    dot: fn(&[u8], &[i8], &mut [i32]),
    hamming: fn(&[u64], &[u64], &mut [u16]),
}

impl Kernels {
    /// For each row of `rows`, the dot product with `query`; a row is as long as the query, which
    /// is a multiple of 64 and holds nothing above 127.
    pub fn dot(&self, query: &[u8], rows: &[i8], out: &mut [i32]) {
        assert!(query.len().is_multiple_of(super::LANES) && rows.len() == query.len() * out.len());
        (self.dot)(query, rows, out);
    }

    /// For each row of `rows`, the number of bits in which it differs from `query`; a row is as
    /// long as the query.
    pub fn hamming(&self, query: &[u64], rows: &[u64], out: &mut [u16]) {
        assert!(rows.len() == query.len() * out.len());
        (self.hamming)(query, rows, out);
    }
}

/// Every implementation that this machine can run, the fastest first.
pub fn available() -> Vec<Kernels> {
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        found.extend(avx512::kernels());
        found.extend(avx2::kernels());
    }
    found.push(Kernels {
        name: "portable",
        dot: portable::dot,
        hamming: portable::hamming,
    });
    found
}

/// Has the processor bring `row` from memory while something else is done.
#[inline]
pub fn prefetch(row: &[i8]) {
    #[cfg(target_arch = "x86_64")]
    for line in row.chunks(CACHE_LINE_BYTES) {
        // SAFETY: a prefetch is a hint that changes nothing and never faults, and SSE is part of x86-64.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(line.as_ptr());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = row;
}

/// What a processor brings at once.
#[cfg(target_arch = "x86_64")]
const CACHE_LINE_BYTES: usize = 64;

static FASTEST: LazyLock<Kernels> = LazyLock::new(|| available()[0]);

/// The name of the implementation in use.
pub fn name() -> &'static str {
    FASTEST.name
}

/// [`Kernels::dot`] of the fastest implementation.
pub fn dot(query: &[u8], rows: &[i8], out: &mut [i32]) {
    FASTEST.dot(query, rows, out);
}

/// [`Kernels::hamming`] of the fastest implementation.
pub fn hamming(query: &[u64], rows: &[u64], out: &mut [u16]) {
    FASTEST.hamming(query, rows, out);
}
