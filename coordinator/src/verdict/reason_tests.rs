//! Every reason code is provoked by something, and by nothing else: a pair of cases for each.
use super::case::Case;
use super::ledger::Counted;
use super::{Explained, Process, ReasonCode, StageFact};
use crate::aggregate::Totals;
use crate::run::{Failure, PlanAtFault, StopMode};
use std::time::Duration;
use testmesh_shared::metric::MetricId;
use testmesh_shared::plan::model::{Agg, Op};

/// A change of a healthy run.
type Change = fn(&mut Case);

/// What provokes a code, and what comes close and does not.
struct Pair {
    provokes: Change,
    spares: Change,
}

fn counted(started: u64, passed: u64) -> Counted {
    Counted {
        started,
        passed,
        ..Counted::default()
    }
}

fn slow(case: &mut Case) {
    case.threshold(MetricId::StageDuration, Agg::Max, Op::Less, 0.5);
}

fn fast(case: &mut Case) {
    case.threshold(MetricId::StageDuration, Agg::Max, Op::Less, 5.0);
}

fn skipped(case: &mut Case, after: &str) {
    case.rules.stages.push(StageFact {
        scenario: "live".into(),
        stage: "skipped".into(),
        after: Some(after.into()),
        has_truth: false,
    });
    let on = [("stage", "skipped")];
    case.threshold_on(MetricId::StageDuration, &on, Agg::Max, Op::Less, 1.0);
}

fn fail(case: &mut Case, failure: Failure) {
    case.failure(failure);
}

/// Data that was never counted is not in the totals.
fn of_integrity(code: ReasonCode) -> Option<Pair> {
    Some(match code {
        ReasonCode::RowsMissing => Pair {
            provokes: |case| {
                case.rows(MetricId::IntegrityMissing, 1);
            },
            spares: |case| {
                case.rows(MetricId::IntegrityMissing, 0);
            },
        },
        ReasonCode::RowsRepeated => Pair {
            provokes: |case| {
                case.rows(MetricId::IntegrityRepeated, 1);
            },
            spares: |case| {
                case.rows(MetricId::IntegrityRepeated, 0);
            },
        },
        ReasonCode::RowsReordered => Pair {
            provokes: |case| {
                case.rows(MetricId::IntegrityReordered, 1);
            },
            spares: |case| {
                case.rows(MetricId::IntegrityReordered, 0);
            },
        },
        ReasonCode::RowsMismatched => Pair {
            provokes: |case| {
                case.rows(MetricId::IntegrityMismatched, 1);
            },
            // That nobody else saw a row is no mismatch.
            spares: |case| {
                case.rows(MetricId::IntegrityUnwitnessed, 5);
            },
        },
        ReasonCode::RowsUnverified => Pair {
            provokes: |case| {
                case.rows(MetricId::IntegrityUnverified, 1);
            },
            spares: |case| {
                case.rows(MetricId::IntegrityUnwitnessed, 1);
            },
        },
        ReasonCode::NothingVerified => Pair {
            provokes: |case| {
                case.totals = Totals::default();
                case.rows(MetricId::StreamRows, 100)
                    .rows(MetricId::IntegrityUnwitnessed, 100);
            },
            spares: |case| {
                case.totals = Totals::default();
                case.rows(MetricId::StreamRows, 100)
                    .rows(MetricId::IntegrityUnwitnessed, 99)
                    .rows(MetricId::IntegrityVerified, 1);
            },
        },
        _ => return None,
    })
}

fn of_thresholds(code: ReasonCode) -> Option<Pair> {
    Some(match code {
        ReasonCode::ThresholdBroken => Pair {
            provokes: slow,
            // A saturated generator makes its value doubtful.
            spares: |case| {
                slow(case);
                case.loop_lag(50);
            },
        },
        ReasonCode::EndedEarly => Pair {
            provokes: |case| {
                case.sessions(Counted {
                    failed: 1,
                    ..counted(10, 9)
                });
                case.explained = Explained {
                    ended_early: 1,
                    malformed_rows: 0,
                };
            },
            // Another stage failed too, for another cause.
            spares: |case| {
                case.sessions(Counted {
                    failed: 2,
                    ..counted(10, 8)
                });
                case.errors("refused", 1).errors("protocol", 1);
                case.explained = Explained {
                    ended_early: 1,
                    malformed_rows: 0,
                };
            },
        },
        ReasonCode::NoData => Pair {
            provokes: |case| skipped(case, "stream"),
            // Nobody came so far.
            spares: |case| {
                case.sessions(Counted {
                    failed: 10,
                    ..counted(10, 0)
                });
                skipped(case, "never");
            },
        },
        _ => return None,
    })
}

