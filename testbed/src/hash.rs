//! The one source of pseudo-randomness: a keyed mix of integers.
//!
//! Rows and faults must be pure functions of their coordinates, so nothing here has state.

/// Mixes one word thoroughly (SplitMix64's finaliser).
pub(crate) const fn mix(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Mixes three coordinates; their order matters.
pub(crate) const fn mix3(a: u64, b: u64, c: u64) -> u64 {
    mix(mix(mix(a) ^ b) ^ c)
}

/// Maps a mixed word to [0, 1).
pub(crate) fn unit(word: u64) -> f64 {
    let top = u32::try_from(word >> 32).expect("the upper half of a u64 fits a u32");
    f64::from(top) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_matters_and_unit_stays_below_one() {
        assert_ne!(mix3(1, 2, 3), mix3(1, 3, 2));
        assert!(unit(u64::MAX) < 1.0);
        assert!(unit(0).abs() < f64::EPSILON);
    }
}
