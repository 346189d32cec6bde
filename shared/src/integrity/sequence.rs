//! The order of a stream's rows. The first number is free; from then on each is one more than the one before, or as a
//! [`Numbering`] says. A window of 4,096 numbers below the greatest decides what has gone wrong:
//!
//! | the number is | it counts as |
//! | --- | --- |
//! | the one after the greatest | in order |
//! | greater than that | a gap: missing, unless the numbers in it still come while they are in the window |
//! | in the window, not seen | reordered; its gap closes |
//! | in the window, seen | repeated |
//! | below the window | repeated: its gap, if there was one, has been counted |
//! | below the first number | reordered, and repeated the second time |
//! | between two steps, or beyond where numbers start again | reordered, each time: it has no place in the order, closes no gap and opens none |
//!
//! Numbers after the last one seen are never missing: the stream may have been cut.

use super::numbering::Numbering;

/// How many numbers below the greatest are remembered.
pub const WINDOW: u64 = 4_096;

const WORDS: usize = 64;
const WINDOW_SIGNED: i64 = 4_096;

/// What is wrong with the order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OrderCounts {
    /// Numbers that never came.
    pub missing: u64,
    /// Numbers that came again.
    pub repeated: u64,
    /// Numbers that came late, or have no place in the order.
    pub reordered: u64,
}

/// How a number stands to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It is the first, or the one after the greatest.
    Next,
    /// It is greater: so many were left out, for now.
    Ahead {
        /// How many.
        gap: u64,
    },
    /// It comes late.
    Late,
    /// It was seen before.
    Again,
    /// It is no number of the sequence: no whole number of steps leads to it, or it is beyond where numbers start again.
    Off,
}

/// Judges the order of one stream. A retry is a new stream.
#[derive(Debug, Clone)]
pub struct Sequence {
    numbering: Numbering,
    /// The first number; the places of all others are counted from it, in arithmetic that wraps, so that types of 64 bits
    /// need no more.
    first: Option<i64>,
    /// The place after the greatest, in steps from the first.
    next: i64,
    /// The number that belongs to it.
    expected: i64,
    /// Which places of the window were seen; absent while all since the first were.
    window: Option<Box<Window>>,
    /// The least place that was passed over and did not come yet.
    gap: Option<i64>,
    counts: OrderCounts,
}

impl Default for Sequence {
    fn default() -> Self {
        Self::new()
    }
}

impl Sequence {
    /// Nothing has come yet; each number is to be one more than the one before.
    #[must_use]
    pub const fn new() -> Self {
        Self::numbered(Numbering::ONE)
    }

    /// Nothing has come yet.
    #[must_use]
    pub const fn numbered(numbering: Numbering) -> Self {
        Self {
            numbering,
            first: None,
            next: 0,
            expected: 0,
            window: None,
            gap: None,
            counts: OrderCounts {
                missing: 0,
                repeated: 0,
                reordered: 0,
            },
        }
    }

    /// Takes the next row's number.
    #[inline]
    pub fn push(&mut self, number: i64) -> Order {
        if number == self.expected && self.window.is_none() && self.first.is_some() {
            self.next = self.next.wrapping_add(1);
            self.expected = self.numbering.after(number);
            return Order::Next;
        }
        self.push_out_of_turn(number)
    }

    fn push_out_of_turn(&mut self, number: i64) -> Order {
        let distance = match self.first {
            Some(_) => self.numbering.distance(self.expected, number),
            None => self.numbering.reaches(number).then_some(0),
        };
        let Some(distance) = distance else {
            self.counts.reordered += 1;
            return Order::Off;
        };
        if self.first.is_none() {
            (self.first, self.next) = (Some(number), 1);
            self.expected = self.numbering.after(number);
            return Order::Next;
        }
        let place = self.next.wrapping_add(distance);
        let order = self.push_slowly(place);
        if let Order::Next | Order::Ahead { .. } = order {
            // The greatest place of all has none after it, and stands for itself.
            self.expected = match place {
                i64::MAX => number,
                _ => self.numbering.after(number),
            };
        }
        order
    }

