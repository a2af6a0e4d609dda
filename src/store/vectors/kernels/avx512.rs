//! AVX-512 with VNNI and VPOPCNTDQ: 64 products an instruction, summed in 32 bits at once.

use std::arch::x86_64::*;

use super::Kernels;

pub(super) fn kernels() -> Option<Kernels> {
    let there = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("popcnt");
    there.then_some(Kernels {
        name: "avx512-vnni",
        // SAFETY: reached only through `Kernels`, whose methods check the lengths, and only when
        // the features were found.
        dot: |query, rows, out| unsafe { dot(query, rows, out) },
        // SAFETY: as above.
        hamming: |query, rows, out| unsafe { hamming(query, rows, out) },
    })
}

/// # Safety
///
/// AVX-512 F and VNNI are there; `query` is a multiple of 64 long; `rows` holds `out.len()` rows
/// of that length.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn dot(query: &[u8], rows: &[i8], out: &mut [i32]) {
    let stride = query.len();
    for (place, out) in out.iter_mut().enumerate() {
        let mut sum = _mm512_setzero_si512();
        for at in (0..stride).step_by(64) {
            // SAFETY: `at + 64 <= stride`, and row `place` lies in `rows` by the contract.
            let (q, r) = unsafe {
                (
                    _mm512_loadu_si512(query.as_ptr().add(at).cast()),
                    _mm512_loadu_si512(rows.as_ptr().add(place * stride + at).cast()),
                )
            };
            sum = _mm512_dpbusd_epi32(sum, q, r);
        }
        *out = _mm512_reduce_add_epi32(sum);
    }
}

/// # Safety
///
/// POPCNT is there; `rows` holds `out.len()` rows as long as `query`.
#[target_feature(enable = "popcnt")]
unsafe fn hamming(query: &[u64], rows: &[u64], out: &mut [u16]) {
    super::portable::hamming(query, rows, out);
}
