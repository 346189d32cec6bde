//! A line of limited bandwidth, one way, which all connections of a proxy share.
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Timers wake late by a millisecond or so: that much is made up for, or the line would be slower than was asked for.
const CATCH_UP: Duration = Duration::from_millis(10);

/// When the line is free again.
#[derive(Debug, Default)]
pub(super) struct Link(Mutex<Option<Instant>>);

impl Link {
    /// Takes the line for so many bytes, after everything that was promised before. Returns when the last of them is
    /// through.
    pub(super) fn take(&self, bytes: usize, per_second: u64, now: Instant) -> Instant {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(per_second.max(1));
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        let from = free.map_or(now, |free| free.max(earliest));
        let until = from + takes;
        *free = Some(until);
        until
    }
}

/// How much is sent at once on a line of that bandwidth: a fiftieth of a second's worth.
pub(super) fn piece(per_second: u64) -> usize {
    usize::try_from(per_second / 50)
        .unwrap_or(usize::MAX)
        .clamp(64, crate::limits::PROXY_CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_is_taken_by_one_after_another() {
        let (link, start) = (Link::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(link.take(100, 1_000, start), at(100));
        assert_eq!(link.take(100, 1_000, start), at(200));
        // Late by a little: made up for. Idle for long: lost.
        assert_eq!(link.take(100, 1_000, at(205)), at(300));
        assert_eq!(link.take(100, 1_000, at(1_000)), at(1_090));
    }
}
