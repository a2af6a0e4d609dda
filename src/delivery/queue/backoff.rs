//! Pauses before a redelivery.

/// The first pause, in milliseconds; each further one is twice as long.
const FIRST_MS: u64 = 1_000;
/// The longest.
const LONGEST_MS: u64 = 30_000;

/// The pause after `made` deliveries went unanswered: exponential, spread over a quarter on both sides
/// so that what was sent together does not come again together. The same delivery of the same
/// session always gets the same one, which lets a simulation be repeated.
pub(super) fn pause_ms(made: u32, seed: u64) -> u64 {
    let doublings = made.saturating_sub(1).min(16);
    let middle = (FIRST_MS << doublings).min(LONGEST_MS);
    let spread = middle / 2;
    middle - spread / 2 + scramble(seed ^ (u64::from(made) << 56)) % (spread + 1)
}

/// A number that looks like chance (SplitMix64, Steele, Lea, Flood 2014).
fn scramble(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::pause_ms;

    #[test]
    fn pauses_double_up_to_a_bound_and_differ() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..100 {
            assert!((750..=1_250).contains(&pause_ms(1, seed)));
            assert!((1_500..=2_500).contains(&pause_ms(2, seed)));
            assert!((22_500..=37_500).contains(&pause_ms(u32::MAX, seed)));
            seen.insert(pause_ms(3, seed));
        }
        assert!(seen.len() > 80);
    }
}
