//! Randomness that can be repeated. A run has one seed; every entity that needs randomness has its own place in a tree
//! that grows from it, so that what one session draws does not depend on how many others there are or which agent runs it.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::digest::Digest;

/// A place in the tree of seeds.
///
/// ```
/// use testmesh_shared::rng::SeedTree;
/// let session = SeedTree::new(7).child("live").child_index(3);
/// assert_eq!(session, SeedTree::new(7).child("live").child_index(3));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeedTree(u128);

/// What tells the ways of deriving apart, so that a name never meets a number.
const ROOT: u64 = 0;
const NAME: u64 = 1;
const INDEX: u64 = 2;
const STREAM: u64 = 3;

impl SeedTree {
    /// The root, from the run's seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(xxh3_128_with_seed(&seed.to_le_bytes(), ROOT))
    }

    /// The place of something that has a name.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let mut bytes = Vec::with_capacity(16 + name.len());
        bytes.extend_from_slice(&self.0.to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
        Self(xxh3_128_with_seed(&bytes, NAME))
    }

    /// The place of something that has a number.
    #[must_use]
    pub fn child_index(&self, index: u64) -> Self {
        Self(self.mixed(INDEX, index))
    }

    /// The stream of random numbers of this place; the same each time.
    #[must_use]
    pub fn rng(&self) -> ChaCha8Rng {
        let mut seed = [0; 32];
        let (low, high) = seed.split_at_mut(16);
        low.copy_from_slice(&self.mixed(STREAM, 0).to_le_bytes());
        high.copy_from_slice(&self.mixed(STREAM, 1).to_le_bytes());
        ChaCha8Rng::from_seed(seed)
    }

    /// One random number of this place, where a stream would be too much.
    #[must_use]
    pub fn number(&self) -> u64 {
        Digest::from_u128(self.mixed(STREAM, 2)).first_u64()
    }

    fn mixed(&self, way: u64, index: u64) -> u128 {
        let mut bytes = [0; 24];
        let (place, number) = bytes.split_at_mut(16);
        place.copy_from_slice(&self.0.to_le_bytes());
        number.copy_from_slice(&index.to_le_bytes());
        xxh3_128_with_seed(&bytes, way)
    }
}

/// The seed of a run that was given none: the first 8 bytes of its plan's digest.
#[must_use]
pub fn default_seed(plan: Digest) -> u64 {
    plan.first_u64()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand_chacha::rand_core::Rng;

    use super::*;

    #[test]
    fn every_place_has_its_own_stream() {
        let root = SeedTree::new(1);
        let mut places = vec![
            root,
            SeedTree::new(2),
            root.child(""),
            root.child("a"),
            root.child("b"),
            root.child("a").child("b"),
        ];
        places.extend((0..1_000).map(|index| root.child_index(index)));
        places.extend((0..1_000).map(|index| root.child("a").child_index(index)));
        let first: HashSet<u64> = places.iter().map(|place| place.rng().next_u64()).collect();
        assert_eq!(first.len(), places.len());
        let numbers: HashSet<u64> = places.iter().map(SeedTree::number).collect();
        assert_eq!(numbers.len(), places.len());
    }

    /// A seed that was printed by one build must replay with the next.
    #[test]
    fn streams_stay_the_same_from_build_to_build() {
        let mut rng = SeedTree::new(42).child("live").child_index(7).rng();
        assert_eq!(
            [rng.next_u64(), rng.next_u64()],
            [5_107_041_615_774_845_421, 18_197_223_196_755_104_282]
        );
    }
}
