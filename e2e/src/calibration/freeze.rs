//! A server that freezes for one second in ten: when it answers, and what a client must therefore measure.

use std::time::Duration;

/// A server that freezes regularly. When it thaws it serves what has gathered in the order in which it came, a little faster
/// than it gathers, as servers do. Otherwise it answers at once.
#[derive(Clone, Copy, Debug)]
pub struct Freeze {
    /// From one freeze to the next.
    pub every: Duration,
    /// When the first one begins, since the first request.
    pub first: Duration,
    /// How long each lasts.
    pub lasts: Duration,
    /// How much of the time in which requests gathered it takes to serve them: a quarter, if it serves four times as fast as
    /// they come; below 1.
    pub catch_up: f64,
}

impl Freeze {
    /// How long a request waits that came at this time since the first one.
    #[must_use]
    pub fn wait(&self, came: Duration) -> Duration {
        let Some(since) = came.checked_sub(self.first) else {
            return Duration::ZERO;
        };
        let since = since.as_secs_f64() % self.every.as_secs_f64();
        // Served when it is thawed and all those before are served.
        let wait = self.lasts.as_secs_f64() - since * (1.0 - self.catch_up);
        Duration::from_secs_f64(wait.max(0.0))
    }

    /// The share of evenly spread requests that wait: those of the freeze, and those that came while it caught up.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.lasts.as_secs_f64() / (1.0 - self.catch_up) / self.every.as_secs_f64()
    }

    /// The wait that this share of all requests does not exceed. Those that wait at all wait anything up to the whole freeze,
    /// all equally often.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        let longer = (1.0 - share) / self.share();
        self.lasts.as_secs_f64() * (1.0 - longer).max(0.0)
    }

    /// The mean wait of all requests.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.share() * self.lasts.as_secs_f64() / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_computed_is_what_evenly_spread_requests_wait() {
        let freeze = Freeze {
            every: Duration::from_secs(10),
            first: Duration::from_secs(4),
            lasts: Duration::from_secs(1),
            catch_up: 0.25,
        };
        let mut waits: Vec<f64> = (0..20_000)
            .map(|index| freeze.wait(Duration::from_millis(index)).as_secs_f64())
            .collect();
        waits.sort_unstable_by(f64::total_cmp);
        for share in [0.5, 0.9, 0.95, 0.99, 0.999] {
            let seen = super::super::quantile(&waits, share);
            let computed = freeze.quantile(share);
            assert!(
                (seen - computed).abs() < 0.001,
                "{share}: {seen} {computed}"
            );
        }
        let mean = waits.iter().sum::<f64>() / 20_000.0;
        assert!((mean - freeze.mean()).abs() < 0.000_1, "{mean}");
    }
}
