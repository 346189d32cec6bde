//! Which rows of a listing a stream has brought: a span, and the gaps in it. Streams bring rows in order, or nearly so, and
//! then there is nearly nothing to remember.

use std::collections::VecDeque;
use std::ops::Range;

use crate::limits;

/// The rows that came, by their number in the listing.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// From the first to the last one that came; empty: none came.
    span: Range<usize>,
    /// What of that did not come, in ascending order.
    gaps: VecDeque<Range<usize>>,
    /// Rows in gaps that were forgotten because there were too many: they are missing, whatever comes.
    forgotten: u64,
    /// The first of them.
    first_forgotten: Option<usize>,
}

impl Seen {
    /// A row came.
    pub(super) fn insert(&mut self, row: usize) {
        if self.span.is_empty() {
            self.span = row..row + 1;
        } else if row == self.span.end {
            self.span.end += 1;
        } else if row > self.span.end {
            self.gaps.push_back(self.span.end..row);
            self.span.end = row + 1;
        } else if row < self.span.start {
            if row + 1 < self.span.start {
                self.gaps.push_front(row + 1..self.span.start);
            }
            self.span.start = row;
        } else {
            self.fill(row);
        }
        while self.gaps.len() > limits::TRUTH_GAPS {
            if let Some(oldest) = self.gaps.pop_front() {
                self.forget(oldest);
            }
        }
    }

    /// A row within the span came: late, or again.
    fn fill(&mut self, row: usize) {
        let at = self.gaps.partition_point(|gap| gap.end <= row);
        let Some(gap) = self.gaps.get_mut(at).filter(|gap| gap.contains(&row)) else {
            return;
        };
        let behind = row + 1..gap.end;
        gap.end = row;
        if gap.start == row {
            self.gaps.remove(at);
            if !behind.is_empty() {
                self.gaps.insert(at, behind);
            }
        } else if !behind.is_empty() {
            self.gaps.insert(at + 1, behind);
        }
    }

    fn forget(&mut self, gap: Range<usize>) {
        self.forgotten += gap.len() as u64;
        let first = self
            .first_forgotten
            .map_or(gap.start, |first| first.min(gap.start));
        self.first_forgotten = Some(first);
    }

    /// How many rows between those that came are in no gap any more, and the first of them.
    pub(super) const fn forgotten(&self) -> (u64, Option<usize>) {
        (self.forgotten, self.first_forgotten)
    }

    /// The other rows that did not come: between those that did, and with `total`, the number of all, at both ends too.
    pub(super) fn missing(&self, total: Option<usize>) -> impl Iterator<Item = usize> {
        let (before, behind) = match total {
            None => (0..0, 0..0),
            Some(total) if self.span.is_empty() => (0..total, 0..0),
            Some(total) => (0..self.span.start, self.span.end..total),
        };
        before
            .chain(self.gaps.iter().cloned().flatten())
            .chain(behind)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_comes_in_order_needs_no_memory() {
        let mut seen = Seen::default();
        (5..100_000).for_each(|row| seen.insert(row));
        assert_eq!(seen.gaps.len(), 0);
        assert_eq!(seen.missing(None).count(), 0);
        assert_eq!(
            seen.missing(Some(100_002)).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 100_000, 100_001]
        );
    }

    #[test]
    fn gaps_are_bounded() {
        let mut seen = Seen::default();
        (0..3 * limits::TRUTH_GAPS).for_each(|row| seen.insert(2 * row));
        assert_eq!(seen.gaps.len(), limits::TRUTH_GAPS);
        let (forgotten, first) = seen.forgotten();
        assert_eq!(forgotten, 2 * limits::TRUTH_GAPS as u64 - 1);
        assert_eq!(first, Some(1));
        assert_eq!(seen.missing(None).count(), limits::TRUTH_GAPS);
    }

    proptest! {
        /// Against a set.
        #[test]
        fn what_is_missing_is_exact(rows in prop::collection::vec(0..60_usize, 0..80)) {
            let mut seen = Seen::default();
            let came: BTreeSet<usize> = rows.iter().copied().collect();
            rows.iter().for_each(|row| seen.insert(*row));
            let (first, last) = (came.first().copied().unwrap_or(0), came.last().copied().unwrap_or(0));
            let within: Vec<_> = (first..last).filter(|row| !came.contains(row)).collect();
            prop_assert_eq!(seen.missing(None).collect::<Vec<_>>(), within);
            let all: Vec<_> = (0..60).filter(|row| !came.contains(row)).collect();
            prop_assert_eq!(seen.missing(Some(60)).collect::<Vec<_>>(), all);
        }
    }
}
