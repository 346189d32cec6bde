//! The testbed's wall clock: one anchor, then tokio's monotonic time, so that tests can pause it.
//!
//! Wall time is read once at start. Rows of two testbeds agree as well as their hosts' clocks did then.

use std::time::Duration;

use tokio::time::Instant;

/// Converts between tokio's instants and nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    at: Instant,
    unix_ns: u64,
}

impl Clock {
    /// Anchors the clock at the present.
    pub(crate) fn start() -> Self {
        #[expect(
            clippy::disallowed_types,
            reason = "the one place where the testbed reads wall time; everything after is tokio time"
        )]
        let now = std::time::SystemTime::now()
            .duration_since(std::time::SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            at: Instant::now(),
            unix_ns: nanos(now),
        }
    }

    /// Nanoseconds since the epoch.
    pub(crate) fn now_ns(&self) -> u64 {
        self.unix_ns.saturating_add(nanos(self.at.elapsed()))
    }

    /// Whole seconds since the epoch.
    pub(crate) fn now_s(&self) -> u64 {
        self.now_ns() / 1_000_000_000
    }

    /// The instant of a wall time; times before the anchor are the anchor.
    pub(crate) fn instant_of(&self, unix_ns: u64) -> Instant {
        self.at + Duration::from_nanos(unix_ns.saturating_sub(self.unix_ns))
    }
}

/// A duration in nanoseconds, saturating (584 years).
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
