//! The ledger: every planned session is somewhere, or the run says that it cannot account for it.
use crate::report::model::Sessions;
use std::collections::BTreeMap;

/// What was counted of one scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Sessions that began.
    pub started: u64,
    /// Sessions whose stages all passed.
    pub passed: u64,
    /// Sessions that a failed stage ended.
    pub failed: u64,
    /// Arrivals that found no free slot.
    pub dropped: u64,
    /// Sessions that a stop cut.
    pub interrupted: u64,
    /// Sessions in flight on an agent that was given up.
    pub lost: u64,
}

impl Counted {
    /// Sessions that began and of whose end nothing is known.
    pub fn in_flight(&self) -> u64 {
        let ended = [self.passed, self.failed, self.interrupted, self.lost];
        self.started
            .saturating_sub(ended.into_iter().fold(0, u64::saturating_add))
    }
}

/// One scenario's part of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The scenario's name.
    pub scenario: String,
    /// The balanced numbers.
    pub sessions: Sessions,
    /// Sessions start until the time is up, so that nobody knows how many a lost agent would have started.
    pub open_ended: bool,
    /// The lost sessions by the site of their agent.
    pub lost_by_site: BTreeMap<String, u64>,
    /// What does not add up, if anything.
    pub imbalance: Option<String>,
}

/// Closes the ledger of one scenario. `planned` is the plan's number, or none where sessions start until the time is up.
///
/// What was planned and neither started nor dropped is unstarted.
pub fn close(scenario: &str, planned: Option<u64>, counted: Counted) -> Entry {
    let Counted {
        started,
        passed,
        failed,
        dropped,
        interrupted,
        lost,
    } = counted;
    let begun = started.saturating_add(dropped);
    let open_ended = planned.is_none();
    let planned = planned.unwrap_or(begun);
    let sessions = Sessions {
        planned,
        started,
        passed,
        failed,
        dropped,
        unstarted: planned.saturating_sub(begun),
        interrupted,
        lost,
    };
    let ended = passed
        .saturating_add(failed)
        .saturating_add(interrupted)
        .saturating_add(lost);
    let imbalance = if begun > planned {
        Some(format!(
            "scenario {scenario}: {planned} sessions were planned, but {started} started and {dropped} were dropped"
        ))
    } else if started != ended {
        Some(format!(
            "scenario {scenario}: {started} sessions started, but {ended} are accounted for: \
             {passed} passed, {failed} failed, {interrupted} interrupted, {lost} lost"
        ))
    } else {
        None
    };
    Entry {
        scenario: scenario.to_owned(),
        sessions,
        open_ended,
        lost_by_site: BTreeMap::new(),
        imbalance,
    }
}

/// The ledger over all scenarios.
pub fn sum(entries: &[Entry]) -> Sessions {
    entries.iter().fold(Sessions::default(), |sum, entry| {
        let one = entry.sessions;
        Sessions {
            planned: sum.planned.saturating_add(one.planned),
            started: sum.started.saturating_add(one.started),
            passed: sum.passed.saturating_add(one.passed),
            failed: sum.failed.saturating_add(one.failed),
            dropped: sum.dropped.saturating_add(one.dropped),
            unstarted: sum.unstarted.saturating_add(one.unstarted),
            interrupted: sum.interrupted.saturating_add(one.interrupted),
            lost: sum.lost.saturating_add(one.lost),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counted(
        started: u64,
        passed: u64,
        failed: u64,
        dropped: u64,
        interrupted: u64,
        lost: u64,
    ) -> Counted {
        Counted {
            started,
            passed,
            failed,
            dropped,
            interrupted,
            lost,
        }
    }

    #[test]
    fn what_is_not_accounted_for_is_said() {
        for (planned, counts, unstarted, imbalance) in [
            (None, counted(10, 8, 1, 2, 1, 0), 0, None),
            (Some(20), counted(10, 8, 1, 2, 0, 1), 8, None),
            (
                Some(5),
                counted(10, 10, 0, 0, 0, 0),
                0,
                Some("5 sessions were planned, but 10 started"),
            ),
            (
                None,
                counted(10, 8, 0, 0, 0, 0),
                0,
                Some("10 sessions started, but 8 are accounted for"),
            ),
            (
                None,
                counted(1, 2, 0, 0, 0, 0),
                0,
                Some("1 sessions started, but 2"),
            ),
        ] {
            let entry = close("s", planned, counts);
            assert_eq!(entry.sessions.unstarted, unstarted, "{counts:?}");
            match (&entry.imbalance, imbalance) {
                (None, None) => {}
                (Some(text), Some(part)) => assert!(text.contains(part), "{text}"),
                (got, expect) => panic!("{counts:?}: got {got:?}, expected {expect:?}"),
            }
        }
    }

    proptest! {
        /// A ledger without an imbalance satisfies both equations.
        #[test]
        fn a_ledger_without_imbalance_balances(
            planned in proptest::option::of(0..50_u64),
            counts in proptest::array::uniform6(0..20_u64),
        ) {
            let [started, passed, failed, dropped, interrupted, lost] = counts;
            let entry = close("s", planned, counted(started, passed, failed, dropped, interrupted, lost));
            let s = entry.sessions;
            let balanced = s.planned == s.started + s.dropped + s.unstarted
                && s.started == s.passed + s.failed + s.interrupted + s.lost;
            prop_assert_eq!(balanced, entry.imbalance.is_none());
        }
    }
}
