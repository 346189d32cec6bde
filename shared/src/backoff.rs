//! Waiting longer after each failure, with jitter, so that many who failed together do not come back together.

use std::time::Duration;

use rand::{Rng, RngExt};

/// The delays of one sequence of tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// Delays that begin at `first` and double up to `most`.
    #[must_use]
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            failures: 0,
        }
    }

    /// How long to wait before the next try: between half the nominal delay and all of it.
    pub fn next_delay(&mut self, rng: &mut impl Rng) -> Duration {
        let nominal = self.nominal();
        self.failures = self.failures.saturating_add(1);
        nominal.mul_f64(rng.random_range(0.5..=1.0))
    }

    /// A try succeeded: the next delay is the first again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// How many delays were asked for since the last reset.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    fn nominal(&self) -> Duration {
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeedTree;

    #[test]
    fn delays_double_up_to_the_most_and_begin_anew() {
        let mut rng = SeedTree::new(1).rng();
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        for round in 0..2 {
            for nominal in [100, 200, 400, 800, 1_600, 2_000, 2_000] {
                let delay = backoff.next_delay(&mut rng).as_millis();
                assert!(
                    (nominal / 2..=nominal).contains(&delay),
                    "round {round}: {delay} for {nominal}"
                );
            }
            backoff.reset();
        }
        for _ in 0..100 {
            assert!(backoff.next_delay(&mut rng) <= Duration::from_secs(2));
        }
        assert_eq!(backoff.failures(), 100);
    }
}
