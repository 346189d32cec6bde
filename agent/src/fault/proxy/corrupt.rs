//! Turns bits over: of each KiB of a stream at most one, with a given probability. The same seed turns over the same bits
//! of the same stream, however it is cut into pieces.

/// The bytes of which at most one bit is turned over.
const BLOCK: usize = 1024;

/// A sequence of numbers that looks random and follows from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to, but not, 1.
    pub(super) fn share(&mut self) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "53 bits are exactly what the type holds"
        )]
        let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        share
    }
}

/// Turns bits of one stream over.
#[derive(Debug)]
pub(super) struct Corrupter {
    dice: Dice,
    /// How far the current block has come.
    at: usize,
    /// Where in the current block, and which bit.
    hit: Option<(usize, u8)>,
}

impl Corrupter {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            at: 0,
            hit: None,
        }
    }

    /// Takes the next bytes of the stream. Returns how many bits were turned over.
    pub(super) fn pass(&mut self, mut data: &mut [u8], probability: f64) -> u64 {
        let mut turned = 0;
        while !data.is_empty() {
            if self.at == 0 {
                let (drawn, place) = (self.dice.share(), self.dice.next());
                let offset = usize::try_from(place % 1024).unwrap_or(0);
                let bit = u8::try_from((place >> 10) % 8).unwrap_or(0);
                self.hit = (drawn < probability).then_some((offset, bit));
            }
            let take = data.len().min(BLOCK - self.at);
            let (now, rest) = data.split_at_mut(take);
            if let Some((offset, bit)) = self.hit
                && let Some(byte) = offset
                    .checked_sub(self.at)
                    .and_then(|place| now.get_mut(place))
                && probability > 0.0
            {
                *byte ^= 1 << bit;
                turned += 1;
            }
            self.at = (self.at + take) % BLOCK;
            data = rest;
        }
        turned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn corrupted(seed: u64, probability: f64, bytes: usize, piece: usize) -> (Vec<u8>, u64) {
        let mut data = vec![0; bytes];
        let mut corrupter = Corrupter::new(seed);
        let pieces = data.chunks_mut(piece);
        let turned = pieces.map(|piece| corrupter.pass(piece, probability)).sum();
        (data, turned)
    }

    #[test]
    fn as_many_blocks_are_hit_as_was_asked_for() {
        let (data, turned) = corrupted(7, 0.25, 4_000 * BLOCK, 1_000);
        let hit = data
            .chunks(BLOCK)
            .map(|block| block.iter().map(|byte| byte.count_ones()).sum::<u32>());
        assert!(hit.clone().all(|bits| bits <= 1));
        assert_eq!(hit.map(u64::from).sum::<u64>(), turned);
        // 1,000 on average, with a deviation of 27.
        assert!((860..1_140).contains(&turned), "{turned}");
        assert_eq!(corrupted(7, 0.0, 64 * BLOCK, 100).1, 0);
        assert_eq!(corrupted(7, 1.0, 64 * BLOCK, 100).1, 64);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(seed: u64, piece in 1_usize..5_000) {
            prop_assert_eq!(corrupted(seed, 0.5, 20_000, piece), corrupted(seed, 0.5, 20_000, 20_000));
        }
    }
}