    fn push_slowly(&mut self, place: i64) -> Order {
        let ahead = place.wrapping_sub(self.next);
        if ahead < 0 || place < self.next {
            return self.push_late(place);
        }
        let gap = ahead.cast_unsigned();
        let next = self.next;
        let window = self
            .window
            .get_or_insert_with(|| Box::new(Window::all_seen(next)));
        self.counts.missing = self
            .counts
            .missing
            .saturating_add(window.advance(next, gap));
        if gap > 0 && self.gap.is_none() {
            self.gap = Some(next);
        }
        self.next = place.saturating_add(1);
        if window.holes == 0 && (!window.early || self.next > WINDOW_SIGNED) {
            self.window = None;
        }
        if gap == 0 {
            Order::Next
        } else {
            Order::Ahead { gap }
        }
    }

    fn push_late(&mut self, place: i64) -> Order {
        let within = place >= self.next.saturating_sub(WINDOW_SIGNED);
        let early = place < 0;
        // Without a window, all numbers since the first were seen.
        if early && within && self.window.is_none() {
            self.window = Some(Box::new(Window::all_seen(self.next)));
        }
        let fresh = match &mut self.window {
            Some(window) if within => window.see_late(place),
            Some(_) | None => early,
        };
        if fresh {
            self.counts.reordered += 1;
            if self.gap == Some(place) {
                self.gap = self
                    .window
                    .as_ref()
                    .and_then(|window| window.hole(place, self.next));
            }
            return Order::Late;
        }
        self.counts.repeated += 1;
        Order::Again
    }

    /// What was wrong so far. Gaps in the window are not missing yet.
    #[must_use]
    pub const fn counts(&self) -> OrderCounts {
        self.counts
    }

    /// The least number that was passed over and has not come: where to look first, if any is missing.
    #[must_use]
    pub fn first_gap(&self) -> Option<i64> {
        let (first, gap) = self.first.zip(self.gap)?;
        Some(self.numbering.at(first, gap))
    }

    /// Whether a number lies between the first and the greatest that came: if it is not seen, it is a gap, and is counted as
    /// one. Means nothing where numbers start again.
    #[must_use]
    pub fn spans(&self, number: i64) -> bool {
        let distance = self
            .first
            .and_then(|_| self.numbering.distance(self.expected, number));
        distance.is_some_and(|distance| (0..self.next).contains(&self.next.wrapping_add(distance)))
    }

    /// The stream has ended: gaps that are still open are missing.
    #[must_use]
    pub fn finish(self) -> OrderCounts {
        let holes = self.window.map_or(0, |window| window.holes);
        OrderCounts {
            missing: self.counts.missing.saturating_add(holes),
            ..self.counts
        }
    }
}

/// One bit for each of the last 4,096 numbers, at the number's remainder by 4,096.
#[derive(Debug, Clone)]
struct Window {
    seen: [u64; WORDS],
    /// How many numbers of the window, from the first number on, were not seen.
    holes: u64,
    /// Whether a number below the first was seen.
    early: bool,
}

impl Window {
    /// All numbers from the first on, below `next`, were seen.
    fn all_seen(next: i64) -> Self {
        let mut window = Self {
            seen: [0; WORDS],
            holes: 0,
            early: false,
        };
        let known = next.clamp(0, WINDOW_SIGNED);
        window.each_word(next - known, known.cast_unsigned(), |word, mask| {
            *word |= mask
        });
        window
    }

