//! When a scenario ends on a worker: pure predicates over the time of the run and what was asked.

use std::time::Duration;

/// How a run is asked to stop. Ordered: a later word never takes back an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// It is not.
    #[default]
    No,
    /// Start nothing new; sessions in flight have their graceful stop.
    Drain,
    /// Interrupt sessions in flight now; cleanup still runs.
    Abort,
}

/// Whether a scenario goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminate {
    /// It does.
    Continue,
    /// It starts nothing new, and sessions in flight have until this time of the run.
    Finish {
        /// When they are interrupted.
        grace_until: Duration,
    },
}

/// Ends one scenario.
#[derive(Clone, Copy, Debug)]
pub struct Terminator {
    /// The end of `for`; none: the scenario ends by its number of sessions.
    pub end: Option<Duration>,
    /// What sessions in flight have from then on.
    pub graceful_stop: Duration,
}

impl Terminator {
    /// Decides at a time of the run; `asked` is what was asked, and when.
    pub fn decide(&self, now: Duration, asked: Option<(Stop, Duration)>) -> Terminate {
        let by_time = self
            .end
            .filter(|end| now >= *end)
            .map(|end| end + self.graceful_stop);
        let by_word = asked.and_then(|(stop, at)| match stop {
            Stop::No => None,
            Stop::Drain => Some(at + self.graceful_stop),
            Stop::Abort => Some(at),
        });
        match [by_time, by_word].into_iter().flatten().min() {
            None => Terminate::Continue,
            Some(grace_until) => Terminate::Finish { grace_until },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_earliest_reason_decides() {
        let terminator = Terminator {
            end: Some(SECOND * 10),
            graceful_stop: SECOND * 5,
        };
        let finish = |seconds| Terminate::Finish {
            grace_until: SECOND * seconds,
        };
        let cases = [
            (9, None, Terminate::Continue),
            (10, None, finish(15)),
            (3, Some((Stop::No, SECOND)), Terminate::Continue),
            (3, Some((Stop::Drain, SECOND * 2)), finish(7)),
            (12, Some((Stop::Drain, SECOND * 12)), finish(15)),
            (12, Some((Stop::Abort, SECOND * 12)), finish(12)),
        ];
        for (now, asked, expected) in cases {
            assert_eq!(
                terminator.decide(SECOND * now, asked),
                expected,
                "at {now}s, asked {asked:?}"
            );
        }
    }
}
