//! Which row of a call a fault hits: a pure function of (seed, call number, behavior).
//!
//! Drawn per call and never from the row alone: otherwise every user would see the same wrong byte, and comparing users
//! would find nothing.

use std::time::Duration;

use super::parse::{Behavior, Strength};
use super::table::Kind;
use crate::hash::{mix3, unit};

/// Rows of a call, counted from 0, among which a fault that strikes once lies: its 10th to its 50th.
const FIRST: u64 = 9;
const CANDIDATES: u64 = 41;

/// What strikes one row of one call.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hits {
    pub(crate) flip_bit: bool,
    pub(crate) drop_row: bool,
    pub(crate) repeat_row: bool,
    pub(crate) swap_rows: bool,
    pub(crate) truncate_row: bool,
    pub(crate) wrong_stream: bool,
    pub(crate) stall: Option<Duration>,
    pub(crate) early_end: bool,
    pub(crate) disconnect: bool,
}

/// The faults of one `StreamData` call.
#[derive(Debug)]
pub(crate) struct CallFaults {
    seed: u64,
    call: u64,
    behaviors: Vec<Behavior>,
    /// `wrong-stream` holds from the row it struck.
    wrong_since: Option<u64>,
}

impl CallFaults {
    /// Draws the faults of a call.
    pub(crate) fn new(seed: u64, call: u64, behaviors: &[Behavior]) -> Self {
        Self {
            seed,
            call,
            behaviors: behaviors.to_vec(),
            wrong_since: None,
        }
    }

    /// What strikes the call's row with this ordinal, counted from 0. Rows must be asked for in order.
    pub(crate) fn at(&mut self, ordinal: u64) -> Hits {
        let mut hits = Hits::default();
        for behavior in &self.behaviors {
            if !behavior.kind().strikes_rows() || !self.strikes(behavior, ordinal) {
                continue;
            }
            match behavior.kind() {
                Kind::FlipBit => hits.flip_bit = true,
                Kind::DropRow => hits.drop_row = true,
                Kind::RepeatRow => hits.repeat_row = true,
                Kind::SwapRows => hits.swap_rows = true,
                Kind::TruncateRow => hits.truncate_row = true,
                Kind::WrongStream => self.wrong_since = self.wrong_since.or(Some(ordinal)),
                Kind::Stall => hits.stall = Some(behavior.lasts()),
                Kind::EarlyEnd => hits.early_end = true,
                Kind::Disconnect => hits.disconnect = true,
                // The others strike no row, see `Kind::strikes_rows`.
                _ => {}
            }
        }
        hits.wrong_stream = self.wrong_since.is_some();
        hits
    }

    /// The behavior of a kind that strikes whole calls, if it strikes this one.
    pub(crate) fn whole(&self, kind: Kind) -> Option<&Behavior> {
        let behavior = self.behaviors.iter().find(|one| one.kind() == kind)?;
        strikes_request(self.seed, self.call, behavior).then_some(behavior)
    }

    /// Which bit of a payload of this many bits `flip-bit` inverts.
    pub(crate) fn bit(&self, ordinal: u64, bits: u64) -> u64 {
        mix3(self.seed ^ 0xB17, self.call, ordinal) % bits.max(1)
    }

    /// Which of `count` wrong streams this call gets.
    pub(crate) fn wrong(&self, count: usize) -> usize {
        let count = u64::try_from(count).unwrap_or(1).max(1);
        usize::try_from(mix3(self.seed ^ 0x3805, self.call, 0) % count).unwrap_or(0)
    }

    fn strikes(&self, behavior: &Behavior, ordinal: u64) -> bool {
        strikes(self.seed, self.call, behavior, ordinal)
    }
}

/// Whether a behavior strikes a request, for behaviors that act on requests.
pub(crate) fn strikes_request(seed: u64, request: u64, behavior: &Behavior) -> bool {
    match behavior.strength() {
        Strength::Once | Strength::Duration(_) => true,
        Strength::Rate(rate) => unit(mix3(seed ^ salt(behavior.kind()), request, 0)) < rate,
    }
}

fn strikes(seed: u64, call: u64, behavior: &Behavior, ordinal: u64) -> bool {
    let seed = seed ^ salt(behavior.kind());
    match behavior.strength() {
        Strength::Once | Strength::Duration(_) => {
            ordinal == FIRST + mix3(seed, call, 0) % CANDIDATES
        }
        Strength::Rate(rate) => unit(mix3(seed, call, ordinal.wrapping_add(1))) < rate,
    }
}

/// Keeps the draws of different behaviors apart.
fn salt(kind: Kind) -> u64 {
    let name = super::table::entry(kind).name;
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(text: &str, call: u64, rows: u64) -> Vec<Hits> {
        let mut faults = CallFaults::new(7, call, &Behavior::parse_list(text).unwrap());
        (0..rows).map(|ordinal| faults.at(ordinal)).collect()
    }

    #[test]
    fn once_is_once_in_every_call_between_the_tenth_and_the_fiftieth_row() {
        let mut places = std::collections::BTreeSet::new();
        for call in 0..1_000 {
            let rows = hits("flip-bit", call, 200);
            let struck: Vec<_> = (0..)
                .zip(&rows)
                .filter(|(_, hit)| hit.flip_bit)
                .map(|(at, _)| at)
                .collect();
            assert_eq!(struck.len(), 1);
            places.insert(struck[0]);
        }
        assert_eq!(
            (places.first(), places.last(), places.len()),
            (Some(&9), Some(&49), 41)
        );
    }

    #[test]
    fn calls_and_behaviors_are_drawn_apart() {
        let place = |text, call| {
            hits(text, call, 60)
                .iter()
                .position(|hit| *hit != Hits::default())
        };
        assert!((0..20).any(|call| place("drop-row", call) != place("repeat-row", call)));
        assert!((0..20).any(|call| place("drop-row", call) != place("drop-row", call + 1)));
        assert_eq!(place("drop-row", 3), place("drop-row", 3));
    }

    #[test]
    fn wrong_stream_holds() {
        let rows = hits("wrong-stream", 1, 60);
        let first = rows.iter().position(|hit| hit.wrong_stream).unwrap();
        assert!(rows[first..].iter().all(|hit| hit.wrong_stream));
    }

    #[test]
    fn rates_are_met() {
        let struck = hits("drop-row:0.01", 5, 100_000)
            .iter()
            .filter(|hit| hit.drop_row)
            .count();
        assert!((900..1_100).contains(&struck), "{struck}");
        assert_eq!(
            hits("drop-row:0", 5, 10_000)
                .iter()
                .filter(|hit| hit.drop_row)
                .count(),
            0
        );
        assert_eq!(
            hits("drop-row:1", 5, 100)
                .iter()
                .filter(|hit| hit.drop_row)
                .count(),
            100
        );
    }

    #[test]
    fn requests_are_struck_by_rate_or_always() {
        let slow: Behavior = "slow-stage".parse().unwrap();
        assert!((0..100).all(|request| strikes_request(1, request, &slow)));
        let some: Behavior = "slow-stage:0.5".parse().unwrap();
        let struck = (0..1_000)
            .filter(|request| strikes_request(1, *request, &some))
            .count();
        assert!((430..570).contains(&struck), "{struck}");
    }
}