fn of_the_measurement(code: ReasonCode) -> Option<Pair> {
    Some(match code {
        ReasonCode::AgentLost => Pair {
            provokes: |case| case.ending.lost.push((1, "silent".into())),
            spares: |case| {
                case.ending.lost.push((1, "silent".into()));
                case.rules.agents_lost = 1;
            },
        },
        ReasonCode::GeneratorSaturated => Pair {
            provokes: |case| {
                fast(case);
                case.loop_lag(50);
            },
            // No threshold reads a duration.
            spares: |case| {
                case.loop_lag(50);
            },
        },
        ReasonCode::SessionsDropped => Pair {
            provokes: |case| {
                case.sessions(Counted {
                    dropped: 2,
                    ..counted(100, 100)
                });
            },
            spares: |case| {
                case.sessions(Counted {
                    dropped: 1,
                    ..counted(100, 100)
                });
            },
        },
        ReasonCode::ClockUncertain => Pair {
            provokes: |case| {
                case.clocks = vec![Some(Duration::from_secs(1)), None];
                case.gauge(MetricId::StreamsOpen, 20.0);
                case.threshold(MetricId::StreamsOpen, Agg::Max, Op::Greater, 10.0);
            },
            // What is counted over the whole run needs no clock.
            spares: |case| {
                case.clocks = vec![Some(Duration::from_secs(1)), None];
                fast(case);
            },
        },
        _ => return None,
    })
}

fn of_the_end(code: ReasonCode) -> Option<Pair> {
    Some(match code {
        ReasonCode::LedgerUnbalanced => Pair {
            provokes: |case| {
                case.sessions(counted(10, 9));
            },
            spares: |case| {
                case.sessions(Counted {
                    interrupted: 1,
                    ..counted(10, 9)
                });
            },
        },
        ReasonCode::MeasurementsMissing => Pair {
            provokes: |case| case.missing.push(("a".into(), 2)),
            spares: |case| case.missing.push(("a".into(), 0)),
        },
        ReasonCode::FaultFailed => Pair {
            provokes: |case| {
                // What is measured in its phase proves nothing then.
                slow(case);
                case.rules.criteria[1].text = "max(x{phase = \"away\"}) < 1s".into();
                case.faults_failed.push(super::FailedFault {
                    name: "away".into(),
                    why: "no agent".into(),
                });
            },
            spares: |_| {},
        },
        ReasonCode::RunOverran => Pair {
            provokes: |case| case.ending.overran.push(0),
            spares: |_| {},
        },
        ReasonCode::Stopped => Pair {
            provokes: |case| case.ending.stopped = Some(StopMode::Drain),
            // A threshold that ended the run is no user who did.
            spares: |case| {
                slow(case);
                case.aborted = super::broken(&{
                    case.rules.criteria[1].aborts = true;
                    case.input()
                });
            },
        },
        _ => return None,
    })
}

fn of_the_start(code: ReasonCode) -> Option<Pair> {
    Some(match code {
        ReasonCode::SetupFailed => Pair {
            provokes: |case| fail(case, Failure::SetupFailed(String::new())),
            spares: |case| fail(case, Failure::StartFailed(String::new())),
        },
        ReasonCode::NotEnoughAgents => Pair {
            provokes: |case| fail(case, Failure::NotEnoughAgents(String::new())),
            spares: |case| fail(case, Failure::SetupFailed(String::new())),
        },
        ReasonCode::PlanRefused => Pair {
            provokes: |case| fail(case, Failure::PlanRefused(String::new(), PlanAtFault::No)),
            spares: |case| fail(case, Failure::NotEnoughAgents(String::new())),
        },
        ReasonCode::StartFailed => Pair {
            provokes: |case| fail(case, Failure::StartFailed(String::new())),
            spares: |case| fail(case, Failure::PlanRefused(String::new(), PlanAtFault::Yes)),
        },
        ReasonCode::NothingStarted => Pair {
            provokes: |case| {
                case.totals = Totals::default();
                case.sessions(Counted::default());
            },
            // For a reason that is known.
            spares: |case| fail(case, Failure::SetupFailed(String::new())),
        },
        ReasonCode::NothingEnded => Pair {
            provokes: |case| {
                case.sessions(Counted {
                    interrupted: 10,
                    ..counted(10, 0)
                });
            },
            spares: |case| {
                case.sessions(Counted {
                    interrupted: 9,
                    ..counted(10, 1)
                });
            },
        },
        _ => return None,
    })
}

#[test]
fn every_code_has_a_case_that_provokes_it_and_one_that_does_not() {
    for &code in ReasonCode::ALL {
        let pair = of_integrity(code)
            .or_else(|| of_thresholds(code))
            .or_else(|| of_the_measurement(code))
            .or_else(|| of_the_end(code))
            .or_else(|| of_the_start(code));
        let Pair { provokes, spares } = pair.unwrap_or_else(|| panic!("{code} has no pair"));
        let codes = |change: Change| {
            let mut case = Case::healthy();
            change(&mut case);
            let reasons = case.judge().reasons;
            reasons.iter().map(|one| one.code).collect::<Vec<_>>()
        };
        assert_eq!(codes(provokes), [code], "what provokes {code}");
        let others = codes(spares);
        assert!(!others.contains(&code), "what spares {code}: {others:?}");
    }
}

#[test]
fn agents_in_one_process_have_one_clock() {
    let mut case = Case::healthy();
    case.clocks = vec![Some(Duration::from_secs(1)); 2];
    case.gauge(MetricId::StreamsOpen, 20.0);
    case.threshold(MetricId::StreamsOpen, Agg::Max, Op::Greater, 10.0);
    case.check("inconclusive 10 clock_uncertain");
    case.process = Process::Shared;
    case.check("passed 0");
    // One agent's seconds need not be laid on another's.
    case.process = Process::Apart;
    case.clocks.truncate(1);
    case.check("passed 0");
}