    /// Moves the window over `gap` numbers that did not come and one that did, beginning with `next`. Returns how many
    /// numbers left it unseen.
    fn advance(&mut self, next: i64, gap: u64) -> u64 {
        if gap >= WINDOW {
            // All of the window leaves, and all of the gap but its last 4,095.
            let lost = self.holes.saturating_add(gap - (WINDOW - 1));
            self.seen = [0; WORDS];
            self.holes = WINDOW - 1;
            self.mark(next.wrapping_add(gap.cast_signed()));
            return lost;
        }
        // The numbers that leave; those below the first are nobody's loss.
        let leaving = gap + 1;
        let oldest = next - WINDOW_SIGNED;
        let early = oldest
            .saturating_neg()
            .clamp(0, leaving.cast_signed())
            .cast_unsigned();
        let mut kept = 0;
        self.each_word(
            oldest + early.cast_signed(),
            leaving - early,
            |word, mask| {
                kept += u64::from((*word & mask).count_ones());
            },
        );
        let lost = leaving - early - kept;
        // Their bits are now those of the numbers that were passed over.
        self.each_word(next, leaving, |word, mask| *word &= !mask);
        self.mark(next + gap.cast_signed());
        self.holes = self.holes - lost + gap;
        lost
    }

    /// Marks a number of the window as seen. Returns whether it was not.
    fn see_late(&mut self, place: i64) -> bool {
        let (word, mask) = bit(place);
        if self.seen[word] & mask != 0 {
            return false;
        }
        self.seen[word] |= mask;
        if place < 0 {
            self.early = true;
        } else {
            self.holes -= 1;
        }
        true
    }

    /// The least number above `from`, of those in the window below `next`, that was not seen.
    fn hole(&self, from: i64, next: i64) -> Option<i64> {
        let unseen = |place: &i64| {
            let (word, mask) = bit(*place);
            self.seen[word] & mask == 0
        };
        (from.saturating_add(1)..next).find(unseen)
    }

    fn mark(&mut self, place: i64) {
        let (word, mask) = bit(place);
        self.seen[word] |= mask;
    }

    /// Visits the bits of `count` numbers, at most 4,096, from `from` on: whole words where it can.
    fn each_word(&mut self, from: i64, count: u64, mut visit: impl FnMut(&mut u64, u64)) {
        let mut place = from.rem_euclid(WINDOW_SIGNED).cast_unsigned();
        let mut left = count;
        while left > 0 {
            let within = place % 64;
            let take = (64 - within).min(left);
            let mask = (u64::MAX >> (64 - take)) << within;
            let (word, _) = bit(place.cast_signed());
            visit(&mut self.seen[word], mask);
            place = (place + take) % WINDOW;
            left -= take;
        }
    }
}

