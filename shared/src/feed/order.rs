//! Which row of a feed a session takes.

use rand_chacha::rand_core::Rng;

use crate::rng::SeedTree;

/// Who takes which row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Session i takes row i.
    Sequential,
    /// The same in an order that follows from the run's seed.
    Shuffled,
    /// Each session draws a row, whatever others drew.
    Random,
}

/// What follows when each row was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtEnd {
    /// The first row is next.
    Repeat,
    /// No session starts any more.
    Stop,
}

/// The order of a feed's rows in one run.
#[derive(Debug)]
pub struct Turns {
    rows: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Sequential,
    /// Which row has which turn: 4 bytes a row, once on each agent.
    Shuffled(Box<[u32]>),
    Random(SeedTree),
}

impl Turns {
    /// The order of so many rows in the run of that seed, for the feed of that name.
    ///
    /// # Panics
    /// If there are no rows: the reader of plans refuses such a feed.
    #[must_use]
    pub fn new(order: Order, rows: u32, seed: u64, feed: &str) -> Self {
        assert!(rows > 0, "a feed has at least one row");
        let seeds = SeedTree::new(seed).child("feed").child(feed);
        let kind = match order {
            Order::Sequential => Kind::Sequential,
            Order::Shuffled => Kind::Shuffled(shuffled(rows, &seeds)),
            Order::Random => Kind::Random(seeds),
        };
        Self { rows, kind }
    }

    /// The row of a session, by its number in the scenario.
    #[must_use]
    pub fn row(&self, session: u64) -> u32 {
        let turn = below(session % u64::from(self.rows));
        match &self.kind {
            Kind::Sequential => turn,
            Kind::Shuffled(rows) => rows[turn as usize],
            Kind::Random(seeds) => scaled(seeds.child_index(session).number(), self.rows),
        }
    }
}

/// Fisher and Yates, from the end.
fn shuffled(rows: u32, seeds: &SeedTree) -> Box<[u32]> {
    let mut rng = seeds.rng();
    let mut order: Box<[u32]> = (0..rows).collect();
    for place in (1..rows).rev() {
        let other = scaled(rng.next_u64(), place + 1);
        order.swap(place as usize, other as usize);
    }
    order
}

/// A random number of 64 bits as one below `bound`. The bias is less than `bound` in 2⁶⁴.
fn scaled(random: u64, bound: u32) -> u32 {
    let wide = u128::from(random) * u128::from(bound);
    below(u64::try_from(wide >> 64).unwrap_or_default())
}

/// A number that is less than the number of rows.
fn below(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::segment::Share;

    #[test]
    fn a_shuffled_feed_has_another_order_for_another_seed_and_the_same_for_the_same() {
        let order = |seed, feed| {
            let turns = Turns::new(Order::Shuffled, 50, seed, feed);
            (0..50)
                .map(|session| turns.row(session))
                .collect::<Vec<_>>()
        };
        assert_eq!(order(7, "views"), order(7, "views"));
        assert_ne!(order(7, "views"), order(8, "views"));
        assert_ne!(order(7, "views"), order(7, "users"));
        assert_ne!(order(7, "views"), (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn random_rows_are_even() {
        let turns = Turns::new(Order::Random, 8, 1, "views");
        let mut drawn = BTreeMap::new();
        for session in 0..80_000 {
            *drawn.entry(turns.row(session)).or_insert(0_u32) += 1;
        }
        // Four standard deviations of a binomial of 80,000 and 1/8 are 374.
        for (row, times) in drawn {
            assert!((9_600..10_400).contains(&times), "row {row}: {times} times");
        }
    }

    proptest! {
        /// However sessions are shared, each row is taken once by as many sessions as there are rows, and by the session that
        /// would take it if one agent ran them all.
        #[test]
        fn all_agents_together_take_each_row_once(
            rows in 1..300_u32,
            agents in 1..9_u32,
            seed: u64,
            order in prop_oneof![Just(Order::Sequential), Just(Order::Shuffled)],
        ) {
            let alone = Turns::new(order, rows, seed, "feed");
            let mut taken = BTreeSet::new();
            for agent in 0..agents {
                let share = Share::new(vec![agent], agents).unwrap();
                let turns = Turns::new(order, rows, seed, "feed");
                for session in share.indices(u64::from(rows)) {
                    let row = turns.row(session);
                    prop_assert_eq!(row, alone.row(session));
                    prop_assert!(row < rows && taken.insert(row), "row {} was taken twice", row);
                }
            }
            prop_assert_eq!(taken.len(), rows as usize);
            prop_assert_eq!(alone.row(u64::from(rows) + 1), alone.row(1 % u64::from(rows)), "then the first is next");
        }
    }
}
