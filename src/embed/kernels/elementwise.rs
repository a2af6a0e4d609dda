//! What happens to each number or each row: exponential, GELU, softmax, layer norm.

use super::{LANES, multiply_add, versions};

/// Adding and taking away 1.5 * 2^23 rounds a small number to a whole one, whose bits are then
/// the lowest of the sum.
const ROUND: f32 = 12_582_912.0;

/// `e^x` to within 2e-7 of it. Below -87 it is the least normal number instead of nothing.
#[inline(always)]
fn exp<const FMA: bool>(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Not `clamp`, which would also ask for NaN.
    let x = if x > 88.0 { 88.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    // e^x = 2^n * e^r with |r| at most ln 2 / 2.
    let shifted = multiply_add::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = multiply_add::<FMA>(n, -LN_2_HIGH, x);
    let r = multiply_add::<FMA>(n, -LN_2_LOW, r);
    // The first terms of the series.
    let mut sum = 1.0 / 720.0;
    for term in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = multiply_add::<FMA>(sum, r, term);
    }
    sum * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

/// `erf(x)` to within 2e-7, by formula 7.1.26 of Abramowitz and Stegun.
#[inline(always)]
fn erf<const FMA: bool>(x: f32) -> f32 {
    let magnitude = x.abs();
    let t = 1.0 / multiply_add::<FMA>(0.327_591_1, magnitude, 1.0);
    let mut sum = 1.061_405_4;
    for term in [-1.453_152, 1.421_413_8, -0.284_496_72, 0.254_829_6] {
        sum = multiply_add::<FMA>(sum, t, term);
    }
    let rest = sum * t * exp::<FMA>(-magnitude * magnitude);
    (1.0 - rest).copysign(x)
}

#[inline(always)]
fn gelu_body<const FMA: bool>(numbers: &mut [f32]) {
    for x in numbers {
        let half = 0.5 * *x;
        *x = multiply_add::<FMA>(half, erf::<FMA>(*x * std::f32::consts::FRAC_1_SQRT_2), half);
    }
}
versions! {
    /// The activation between the two layers of a feed-forward block, as BERT has it.
    fn gelu(numbers: &mut [f32]) = gelu_body
}

#[inline(always)]
fn sum(row: &[f32]) -> f32 {
    let (blocks, rest) = row.as_chunks::<LANES>();
    let mut parts = [0.0; LANES];
    for block in blocks {
        for lane in 0..LANES {
            parts[lane] += block[lane];
        }
    }
    parts.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

#[inline(always)]
fn softmax_body<const FMA: bool>(row: &mut [f32]) {
    let largest = row.iter().fold(f32::MIN, |a, &b| if a > b { a } else { b });
    for x in row.iter_mut() {
        *x = exp::<FMA>(*x - largest);
    }
    let scale = 1.0 / sum(row);
    for x in row {
        *x *= scale;
    }
}
versions! {
    /// Turns scores into shares of 1.
    fn softmax(row: &mut [f32]) = softmax_body
}

#[inline(always)]
fn layer_norm_body<const FMA: bool>(rows: &mut [f32], gain: &[f32], shift: &[f32]) {
    /// Of the checkpoint's configuration.
    const EPSILON: f32 = 1e-12;
    let width = gain.len();
    for row in rows.chunks_exact_mut(width) {
        let mean = sum(row) / width as f32;
        let mut parts = [0.0; LANES];
        for block in row.as_chunks_mut::<LANES>().0 {
            for lane in 0..LANES {
                block[lane] -= mean;
                parts[lane] = multiply_add::<FMA>(block[lane], block[lane], parts[lane]);
            }
        }
        let variance = parts.iter().sum::<f32>() / width as f32;
        let scale = 1.0 / (variance + EPSILON).sqrt();
        for ((x, gain), shift) in row.iter_mut().zip(gain).zip(shift) {
            *x = multiply_add::<FMA>(*x * scale, *gain, *shift);
        }
    }
}
versions! {
    /// Brings each row to mean 0 and variance 1, then scales and shifts its columns. The width is
    /// a multiple of 16.
    fn layer_norm(rows: &mut [f32], gain: &[f32], shift: &[f32]) = layer_norm_body
}

#[inline(always)]
fn add_body<const FMA: bool>(to: &mut [f32], what: &[f32]) {
    for (to, what) in to.iter_mut().zip(what) {
        *to += what;
    }
}
versions! {
    /// Adds number by number.
    fn add(to: &mut [f32], what: &[f32]) = add_body
}

#[inline(always)]
fn add_bias_body<const FMA: bool>(rows: &mut [f32], bias: &[f32]) {
    for row in rows.chunks_exact_mut(bias.len()) {
        add_body::<FMA>(row, bias);
    }
}
versions! {
    /// Adds the same numbers to each row.
    fn add_bias(rows: &mut [f32], bias: &[f32]) = add_bias_body
}

#[cfg(test)]
mod tests {
    use super::{erf, exp};

    #[test]
    fn exp_is_close() {
        for step in -8_700..8_800 {
            let x = step as f32 / 100.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp::<false>(x)) - exact).abs() / exact;
            assert!(error < 3e-7, "{x}: {error}");
        }
        assert!(exp::<false>(-1e30) < 1e-37 && exp::<false>(1e30).is_finite());
    }

    #[test]
    fn erf_is_close() {
        // The integral of its definition, by Simpson's rule.
        for step in -60..=60 {
            let x = f64::from(step) / 12.0;
            let strip = x / 2_000.0;
            let integral: f64 = (0..2_000)
                .map(|strip_number| {
                    let f = |at: f64| (-at * at).exp();
                    let left = f64::from(strip_number) * strip;
                    strip / 6.0 * (f(left) + 4.0 * f(left + strip / 2.0) + f(left + strip))
                })
                .sum();
            let exact = integral * 2.0 / std::f64::consts::PI.sqrt();
            let error = (f64::from(erf::<false>(x as f32)) - exact).abs();
            assert!(error < 4e-7, "{x}: {error}");
        }
    }
}