/// Word and mask of a number's bit.
fn bit(place: i64) -> (usize, u64) {
    let place = place.rem_euclid(WINDOW_SIGNED).cast_unsigned();
    let word = usize::try_from(place / 64).unwrap_or(0);
    (word, 1 << (place % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::integrity::path::Scalar;

    fn judge(numbers: impl IntoIterator<Item = i64>) -> OrderCounts {
        let mut sequence = Sequence::new();
        for number in numbers {
            sequence.push(number);
        }
        sequence.finish()
    }

    #[track_caller]
    fn check(numbers: impl IntoIterator<Item = i64>, missing: u64, repeated: u64, reordered: u64) {
        assert_eq!(
            judge(numbers),
            OrderCounts {
                missing,
                repeated,
                reordered
            }
        );
    }

    #[test]
    fn what_is_wrong_with_the_order_is_counted() {
        check([], 0, 0, 0);
        check([7], 0, 0, 0);
        check([7, 8, 9], 0, 0, 0);
        check([7, 9], 1, 0, 0);
        check([7, 9, 8], 0, 0, 1);
        check([7, 9, 8, 8, 9, 7], 0, 3, 1);
        check([7, 8, 8], 0, 1, 0);
        check([7, 6, 5, 6], 0, 1, 2);
        check([-2, -1, 0, 1], 0, 0, 0);
        check([0, 1, 2, 0, 1, 2], 0, 3, 0);
        check([i64::MAX - 1, i64::MAX, i64::MIN], 0, 0, 0);
    }

    #[test]
    fn a_gap_that_leaves_the_window_is_missing_and_stays_so() {
        let late_in_time = [0].into_iter().chain(2..4_097).chain([1]);
        check(late_in_time, 0, 0, 1);
        let too_late = [0].into_iter().chain(2..4_098).chain([1]);
        check(too_late, 1, 1, 0);
    }

    #[test]
    fn the_first_gap_is_the_least_number_that_has_not_come() {
        for (numbers, expect) in [
            (&[7, 8, 9][..], None),
            (&[7, 9, 12], Some(8)),
            (&[7, 9, 12, 8], Some(10)),
            (&[7, 9, 12, 10], Some(8)),
            (&[7, 9, 8], None),
            (&[7, 9, 8, 11], Some(10)),
            (&[7, 9, 20_000, 8, 30_000], Some(8)),
        ] {
            let mut sequence = Sequence::new();
            for number in numbers {
                sequence.push(*number);
            }
            assert_eq!(sequence.first_gap(), expect, "{numbers:?}");
        }
    }

    #[test]
    fn huge_jumps_cost_no_time() {
        check([0, i64::MAX], i64::MAX.cast_unsigned() - 1, 0, 0);
        check([0, 1 << 62, 1, (1 << 62) - 1, 1 << 61], (1 << 62) - 2, 2, 1);
        let jumps = (0..100_000).map(|n| n * 1_000_000);
        check(jumps, 99_999 * 999_999, 0, 0);
        let within = (0..100_000).map(|n| n * 4_000);
        check(within, 99_999 * 3_999, 0, 0);
    }

    #[test]
    fn a_stream_in_order_needs_no_window() {
        let mut sequence = Sequence::new();
        for number in [0, 2, 1, 3, 4] {
            sequence.push(number);
        }
        assert!(sequence.window.is_none(), "all gaps are closed");
        sequence.push(-1);
        assert!(sequence.window.is_some());
        for number in 5..4_200 {
            sequence.push(number);
        }
        assert!(sequence.window.is_none(), "the early number has left");
    }

    #[track_caller]
    fn check_numbered(
        numbering: Numbering,
        numbers: &[i64],
        (missing, repeated, reordered): (u64, u64, u64),
    ) {
        let mut sequence = Sequence::numbered(numbering);
        numbers.iter().for_each(|number| {
            sequence.push(*number);
        });
        let expect = OrderCounts {
            missing,
            repeated,
            reordered,
        };
        assert_eq!(sequence.finish(), expect, "{numbers:?}");
    }

    #[test]
    fn rows_may_be_numbered_in_steps() {
        let tens = Numbering::by(10).unwrap();
        check_numbered(tens, &[5, 15, 25, 35], (0, 0, 0));
        check_numbered(tens, &[5, 15, 45, 35, 35], (1, 1, 1));
        check_numbered(tens, &[-5, 5, 15], (0, 0, 0));
        check_numbered(tens, &[i64::MAX - 3, i64::MIN + 6], (0, 0, 0));
        let mut sequence = Sequence::numbered(tens);
        for number in [5, 35] {
            sequence.push(number);
        }
        assert_eq!(sequence.first_gap(), Some(15));
        assert_eq!(
            [5, 15, 20, 35, 45].map(|number| sequence.spans(number)),
            [true, true, false, true, false]
        );
    }

    #[test]
    fn a_number_between_two_steps_is_reordered_and_moves_nothing() {
        let tens = Numbering::by(10).unwrap();
        check_numbered(tens, &[0, 10, 15, 20, 30], (0, 0, 1));
        check_numbered(tens, &[0, 10, 15, 15, 20], (0, 0, 2));
        check_numbered(tens, &[0, 10, 9_999, 20], (0, 0, 1));
        check_numbered(tens, &[0, 20, 15, 30], (1, 0, 1));
        let mut sequence = Sequence::numbered(tens);
        assert_eq!(
            [0, 3, 10].map(|number| sequence.push(number)),
            [Order::Next, Order::Off, Order::Next]
        );
    }

    #[test]
    fn numbers_may_start_again() {
        let byte = Numbering::ONE.starting_again_at(256).unwrap();
        check_numbered(byte, &[254, 255, 0, 1], (0, 0, 0));
        check_numbered(byte, &[254, 1, 0, 2], (1, 0, 1));
        check_numbered(byte, &[255, 0, 255, 1], (0, 1, 0));
        check_numbered(byte, &[0, 255], (0, 0, 1));
        check_numbered(byte, &[254, 256, 255, -1, 0], (0, 0, 2));
        check_numbered(byte, &[300, 7, 8], (0, 0, 1));
        let rounds: Vec<i64> = (0..20_000).map(|place| place % 256).collect();
        check_numbered(byte, &rounds, (0, 0, 0));
        let sampled = Numbering::by(160)
            .and_then(|by| by.starting_again_with(Scalar::Uint32))
            .unwrap();
        check_numbered(sampled, &[(1 << 32) - 100, 60, 220, 540], (1, 0, 0));
        let mut sequence = Sequence::numbered(byte);
        for number in [254, 1] {
            sequence.push(number);
        }
        assert_eq!(sequence.first_gap(), Some(255));
    }

    /// The rules, with sets instead of bits.
    #[derive(Default)]
    struct Model {
        first: Option<i64>,
        greatest: i64,
        seen: BTreeSet<i64>,
        open: BTreeSet<i64>,
        counts: BTreeMap<&'static str, u64>,
    }

    impl Model {
        fn push(&mut self, number: i64) {
            let Some(first) = self.first else {
                (self.first, self.greatest) = (Some(number), number);
                self.seen.insert(number);
                return;
            };
            let oldest = self.greatest + 1 - WINDOW_SIGNED;
            let mut count = |what| *self.counts.entry(what).or_default() += 1;
            if number > self.greatest {
                self.open.extend(self.greatest + 1..number);
                self.greatest = number;
            } else if number < oldest {
                count(if number < first {
                    "reordered"
                } else {
                    "repeated"
                });
                return;
            } else if self.seen.contains(&number) {
                count("repeated");
            } else {
                count("reordered");
                self.open.remove(&number);
            }
            self.seen.insert(number);
            let oldest = self.greatest + 1 - WINDOW_SIGNED;
            let kept = self.open.split_off(&oldest);
            for _ in std::mem::replace(&mut self.open, kept) {
                *self.counts.entry("missing").or_default() += 1;
            }
        }

        fn finish(self) -> OrderCounts {
            let count = |what| self.counts.get(what).copied().unwrap_or_default();
            OrderCounts {
                missing: count("missing") + self.open.len() as u64,
                repeated: count("repeated"),
                reordered: count("reordered"),
            }
        }
    }

    /// How a numbering leads to places, with a search instead of arithmetic: of all numbers that look the same, the one that
    /// is nearest to the expected one counts, and the earlier of two that are as near.
    struct Unrolled {
        step: i64,
        length: Option<i64>,
        first: Option<i64>,
        greatest: i64,
        model: Model,
        off: u64,
    }

    impl Unrolled {
        fn push(&mut self, number: i64) {
            if self
                .length
                .is_some_and(|length| !(0..length).contains(&number))
            {
                self.off += 1;
                return;
            }
            let Some(first) = self.first else {
                (self.first, self.greatest) = (Some(number), number);
                return self.model.push(0);
            };
            let expected = self.greatest + self.step;
            let alike = |round: i64| number + round * self.length.unwrap_or_default();
            let round = self.length.map_or(0, |length| expected / length);
            let number = (round - 2..=round + 2)
                .map(alike)
                .min_by_key(|number| (number.abs_diff(expected), *number));
            let number = number.unwrap();
            if (number - first) % self.step != 0 {
                self.off += 1;
                return;
            }
            self.greatest = self.greatest.max(number);
            self.model.push((number - first) / self.step);
        }

        fn finish(self) -> OrderCounts {
            let counts = self.model.finish();
            OrderCounts {
                reordered: counts.reordered + self.off,
                ..counts
            }
        }
    }

    fn steps() -> impl Strategy<Value = Vec<i64>> {
        let step = prop_oneof![20 => Just(1i64), 2 => -3..4i64, 1 => -5_000..5_000i64, 1 => 4_090..4_100i64, 1 => -4_100..-4_090i64];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// Numbers move by steps from the last one, and, so that late ones come back to it, from the greatest.
        #[test]
        fn bits_judge_as_sets_do(start in -10i64..10, steps in steps(), from_greatest: bool) {
            let (mut number, mut greatest) = (start, start);
            let (mut sequence, mut model) = (Sequence::new(), Model::default());
            sequence.push(start);
            model.push(start);
            for step in steps {
                number = if from_greatest { greatest } else { number } + step;
                greatest = greatest.max(number);
                sequence.push(number);
                model.push(number);
            }
            prop_assert_eq!(sequence.finish(), model.finish());
        }

        /// Whatever the step, and wherever numbers start again, off the steps and on them.
        #[test]
        fn numbers_are_judged_as_their_places_are(
            start in 0i64..100,
            step in prop_oneof![Just(1i64), 2..40i64],
            length in prop::option::of(prop_oneof![41..300i64, 10_000..100_000i64, Just(1i64 << 32)]),
            steps in steps(),
            strays in prop::collection::vec((0usize..200, -3i64..400), 0..4),
        ) {
            let by = Numbering::by(step).unwrap();
            let numbering = length.map_or(by, |length| by.starting_again_at(length).unwrap());
            let start = length.map_or(start, |length| start % length);
            let mut sequence = Sequence::numbered(numbering);
            let mut model = Unrolled { step, length, first: None, greatest: 0, model: Model::default(), off: 0 };
            let mut place = 0;
            for (at, moved) in std::iter::once(0).chain(steps).enumerate() {
                place += moved;
                let stray = strays.iter().find(|(when, _)| *when == at).map(|(_, number)| *number);
                for number in [Some(numbering.at(start, place)), stray].into_iter().flatten() {
                    sequence.push(number);
                    model.push(number);
                }
            }
            prop_assert_eq!(sequence.finish(), model.finish());
        }

        #[test]
        fn hostile_numbers_never_panic(numbers: Vec<i64>, step in 1i64.., length: i64) {
            let by = Numbering::by(step).unwrap();
            for numbering in [Some(Numbering::ONE), Some(by), by.starting_again_at(length).ok()].into_iter().flatten() {
                let mut sequence = Sequence::numbered(numbering);
                for number in &numbers {
                    sequence.push(*number);
                    sequence.push(number.wrapping_rem(length.saturating_abs().max(1)));
                    let _ = sequence.spans(*number);
                }
                let _ = sequence.first_gap();
                let _ = sequence.finish();
            }
        }

        /// A stream that is only shuffled a little loses nothing.
        #[test]
        fn what_comes_late_is_not_missing(keys in prop::collection::vec(0u64..50, 1..500)) {
            let mut numbers: Vec<(u64, i64)> = (0u64..).zip(&keys).map(|(n, key)| (n + key, n.cast_signed())).collect();
            numbers.sort_unstable();
            let first = numbers[0].1;
            let found = judge(numbers.iter().map(|(_, number)| *number));
            prop_assert_eq!((found.missing, found.repeated), (0, 0));
            let mut greatest = first;
            let mut late = 0;
            for (_, number) in numbers {
                late += u64::from(number < greatest);
                greatest = greatest.max(number);
            }
            prop_assert_eq!(found.reordered, late);
        }
    }
}
