//! The embedded recordings: which ten-second cells of time were recorded.
//!
//! A cell is recorded or not by rule, so nothing is stored: one fixed day is wholly recorded, for plans that need a
//! range that is the same everywhere and for ever, and so are the last two days, except for the last five minutes of
//! each hour, so that histories with holes can be tested.

/// Length of one recording in seconds.
pub(crate) const RECORDING_S: u64 = 10;
/// First second of the day that is always recorded without holes: 2023-11-14T22:13:20Z.
pub const FIXED_START: u64 = 1_700_000_000;
/// First second after it.
pub const FIXED_END: u64 = FIXED_START + 86_400;
/// The age of the recording that `stale-recording` leaves open, as observed.
pub(crate) const STALE_S: u64 = 117 * 3_600;
/// How far back from now the rolling recordings go.
const ROLLING_S: u64 = 2 * 86_400;
/// In the rolling recordings, seconds of an hour from which nothing is recorded.
const HOLE_FROM_S: u64 = 55 * 60;

/// The recording that holds a second of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recording {
    /// First second.
    pub(crate) start: u64,
}

impl Recording {
    /// First second after the recording.
    pub(crate) fn end(self) -> u64 {
        self.start + RECORDING_S
    }
}

/// The recording that holds a time, given the present (both in epoch seconds).
pub(crate) fn at(second: u64, now: u64) -> Option<Recording> {
    let start = second - second % RECORDING_S;
    let fixed = (FIXED_START..FIXED_END).contains(&start);
    let rolling = second <= now && now - start <= ROLLING_S && start % 3_600 < HOLE_FROM_S;
    (fixed || rolling).then_some(Recording { start })
}

/// Whether a recording is still being written.
pub(crate) fn is_open(recording: Recording, now: u64) -> bool {
    (recording.start..recording.end()).contains(&now)
}

/// The recordings that touch `start..end`, oldest first, at most `limit`.
pub(crate) fn within(start: u64, end: u64, now: u64, limit: usize) -> Vec<Recording> {
    spans(now)
        .into_iter()
        .flat_map(|(from, to)| {
            let first = start.max(from);
            let first = first - first % RECORDING_S;
            (first..end.min(to)).step_by(usize::try_from(RECORDING_S).unwrap_or(1))
        })
        .filter_map(|second| at(second, now))
        .take(limit)
        .collect()
}

/// The first second after a time at which a recording starts or a hole ends.
pub(crate) fn next_after(second: u64, now: u64) -> Option<u64> {
    spans(now).into_iter().find_map(|(from, to)| {
        let cell = second - second % RECORDING_S + RECORDING_S;
        let from = from + (RECORDING_S - from % RECORDING_S) % RECORDING_S;
        let candidate = cell.max(from);
        // Only the hole at the end of an hour can lie between a candidate and the next recording.
        let after_hole = candidate - candidate % 3_600 + 3_600;
        [candidate, after_hole]
            .into_iter()
            .find(|second| *second < to && at(*second, now).is_some())
    })
}

/// Whether a range lies in the fixed day, whose recordings never change.
pub(crate) fn is_fixed(start: u64, end: u64) -> bool {
    start >= FIXED_START && end <= FIXED_END
}

/// Whether anything in `start..end` is recorded.
pub(crate) fn any_within(start: u64, end: u64, now: u64) -> bool {
    !within(start, end, now, 1).is_empty()
}

/// The parts of time worth looking at, so that a range of fifty years costs nothing.
fn spans(now: u64) -> [(u64, u64); 2] {
    let fixed = (FIXED_START, FIXED_END);
    let rolling = (now.saturating_sub(ROLLING_S).max(FIXED_END), now + 1);
    [fixed, rolling]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_003;

    #[test]
    fn the_fixed_day_has_no_holes() {
        assert!((FIXED_START..FIXED_END).all(|second| at(second, NOW).is_some()));
        assert_eq!(at(FIXED_START - 1, NOW), None);
        assert_eq!(at(FIXED_END, NOW), None);
        assert_eq!(within(FIXED_START, FIXED_END, NOW, usize::MAX).len(), 8_640);
    }

    #[test]
    fn rolling_recordings_end_now_and_have_holes() {
        let open = at(NOW, NOW).unwrap();
        assert!(is_open(open, NOW));
        assert_eq!(at(NOW + 10, NOW), None);
        let hour = NOW - NOW % 3_600 - 3_600;
        assert!(at(hour + 3_299, NOW).is_some());
        assert_eq!(at(hour + 3_300, NOW), None);
        assert_eq!(at(NOW - ROLLING_S - 20, NOW), None);
    }

    #[test]
    fn a_range_of_all_time_is_bounded() {
        assert_eq!(within(0, u64::MAX, NOW, 7).len(), 7);
        assert!(any_within(0, u64::MAX, NOW));
        assert!(!any_within(NOW + 100, NOW + 200, NOW));
        assert!(!any_within(1_000_000_000, 1_000_000_600, NOW));
    }

    #[test]
    fn next_after_skips_holes_and_ends() {
        assert_eq!(next_after(0, NOW), Some(FIXED_START));
        assert_eq!(next_after(FIXED_START, NOW), Some(FIXED_START + 10));
        let next = next_after(FIXED_END - 1, NOW).unwrap();
        assert!(next >= NOW - ROLLING_S && at(next, NOW).is_some());
        let hour = NOW - NOW % 3_600 - 3_600;
        assert_eq!(next_after(hour + 3_295, NOW), Some(hour + 3_600));
        assert_eq!(next_after(NOW, NOW), None);
    }

    #[test]
    fn a_listed_recording_is_the_one_that_holds_its_seconds() {
        for recording in within(NOW - 7_200, NOW, NOW, usize::MAX) {
            assert_eq!(at(recording.start, NOW), Some(recording));
            assert_eq!(
                at(recording.end() - 1, NOW.max(recording.end())),
                Some(recording)
            );
        }
    }
}
