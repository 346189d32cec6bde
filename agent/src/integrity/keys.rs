//! The keys of a stream's last rows. One that comes again with other bytes is none: no truth can be found by it.
//!
//! Exact within its bound, and nothing is imagined: a key is compared with the last [`Keys::LAST`] different ones of its
//! stream, each with the bytes that it had last. A reuse from further back is not told; if it matters to a truth, its rows are
//! mismatched there. The bound is one of memory: a stream has less than 4 KiB of keys. Texts are remembered by their XXH3-64.

use testmesh_shared::digest::RowDigest;
use testmesh_shared::integrity::Key;

/// The last keys: a ring of them, and chains through it, one for all keys that share a bucket, from the newest to the oldest.
/// A chain ends where its keys have left the ring, so that nothing is ever taken out of it.
#[derive(Debug)]
pub(super) struct Keys {
    ring: [Known; Self::LAST],
    /// The newest key of each bucket, by its number from 1; 0: none yet.
    newest: [u64; Self::BUCKETS],
    /// How many different keys came.
    count: u64,
    /// The greatest number so far: a greater one needs no search, and keys mostly grow.
    greatest: Option<i64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    key: u64,
    /// Of the bytes that it had last.
    digest: u64,
    /// The number of the key before it in its bucket; 0: there was none.
    before: u64,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            ring: [Known::default(); Self::LAST],
            newest: [0; Self::BUCKETS],
            count: 0,
            greatest: None,
        }
    }
}

impl Keys {
    /// How many different keys are remembered.
    pub(super) const LAST: usize = 128;
    const BUCKETS: usize = 64;

    /// Remembers a row. Says whether its key is one: not if it was one of the last, with other bytes.
    #[inline]
    pub(super) fn is_unique(&mut self, key: &Key<'_>, digest: u64) -> bool {
        let (key, is_new) = match key {
            Key::Number(number) => {
                let is_new = self.greatest.is_none_or(|greatest| *number > greatest);
                if is_new {
                    self.greatest = Some(*number);
                }
                (number.cast_unsigned(), is_new)
            }
            Key::Text(text) => (RowDigest::of(text.as_bytes()).as_u64(), false),
        };
        // Fibonacci hashing: keys are often multiples of a step.
        let bucket = usize::try_from(key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58);
        let bucket = bucket.unwrap_or_default();
        let known = if is_new { None } else { self.find(bucket, key) };
        match known {
            Some(place) => std::mem::replace(&mut self.ring[place].digest, digest) == digest,
            None => {
                self.remember(bucket, key, digest);
                true
            }
        }
    }

    /// Where a key is, if it is one of the last.
    fn find(&self, bucket: usize, key: u64) -> Option<usize> {
        let mut number = self.newest[bucket];
        while number > 0 && self.count - number < Self::LAST as u64 {
            let place = Self::place(number);
            if self.ring[place].key == key {
                return Some(place);
            }
            number = self.ring[place].before;
        }
        None
    }

    #[inline]
    fn remember(&mut self, bucket: usize, key: u64, digest: u64) {
        self.count += 1;
        let before = std::mem::replace(&mut self.newest[bucket], self.count);
        self.ring[Self::place(self.count)] = Known {
            key,
            digest,
            before,
        };
    }

    /// Where in the ring the key of that number is.
    const fn place(number: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is small")]
        let place = (number % Self::LAST as u64) as usize;
        place
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reuse_is_found_among_the_last_keys_and_not_before() {
        for (between, unique) in [
            (0, false),
            (Keys::LAST as i64 - 1, false),
            (Keys::LAST as i64, true),
        ] {
            let mut keys = Keys::default();
            for number in 0..=between {
                assert!(keys.is_unique(&Key::Number(number), 1));
            }
            assert_eq!(
                keys.is_unique(&Key::Number(0), 2),
                unique,
                "{between} keys later"
            );
        }
    }

    #[test]
    fn the_same_bytes_may_come_again() {
        let mut keys = Keys::default();
        for _ in 0..3 {
            assert!(keys.is_unique(&Key::Text("a".into()), 1));
            assert!(keys.is_unique(&Key::Number(7), 2));
        }
        assert!(!keys.is_unique(&Key::Text("a".into()), 2));
    }

    proptest! {
        /// Against a list that is searched from its end.
        #[test]
        fn what_is_told_is_exact_within_the_bound(rows in prop::collection::vec((-200..400i64, 0..2u64), 0..2_000)) {
            let mut keys = Keys::default();
            let mut last: VecDeque<(i64, u64)> = VecDeque::new();
            for (number, digest) in rows {
                let known = last.iter_mut().find(|(known, _)| *known == number);
                let expect = match known {
                    Some((_, before)) => std::mem::replace(before, digest) == digest,
                    None => {
                        last.push_back((number, digest));
                        if last.len() > Keys::LAST {
                            last.pop_front();
                        }
                        true
                    }
                };
                prop_assert_eq!(keys.is_unique(&Key::Number(number), digest), expect);
            }
        }
    }
}
