//! When a message came, by the coordinator's clock: what a time of sending by a declared clock is compared with.

use testmesh_shared::clock::{ClockOffset, OffsetEstimate, TimeAnchor};
use tokio::sync::watch;
use tokio::time::Instant;

/// The coordinator's clock, as far as this agent knows it.
#[derive(Debug, Clone, Default)]
pub struct MeshClock(Option<(TimeAnchor, watch::Receiver<OffsetEstimate>)>);

impl MeshClock {
    /// This process's clock, and what is known of the coordinator's offset from it.
    #[must_use]
    pub const fn new(anchor: TimeAnchor, offset: watch::Receiver<OffsetEstimate>) -> Self {
        Self(Some((anchor, offset)))
    }

    /// What is known of it now; none: nothing yet. Streams read it once, so that their latencies have one zero.
    #[must_use]
    pub fn reading(&self) -> Option<ClockReading> {
        let (anchor, offset) = self.0.as_ref()?;
        let offset = offset.borrow().offset()?;
        Some(ClockReading {
            anchor: *anchor,
            offset,
        })
    }
}

/// The coordinator's clock as it was known at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    anchor: TimeAnchor,
    offset: ClockOffset,
}

impl ClockReading {
    /// The coordinator's time at an instant, in nanoseconds since the Unix epoch.
    pub(super) fn at(&self, at: Instant) -> i64 {
        self.offset.theirs(self.anchor.unix_ns(at))
    }

    /// By how much that may be wrong, in nanoseconds.
    pub(super) fn uncertainty_ns(&self) -> i64 {
        i64::try_from(self.offset.uncertainty_ns).unwrap_or(i64::MAX)
    }
}
