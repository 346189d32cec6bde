//! Segments: which part of a plan an agent runs. Sessions, virtual users and feed rows are numbered for the whole run, and a
//! [`Share`] says by arithmetic alone whether a number is an agent's own. So the parts of all agents make the whole, for any
//! number of agents, and nobody needs to ask anyone.

use std::fmt;

/// Longest cycle of a share that came over the wire: a million residues, 4 MB in all.
pub const CYCLE_MAX: u32 = 1 << 20;

/// The part of one scenario that one agent runs: it owns number k if k mod `cycle` is among `offsets`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Share {
    offsets: Vec<u32>,
    cycle: u32,
}

/// Numbers that are not a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Nothing has a remainder, or there are too many.
    #[error("a share's cycle is 1 to {CYCLE_MAX}, not {cycle}")]
    Cycle {
        /// What was given.
        cycle: u32,
    },
    /// Offsets that repeat, descend, or are no remainder.
    #[error("a share's offsets ascend and are less than its cycle: {offset} is out of place")]
    Offset {
        /// The first that is wrong.
        offset: u32,
    },
}

impl Share {
    /// A share from its parts.
    ///
    /// # Errors
    /// [`ShareError`] unless the offsets ascend and are less than the cycle.
    pub fn new(offsets: Vec<u32>, cycle: u32) -> Result<Self, ShareError> {
        if cycle == 0 || cycle > CYCLE_MAX {
            return Err(ShareError::Cycle { cycle });
        }
        let mut least = 0;
        for offset in offsets.iter().copied() {
            if offset < least || offset >= cycle {
                return Err(ShareError::Offset { offset });
            }
            least = offset + 1;
        }
        Ok(Self { offsets, cycle })
    }

    /// Everything: the share of an agent that is alone.
    #[must_use]
    pub fn all() -> Self {
        Self {
            offsets: vec![0],
            cycle: 1,
        }
    }

    /// Nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            offsets: Vec::new(),
            cycle: 1,
        }
    }

    /// The remainders that it owns, ascending.
    #[must_use]
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// What numbers are divided by.
    #[must_use]
    pub const fn cycle(&self) -> u32 {
        self.cycle
    }

    /// Whether it owns nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Whether number `k` is its own.
    #[must_use]
    pub fn owns(&self, k: u64) -> bool {
        let rest = k % u64::from(self.cycle);
        self.offsets
            .binary_search_by(|offset| u64::from(*offset).cmp(&rest))
            .is_ok()
    }

    /// How many of the numbers below `total` are its own.
    #[must_use]
    pub fn count(&self, total: u64) -> u64 {
        let (cycles, rest) = (total / u64::from(self.cycle), total % u64::from(self.cycle));
        let partial = self
            .offsets
            .partition_point(|offset| u64::from(*offset) < rest);
        cycles * self.offsets.len() as u64 + partial as u64
    }

    /// The n-th of its own numbers, from 0; none if it owns nothing or the number would not fit.
    #[must_use]
    pub fn nth(&self, n: u64) -> Option<u64> {
        let len = self.offsets.len() as u64;
        let cycles = n.checked_div(len)?;
        let offset = *self.offsets.get(usize::try_from(n % len).ok()?)?;
        cycles
            .checked_mul(u64::from(self.cycle))?
            .checked_add(u64::from(offset))
    }

    /// Its own numbers below `total`, ascending. Skipping is cheap.
    #[must_use]
    pub fn indices(&self, total: u64) -> Indices<'_> {
        Indices {
            share: self,
            next: 0,
            end: self.count(total),
        }
    }
}

impl fmt::Display for Share {
    /// `0,2/3`: the remainders and the cycle. Long lists are cut.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        if self.offsets.is_empty() {
            return f.write_str("none");
        }
        for (place, offset) in self.offsets.iter().take(SHOWN).enumerate() {
            write!(f, "{}{offset}", if place == 0 { "" } else { "," })?;
        }
        if self.offsets.len() > SHOWN {
            write!(f, ",… ({} of them)", self.offsets.len())?;
        }
        write!(f, "/{}", self.cycle)
    }
}

/// Numbers that a share owns, ascending.
#[derive(Debug, Clone)]
pub struct Indices<'a> {
    share: &'a Share,
    next: u64,
    end: u64,
}

impl Iterator for Indices<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.nth(0)
    }

    fn nth(&mut self, skipped: usize) -> Option<u64> {
        let place = self.next.saturating_add(skipped as u64);
        self.next = place.saturating_add(1).min(self.end);
        if place < self.end {
            self.share.nth(place)
        } else {
            None
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.end - self.next);
        (left.unwrap_or(usize::MAX), left.ok())
    }
}

