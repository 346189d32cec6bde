//! The lines of a historic job: every line of its range that was recorded, with times on the range's own grid.

use crate::archive::Recorded;
use crate::grid::Grid;
use crate::view::{Request, Source};

/// The lines of a range, counted from its start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct History {
    grid: Grid,
    start: u64,
    lines: u64,
}

impl History {
    /// The lines of a historic request; none for a live one.
    pub(crate) fn new(request: &Request) -> Option<Self> {
        match request.source {
            Source::Live => None,
            Source::Historic { start, end } => {
                let grid = request.grid;
                Some(Self {
                    grid,
                    start,
                    lines: grid.lines_within(end.saturating_sub(start)),
                })
            }
        }
    }

    /// All lines of the range, recorded or not.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// The recorded lines, in order.
    pub(crate) fn recorded(self, recorded: &Recorded) -> impl Iterator<Item = u64> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let line = self.next_recorded(from, recorded)?;
            from = line + 1;
            Some(line)
        })
    }

    /// The first recorded line from one on. Holes are stepped over, however long.
    pub(crate) fn next_recorded(&self, mut line: u64, recorded: &Recorded) -> Option<u64> {
        while line < self.lines {
            let time = self.time_ms(line);
            if recorded.holds(time) {
                return Some(line);
            }
            let resumes = recorded.next_after(time)?;
            let ahead = resumes.saturating_sub(self.start * 1_000);
            line = self.grid.first_from_ms(ahead).max(line + 1);
        }
        None
    }

    /// Time of a line in nanoseconds since the epoch.
    pub(crate) fn time_ns(&self, line: u64) -> u64 {
        self.start * 1_000_000_000 + self.grid.time_ns(line)
    }

    /// Time of a line in milliseconds since the epoch.
    pub(crate) fn time_ms(&self, line: u64) -> u64 {
        self.start * 1_000 + self.grid.time_ms(line)
    }

    /// The distance between lines in nanoseconds.
    pub(crate) fn step_ns(&self) -> u64 {
        self.grid.step_ns()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Span;
    use crate::recordings::FIXED_START;
    use crate::view::Kind;

    const NOW: u64 = 1_790_000_003;
    const RULE: Recorded = Recorded::Rule { now: NOW };

    fn history(start: u64, end: u64) -> History {
        History::new(&Request {
            kind: Kind::MultiChannel,
            channels: (1, 50),
            mapped: (1, 50),
            nfft: 1_024,
            frequencies: Some((0, 500)),
            grid: Grid::new(60, 400).unwrap(),
            duration: 60,
            height: 400,
            source: Source::Historic { start, end },
        })
        .unwrap()
    }

    #[test]
    fn the_range_of_the_playback_plan_has_800_lines() {
        let history = history(FIXED_START, FIXED_START + 120);
        assert_eq!(history.lines(), 800);
        assert_eq!(history.recorded(&RULE).count(), 800);
        assert_eq!(history.time_ms(0), FIXED_START * 1_000);
        assert_eq!(history.time_ms(799), FIXED_START * 1_000 + 119_850);
    }

    #[test]
    fn holes_are_stepped_over() {
        let hour = NOW - NOW % 3_600 - 3_600;
        let lines: Vec<u64> = history(hour + 3_290, hour + 3_610)
            .recorded(&RULE)
            .collect();
        // Ten seconds before the hole of five minutes, ten after it.
        assert_eq!(lines.len(), 67 + 67);
        assert!(lines.windows(2).all(|pair| pair[0] < pair[1]));
        // Fifty years take no longer than their recordings.
        assert_eq!(history(0, FIXED_START + 1).recorded(&RULE).count(), 6);
    }

    #[test]
    fn listed_recordings_are_played_to_the_millisecond() {
        let span = |from: u64, to: u64| Span {
            from: 1_000_000 + from,
            to: 1_000_000 + to,
        };
        // Lines are 150 ms apart: 0, 150 | 1050 and 1200, whose recording begins in between.
        let recorded = Recorded::listed([span(0, 151), span(901, 1_201)]);
        let lines: Vec<u64> = history(1_000, 1_010).recorded(&recorded).collect();
        assert_eq!(lines, [0, 1, 7, 8]);
    }
}
