//! The time grid that all jobs with the same `lines_dt` share: multiples of `lines_dt` since the epoch.
//!
//! `lines_dt` is kept as an exact fraction of integers, because two jobs' rows are compared by timestamp: with floating
//! point, line 11,000,000,000 of one job would round differently from the same line of another.

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const MILLIS_PER_SECOND: u64 = 1_000;

/// Lines at `line × seconds / lines`, in lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Grid {
    seconds: u64,
    lines: u64,
}

impl Grid {
    /// The grid on which `lines` lines take `seconds`. None if either is zero.
    pub(crate) fn new(seconds: u64, lines: u64) -> Option<Self> {
        if seconds == 0 || lines == 0 {
            return None;
        }
        let divisor = greatest_common_divisor(seconds, lines);
        Some(Self {
            seconds: seconds / divisor,
            lines: lines / divisor,
        })
    }

    /// Time of a line in nanoseconds, rounded down.
    pub(crate) fn time_ns(self, line: u64) -> u64 {
        self.scale(line, NANOS_PER_SECOND)
    }

    /// Time of a line in milliseconds, rounded down. Unique for each line as long as lines are at least 1 ms apart.
    pub(crate) fn time_ms(self, line: u64) -> u64 {
        self.scale(line, MILLIS_PER_SECOND)
    }

    /// The first line strictly after a time.
    pub(crate) fn line_after(self, time_ns: u64) -> u64 {
        let product = u128::from(time_ns) * u128::from(self.lines);
        narrow(product / (u128::from(self.seconds) * u128::from(NANOS_PER_SECOND))) + 1
    }

    /// How many lines begin within a span that starts on a line.
    pub(crate) fn lines_within(self, seconds: u64) -> u64 {
        narrow((u128::from(seconds) * u128::from(self.lines)).div_ceil(u128::from(self.seconds)))
    }

    /// The first line at or after a time in milliseconds.
    pub(crate) fn first_from_ms(self, ms: u64) -> u64 {
        let product = u128::from(ms) * u128::from(self.lines);
        narrow(product.div_ceil(u128::from(self.seconds) * u128::from(MILLIS_PER_SECOND)))
    }

    /// The distance between lines in nanoseconds, rounded down.
    pub(crate) fn step_ns(self) -> u64 {
        self.time_ns(1)
    }

    fn scale(self, line: u64, unit: u64) -> u64 {
        narrow(
            u128::from(line) * u128::from(self.seconds) * u128::from(unit) / u128::from(self.lines),
        )
    }
}

/// Times beyond the year 2554 do not occur; saturating keeps arithmetic total.
fn narrow(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(seconds: u64, lines: u64) -> Grid {
        Grid::new(seconds, lines).unwrap()
    }

    #[test]
    fn equal_ratios_are_one_grid() {
        assert_eq!(grid(30, 200), grid(60, 400));
        assert_eq!(Grid::new(0, 5), None);
        assert_eq!(Grid::new(5, 0), None);
    }

    #[test]
    fn times_are_exact_far_from_the_epoch() {
        // 0.15 s: one billion lines are 150,000,000 s to the nanosecond.
        assert_eq!(
            grid(30, 200).time_ns(1_000_000_000),
            150_000_000_000_000_000
        );
        // A third of a second never accumulates an error.
        assert_eq!(
            grid(1, 3).time_ns(3 * 1_700_000_000),
            1_700_000_000_000_000_000
        );
    }

    #[test]
    fn line_after_is_strictly_after_and_the_first() {
        for (seconds, lines) in [(30, 200), (10, 256), (1, 3), (7, 1_000), (300, 600)] {
            let grid = grid(seconds, lines);
            for time in [0, 1, 149_999_999, 150_000_000, 1_700_000_000_123_456_789] {
                let line = grid.line_after(time);
                assert!(
                    u128::from(line) * u128::from(seconds) * 1_000_000_000
                        > u128::from(time) * u128::from(lines)
                );
                assert!(grid.time_ns(line - 1) <= time);
            }
        }
    }

    #[test]
    fn milliseconds_are_unique_from_one_per_line() {
        for (seconds, lines) in [(1, 1_000), (10, 9_999), (10, 256), (7, 3_000)] {
            let grid = grid(seconds, lines);
            let first = grid.line_after(1_700_000_000_000_000_000);
            assert!((first..first + 5_000).all(|line| grid.time_ms(line) < grid.time_ms(line + 1)));
        }
    }

    #[test]
    fn first_from_is_the_first_at_or_after() {
        for (seconds, lines) in [(30, 200), (10, 256), (1, 3), (300, 600)] {
            let grid = grid(seconds, lines);
            for ms in [0, 1, 149, 150, 151, 86_400_000] {
                let first = grid.first_from_ms(ms);
                assert!(grid.time_ns(first) >= ms * 1_000_000 || grid.time_ms(first) >= ms);
                assert!(first == 0 || grid.time_ns(first - 1) < ms * 1_000_000);
            }
        }
    }

    #[test]
    fn lines_within_counts_starts() {
        assert_eq!(grid(60, 400).lines_within(120), 800);
        assert_eq!(grid(1, 3).lines_within(1), 3);
        assert_eq!(grid(7, 1).lines_within(15), 3);
    }
}