/// Divides a scenario among agents by weight, exactly: of every `sum of weights` numbers in a row each agent owns as many as
/// its weight says, spread as evenly as they can be. An agent of weight 0 owns nothing.
///
/// The cycle is the sum of the weights over their greatest common divisor, so they should be small;
/// beyond [`CYCLE_MAX`] an agent would refuse the share.
#[must_use]
pub fn shares(weights: &[u32]) -> Vec<Share> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    // The n-th turn of an agent of weight w falls at (n + 1/2) / w of the cycle; agents take turns in that order.
    let mut turns: Vec<(u64, u64, usize)> = Vec::new();
    for (agent, weight) in weights.iter().enumerate() {
        let weight = u64::from(weight / divisor);
        turns.extend((0..weight).map(|turn| (2 * turn + 1, weight, agent)));
    }
    // Times are compared as fractions, without rounding: 32 bits each, so products fit.
    turns.sort_unstable_by(|(a, of_a, agent_a), (b, of_b, agent_b)| {
        (a * of_b).cmp(&(b * of_a)).then(agent_a.cmp(agent_b))
    });
    let cycle = u32::try_from(turns.len()).unwrap_or(u32::MAX).max(1);
    let mut shares = vec![
        Share {
            offsets: Vec::new(),
            cycle
        };
        weights.len()
    ];
    for (offset, (_, _, agent)) in (0u32..).zip(turns) {
        shares[agent].offsets.push(offset);
    }
    shares
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(weights: &[u32], expect: &[&str]) {
        let found: Vec<String> = shares(weights).iter().map(ToString::to_string).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn turns_are_spread_evenly() {
        check(&[], &[]);
        check(&[5], &["0/1"]);
        check(&[1, 1, 1], &["0/3", "1/3", "2/3"]);
        check(&[2, 1], &["0,2/3", "1/3"]);
        check(&[4, 2], &["0,2/3", "1/3"]);
        check(&[3, 1, 0], &["0,1,3/4", "2/4", "none"]);
        check(&[0, 0], &["none", "none"]);
        check(&[9, 1], &["0,1,2,3,4,6,7,8,… (9 of them)/10", "5/10"]);
    }

    #[test]
    fn parts_that_are_no_share_are_refused() {
        assert_eq!(Share::new(vec![], 0), Err(ShareError::Cycle { cycle: 0 }));
        assert_eq!(
            Share::new(vec![], u32::MAX),
            Err(ShareError::Cycle { cycle: u32::MAX })
        );
        assert_eq!(
            Share::new(vec![0, 0], 3),
            Err(ShareError::Offset { offset: 0 })
        );
        assert_eq!(
            Share::new(vec![1, 0], 3),
            Err(ShareError::Offset { offset: 0 })
        );
        assert_eq!(
            Share::new(vec![3], 3),
            Err(ShareError::Offset { offset: 3 })
        );
        assert_eq!(
            Share::new(vec![u32::MAX], CYCLE_MAX),
            Err(ShareError::Offset { offset: u32::MAX })
        );
        assert!(Share::new(vec![0, 2], 3).unwrap().owns(5));
    }

    #[test]
    fn an_empty_share_owns_nothing() {
        let none = Share::none();
        assert!(none.is_empty() && !none.owns(0));
        assert_eq!(
            (none.count(u64::MAX), none.nth(0), none.indices(10).count()),
            (0, None, 0)
        );
        assert_eq!(Share::all().nth(u64::MAX), Some(u64::MAX));
    }

    proptest! {
        /// Every number has exactly one owner, and every cycle is divided by weight.
        #[test]
        fn shares_cover_without_gap_or_overlap(weights in prop::collection::vec(0u32..12, 1..12), k: u64) {
            let sum: u32 = weights.iter().sum();
            prop_assume!(sum > 0);
            let all = shares(&weights);
            prop_assert_eq!(all.iter().filter(|share| share.owns(k)).count(), 1);
            for (share, weight) in all.iter().zip(&weights) {
                prop_assert_eq!(share.offsets().len() as u64 * u64::from(sum), u64::from(*weight) * u64::from(share.cycle()));
                prop_assert_eq!(&Share::new(share.offsets().to_vec(), share.cycle()).unwrap(), share);
            }
        }

        /// The numbers that shares list are the whole, whatever the number of agents.
        #[test]
        fn lists_make_the_whole(weights in prop::collection::vec(0u32..12, 1..12), total in 0u64..300) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let mut seen = Vec::new();
            for share in shares(&weights) {
                let own: Vec<u64> = share.indices(total).collect();
                prop_assert_eq!(own.len() as u64, share.count(total));
                prop_assert!(own.iter().all(|k| share.owns(*k)));
                prop_assert!(own.is_sorted());
                prop_assert_eq!(share.indices(total).skip(2).step_by(3).collect::<Vec<_>>(), own.iter().copied().skip(2).step_by(3).collect::<Vec<_>>());
                seen.extend(own);
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..total).collect::<Vec<_>>());
        }

        /// No agent waits long for its turn: between two of its turns lies hardly more than the even distance.
        #[test]
        fn turns_of_an_agent_are_apart(weights in prop::collection::vec(1u32..12, 2..8)) {
            let all = shares(&weights);
            for (share, weight) in all.iter().zip(&weights) {
                let own: Vec<u64> = share.indices(u64::from(share.cycle()) * 2).collect();
                let even = u64::from(weights.iter().sum::<u32>()).div_ceil(u64::from(*weight));
                for pair in own.windows(2) {
                    prop_assert!(pair[1] - pair[0] <= 2 * even + weights.len() as u64);
                }
            }
        }
    }
}
