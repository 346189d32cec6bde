//! The testbed's wall clock: one anchor, then tokio's monotonic time, so that tests can pause it.
//!
//! Rows of two testbeds agree in time as well as their hosts' clocks did when they started.

use testmesh_shared::clock::TimeAnchor;
use tokio::time::Instant;

/// Converts between tokio's instants and nanoseconds since the Unix epoch, none of them before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(TimeAnchor);

impl Clock {
    /// Anchors the clock at the present.
    pub(crate) fn start() -> Self {
        Self(TimeAnchor::now())
    }

    /// Nanoseconds since the epoch.
    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.0.unix_ns_now()).unwrap_or(0)
    }

    /// Whole seconds since the epoch.
    pub(crate) fn now_s(&self) -> u64 {
        self.now_ns() / 1_000_000_000
    }

    /// The instant of a wall time; one that the monotonic clock cannot say is now.
    pub(crate) fn instant_of(&self, unix_ns: u64) -> Instant {
        let instant = i64::try_from(unix_ns)
            .ok()
            .and_then(|at| self.0.instant(at));
        instant.unwrap_or_else(Instant::now)
    }
}
