//! The keys of a stream's last rows. One that comes again with other bytes is none: no truth can be found by it.
//!
//! Exact within its bound, and nothing is imagined: a key is compared with the last [`Keys::LAST`] different ones of its
//! stream, each with the bytes that it had last. A reuse from further back is not told; if it matters to a truth, its rows are
//! mismatched there. Texts are remembered by their XXH3-64.

use testmesh_shared::digest::RowDigest;
use testmesh_shared::integrity::Key;

/// The last keys, at most 4 KiB of them.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// A ring: known keys, and beside each the digest of its bytes.
    known: Vec<u64>,
    digests: Vec<u64>,
    /// Where the oldest is, once the ring is full.
    oldest: usize,
    /// The greatest number so far: a greater one needs no search, and keys mostly grow.
    greatest: Option<i64>,
}

impl Keys {
    /// How many different keys are remembered.
    pub(super) const LAST: usize = 256;

    /// Remembers a row. Says whether its key is one: not if it was one of the last, with other bytes.
    #[inline]
    pub(super) fn is_unique(&mut self, key: &Key<'_>, digest: u64) -> bool {
        let key = match key {
            Key::Number(number) => {
                let greater = self.greatest.is_none_or(|greatest| *number > greatest);
                if greater {
                    self.greatest = Some(*number);
                    self.remember(number.cast_unsigned(), digest);
                    return true;
                }
                number.cast_unsigned()
            }
            Key::Text(text) => RowDigest::of(text.as_bytes()).as_u64(),
        };
        self.is_unique_among_known(key, digest)
    }

    fn is_unique_among_known(&mut self, key: u64, digest: u64) -> bool {
        let Some(place) = self.known.iter().position(|known| *known == key) else {
            self.remember(key, digest);
            return true;
        };
        std::mem::replace(&mut self.digests[place], digest) == digest
    }

    fn remember(&mut self, key: u64, digest: u64) {
        if self.known.len() < Self::LAST {
            self.known.push(key);
            self.digests.push(digest);
            return;
        }
        (self.known[self.oldest], self.digests[self.oldest]) = (key, digest);
        self.oldest = (self.oldest + 1) % Self::LAST;
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
