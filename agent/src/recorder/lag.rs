//! How late the agent itself is: its event loops, and streams that it had to hold up.

use std::time::Duration;

use testmesh_shared::metric::MetricId;
use tokio::time::Instant;

use super::recording::Recorder;
use crate::limits;

impl Recorder {
    /// From now on lags of the loop are recorded, as those of this agent.
    pub fn watch_loop(&self, agent: &str) {
        let lag = self.trend(MetricId::AgentLoopLag, &[("agent", agent)]);
        self.set_loop_lag(lag);
    }

    /// The loop was sampled at `at`, so long after it should have been. A stall is one sample, however many were due in it: what
    /// a run of seconds is judged by must not be one hiccup of a machine.
    pub fn sampled_late(&self, at: Instant, late: Duration) {
        if let Some(lag) = self.loop_lag() {
            self.observe(lag, at, late);
        }
    }

    /// A stream was held up until `at`, for so long: as if the loop had been late for it all that time.
    pub fn held_up(&self, at: Instant, took: Duration) {
        let Some(lag) = self.loop_lag() else { return };
        for late in samples(took) {
            self.observe(lag, at, late);
        }
    }
}

/// The samples of a loop that is late for the first of them, and so, by less, for those that were due since.
fn samples(first: Duration) -> impl Iterator<Item = Duration> {
    let late = move |behind: u32| first.checked_sub(limits::LOOP_LAG_EVERY * behind);
    (0..limits::LOOP_LAG_SAMPLES).map_while(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_as_many_samples_as_were_due_in_it() {
        let millis = |first: u64| -> Vec<u128> {
            let late = samples(Duration::from_millis(first));
            late.map(|late| late.as_millis()).collect()
        };
        assert_eq!(millis(0), [0]);
        assert_eq!(millis(9), [9]);
        assert_eq!(millis(25), [25, 15, 5]);
        assert_eq!(millis(1_000).len(), 101);
        assert_eq!(millis(3_600_000).len(), limits::LOOP_LAG_SAMPLES as usize);
    }
}
