//! How late the agent itself is: its event loops, and streams that it had to hold up.

use std::time::Duration;

use testmesh_shared::metric::MetricId;
use tokio::time::Instant;

use super::recording::Recorder;

impl Recorder {
    /// From now on lags of the loop are recorded, as those of this agent.
    pub fn watch_loop(&self, agent: &str) {
        let lag = self.trend(MetricId::AgentLoopLag, &[("agent", agent)]);
        self.set_loop_lag(lag);
    }

    /// The loop was sampled at `at`, so long after it should have been. A stall is one sample, however many were due in it: the
    /// verdict asks what it can have added to which threshold, and one hiccup of a machine must not make a whole run doubtful.
    pub fn sampled_late(&self, at: Instant, late: Duration) {
        if let Some(lag) = self.loop_lag() {
            self.observe(lag, at, late);
        }
    }

    /// A stream was held up until `at`, for so long: as if the loop had stood still for it.
    pub fn held_up(&self, at: Instant, took: Duration) {
        self.sampled_late(at, took);
    }
}
