//! AVX2: 32 products an instruction.
//!
//! `maddubs` multiplies unsigned by signed bytes and adds pairs with saturation at 16 bits; a
//! question of 7 bits keeps each pair below it (127 * 128 * 2 < 2^15).

use std::arch::x86_64::*;

use super::Kernels;

pub(super) fn kernels() -> Option<Kernels> {
    let there = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt");
    there.then_some(Kernels {
        name: "avx2",
        // SAFETY: reached only through `Kernels`, whose methods check the lengths, and only when
        // the features were found.
        dot: |query, rows, out| unsafe { dot(query, rows, out) },
        // SAFETY: as above.
        hamming: |query, rows, out| unsafe { hamming(query, rows, out) },
    })
}

/// # Safety
///
/// AVX2 is there; `query` is a multiple of 64 long; `rows` holds `out.len()` rows of that length.
#[target_feature(enable = "avx2")]
unsafe fn dot(query: &[u8], rows: &[i8], out: &mut [i32]) {
    let ones = _mm256_set1_epi16(1);
    let stride = query.len();
    for (place, out) in out.iter_mut().enumerate() {
        let mut sums = [_mm256_setzero_si256(); 2];
        for at in (0..stride).step_by(64) {
            for (half, sum) in sums.iter_mut().enumerate() {
                let at = at + half * 32;
                // SAFETY: `at + 32 <= stride`, and row `place` lies in `rows` by the contract.
                let (q, r) = unsafe {
                    (
                        _mm256_loadu_si256(query.as_ptr().add(at).cast()),
                        _mm256_loadu_si256(rows.as_ptr().add(place * stride + at).cast()),
                    )
                };
                let pairs = _mm256_maddubs_epi16(q, r);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            }
        }
        *out = sum(_mm256_add_epi32(sums[0], sums[1]));
    }
}

#[target_feature(enable = "avx2")]
fn sum(lanes: __m256i) -> i32 {
    let four = _mm_add_epi32(
        _mm256_castsi256_si128(lanes),
        _mm256_extracti128_si256::<1>(lanes),
    );
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b00_00_11_10>(four));
    let one = _mm_add_epi32(two, _mm_shuffle_epi32::<0b00_00_00_01>(two));
    _mm_cvtsi128_si32(one)
}

/// # Safety
///
/// POPCNT is there; `rows` holds `out.len()` rows as long as `query`.
#[target_feature(enable = "popcnt")]
unsafe fn hamming(query: &[u64], rows: &[u64], out: &mut [u16]) {
    super::portable::hamming(query, rows, out);
}
