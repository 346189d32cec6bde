//! Which times were recorded, as a job saw it when it was configured: what is recorded later does not change its rows.

use std::sync::Arc;

use crate::hash::mix3;
use crate::recordings;

/// Recorded times, frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// The embedded recordings as of `now`, in epoch seconds.
    Rule {
        /// The present, when they were looked up.
        now: u64,
    },
    /// What a store listed.
    Listed(Arc<[Span]>),
}

/// A recorded span of time, in epoch milliseconds, its end not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Recorded {
    /// Spans in order of their starts, joined where they touch.
    pub(crate) fn listed(spans: impl IntoIterator<Item = Span>) -> Self {
        let mut joined: Vec<Span> = Vec::new();
        for span in spans {
            if span.from >= span.to {
                continue;
            }
            match joined.last_mut() {
                Some(last) if span.from <= last.to => last.to = last.to.max(span.to),
                _ => joined.push(span),
            }
        }
        Self::Listed(joined.into())
    }

    /// Whether a time, in epoch milliseconds, was recorded.
    pub(crate) fn holds(&self, ms: u64) -> bool {
        match self {
            Self::Rule { now } => recordings::at(ms / 1_000, *now).is_some(),
            Self::Listed(spans) => {
                let before = spans.partition_point(|span| span.from <= ms);
                before
                    .checked_sub(1)
                    .is_some_and(|last| ms < spans[last].to)
            }
        }
    }

    /// The first time after one that was not recorded at which a recording begins, both in epoch milliseconds.
    pub(crate) fn next_after(&self, ms: u64) -> Option<u64> {
        match self {
            Self::Rule { now } => {
                recordings::next_after(ms / 1_000, *now).map(|second| second * 1_000)
            }
            Self::Listed(spans) => {
                let next = spans.partition_point(|span| span.from <= ms);
                spans.get(next).map(|span| span.from)
            }
        }
    }

    /// Whether nothing of `start..end`, in epoch seconds, was recorded.
    pub(crate) fn is_empty(&self, start: u64, end: u64) -> bool {
        match self {
            Self::Rule { now } => !recordings::any_within(start, end, *now),
            Self::Listed(spans) => !spans.iter().any(|span| {
                span.from < end.saturating_mul(1_000) && span.to > start.saturating_mul(1_000)
            }),
        }
    }

    /// Equal for equal recordings of `start..end`, for what is kept by them.
    pub(crate) fn identity(&self, start: u64, end: u64) -> u64 {
        match self {
            // The fixed day never changes.
            Self::Rule { .. } if recordings::is_fixed(start, end) => 0,
            Self::Rule { now } => *now,
            Self::Listed(spans) => spans
                .iter()
                .fold(1, |hash, span| mix3(hash, span.from, span.to)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(spans: &[(u64, u64)]) -> Recorded {
        Recorded::listed(spans.iter().map(|(from, to)| Span {
            from: *from,
            to: *to,
        }))
    }

    #[test]
    fn spans_that_touch_or_overlap_are_one() {
        let recorded = listed(&[(10, 20), (20, 30), (25, 28), (40, 40), (50, 60)]);
        let Recorded::Listed(spans) = &recorded else {
            panic!("{recorded:?}");
        };
        let ends: Vec<_> = spans.iter().map(|span| (span.from, span.to)).collect();
        assert_eq!(ends, [(10, 30), (50, 60)]);
    }

    #[test]
    fn times_are_held_from_a_start_to_before_an_end() {
        let recorded = listed(&[(10, 30), (50, 60)]);
        for (ms, held) in [
            (9, false),
            (10, true),
            (29, true),
            (30, false),
            (59, true),
            (60, false),
        ] {
            assert_eq!(recorded.holds(ms), held, "{ms}");
        }
        assert_eq!(recorded.next_after(0), Some(10));
        assert_eq!(recorded.next_after(30), Some(50));
        assert_eq!(recorded.next_after(60), None);
    }

    #[test]
    fn a_range_is_empty_if_no_span_reaches_into_it() {
        let recorded = listed(&[(10_000, 20_000)]);
        assert!(recorded.is_empty(0, 10));
        assert!(!recorded.is_empty(0, 11));
        assert!(!recorded.is_empty(19, 30));
        assert!(recorded.is_empty(20, 30));
        assert!(listed(&[]).is_empty(0, u64::MAX));
    }

    #[test]
    fn what_is_recorded_decides_the_identity() {
        assert_eq!(
            listed(&[(1, 2)]).identity(0, 9),
            listed(&[(1, 2)]).identity(0, 9)
        );
        assert_ne!(
            listed(&[(1, 2)]).identity(0, 9),
            listed(&[(1, 3)]).identity(0, 9)
        );
    }
}
