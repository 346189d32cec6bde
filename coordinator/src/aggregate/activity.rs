//! Until when sessions did something: what a run's length is, and what values per second are divided by.
//!
//! The state machine's own end will not do: it comes after cleanup, and after whatever an agent's lease, its last batches
//! and its last word took. Measurements know better, to the second: sessions begin, messages arrive, and a session's
//! duration, which leaves its cleanup out, says when it ended.
use std::time::Duration;
use testmesh_shared::metric::{Change, MetricId};
use testmesh_shared::wire::Delta;

/// The latest sign of a session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Activity {
    until: Option<Duration>,
}

impl Activity {
    /// Takes a measurement in.
    pub(super) fn note(&mut self, delta: &Delta<'_>) {
        // Setup comes before the first second, teardown after the last.
        let scenario = delta.labels.value("scenario");
        if scenario.is_none_or(|name| matches!(name, "setup" | "teardown")) {
            return;
        }
        let begins = Duration::from_secs(delta.second.into());
        let until = match (delta.metric, delta.change) {
            (MetricId::SessionsStarted | MetricId::StreamMessages, Change::Counter(more))
                if more > 0 =>
            {
                begins + Duration::from_secs(1)
            }
            (MetricId::StreamsOpen, Change::Gauge(level)) if level > 0.0 => {
                begins + Duration::from_secs(1)
            }
            (MetricId::SessionDuration, Change::Trend(trend)) => {
                begins + Duration::from_nanos(trend.max_ns())
            }
            _ => return,
        };
        self.until = self.until.max(Some(until));
    }

    /// Seconds of the run until the last sign.
    pub(super) fn until(self) -> Option<Duration> {
        self.until
    }
}
