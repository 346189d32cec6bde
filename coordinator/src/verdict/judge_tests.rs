//! Cases and laws of the verdict.
use super::super::case::Case;
use super::super::ledger::{Counted, close};
use super::super::{Explained, Operand, Process, StageFact};
use super::*;
use crate::aggregate::{Selector, Totals};
use crate::run::StopMode;
use proptest::prelude::*;
use testmesh_shared::metric::MetricId;
use testmesh_shared::plan::model::{Agg, Op};

#[test]
fn a_healthy_run_passes() {
    Case::healthy().check("passed 0");
}

#[test]
fn corrupt_data_fails_for_its_own_reason_whatever_else_is_wrong() {
    for (metric, code) in [
        (MetricId::IntegrityMissing, "rows_missing"),
        (MetricId::IntegrityRepeated, "rows_repeated"),
        (MetricId::IntegrityReordered, "rows_reordered"),
        (MetricId::IntegrityMismatched, "rows_mismatched"),
    ] {
        Case::healthy()
            .rows(metric, 1)
            .check(&format!("failed 100 {code}"));
        let mut case = Case::healthy();
        case.rows(metric, 1).ending.lost.push((1, "silent".into()));
        case.check(&format!("failed 100 {code} agent_lost"));
        case.ending.stopped = Some(StopMode::Drain);
        case.check(&format!("failed 100 {code} agent_lost stopped"));
    }
}

#[test]
fn a_broken_threshold_fails() {
    let failed = Counted {
        started: 10,
        passed: 9,
        failed: 1,
        ..Counted::default()
    };
    Case::healthy()
        .sessions(failed)
        .check("failed 100 threshold_broken");
    Case::healthy()
        .threshold(
            MetricId::StageDuration,
            Agg::Percentile(95.0),
            Op::Less,
            0.5,
        )
        .check("failed 100 threshold_broken");
    let mut case = Case::healthy();
    case.threshold_on(
        MetricId::StageDuration,
        &[("stage", "open")],
        Agg::Percentile(95.0),
        Op::Less,
        0.5,
    )
    .threshold(MetricId::SessionsFailed, Agg::Rate, Op::Less, 0.01)
    .threshold(
        MetricId::StreamRows,
        Agg::PerSecond,
        Op::GreaterOrEqual,
        10.0,
    )
    .threshold(MetricId::StreamStall, Agg::Max, Op::Less, 2.0);
    case.check("passed 0");
}

#[test]
fn failed_sessions_that_the_data_explains_are_told_by_it_and_once() {
    let failed = Counted {
        started: 10,
        passed: 7,
        failed: 3,
        ..Counted::default()
    };
    let explained = |ended_early, malformed_rows| {
        let mut case = Case::healthy();
        case.sessions(failed).explained = Explained {
            ended_early,
            malformed_rows,
        };
        case
    };
    explained(3, 0).check("failed 100 ended_early");
    explained(2, 0).check("failed 100 threshold_broken");
    explained(2, 1)
        .rows(MetricId::IntegrityMismatched, 1)
        .check("failed 100 rows_mismatched ended_early");
    explained(0, 3)
        .rows(MetricId::IntegrityMismatched, 3)
        .check("failed 100 rows_mismatched");
    explained(0, 3).check("failed 100 threshold_broken");
    let mut other = explained(3, 0);
    other.threshold(MetricId::StageDuration, Agg::Max, Op::Less, 0.5);
    other.check("failed 100 ended_early threshold_broken");
}

#[test]
fn a_saturated_generator_taints_times_and_matters_only_to_them() {
    let mut case = Case::healthy();
    case.loop_lag(50).check("passed 0");
    case.threshold(
        MetricId::StageDuration,
        Agg::Percentile(95.0),
        Op::Less,
        0.5,
    );
    case.check("inconclusive 10 generator_saturated");
    let tainted = &case.judge().thresholds[1];
    assert_eq!(tainted.tainted_by, [ReasonCode::GeneratorSaturated]);
    assert_eq!(tainted.outcome, ThresholdOutcome::Failed);
    // A local run may lag more, and then the threshold is simply broken.
    case.process = Process::Shared;
    case.check("failed 100 threshold_broken");
    // A count is what it is, however slow its agent.
    let mut case = Case::healthy();
    let failed = Counted {
        started: 10,
        passed: 9,
        failed: 1,
        ..Counted::default()
    };
    case.loop_lag(50)
        .sessions(failed)
        .check("failed 100 threshold_broken");
}

#[test]
fn a_lost_agent_taints_what_its_sessions_could_have_saved() {
    let lost = Counted {
        started: 10,
        passed: 8,
        lost: 2,
        ..Counted::default()
    };
    let mut case = Case::healthy();
    case.sessions(lost).ending.lost.push((1, "silent".into()));
    case.check("inconclusive 10 agent_lost");
    // 8 of 10 passed; with the lost two all would have: the agent is to blame, not the server.
    case.threshold(MetricId::SessionsPassed, Agg::Rate, Op::Greater, 0.9);
    case.check("inconclusive 10 agent_lost");
    // 5 of 10 failed, and no lost session can change that.
    let mut case = Case::healthy();
    case.sessions(Counted {
        started: 10,
        passed: 3,
        failed: 5,
        lost: 2,
        ..Counted::default()
    });
    case.ending.lost.push((1, "silent".into()));
    case.check("failed 100 threshold_broken agent_lost");
    // A plan may tolerate it.
    let mut case = Case::healthy();
    case.sessions(lost).ending.lost.push((1, "silent".into()));
    case.rules.agents_lost = 1;
    case.check("passed 0");
}

#[test]
fn a_broken_threshold_that_a_tolerated_loss_taints_never_passes() {
    let mut case = Case::healthy();
    case.sessions(Counted {
        started: 10,
        passed: 8,
        lost: 2,
        ..Counted::default()
    });
    case.ending.lost.push((1, "silent".into()));
    case.rules.agents_lost = 1;
    case.threshold(MetricId::SessionsPassed, Agg::Rate, Op::Greater, 0.9);
    case.check("inconclusive 10 agent_lost");
    let message = &case.judge().reasons[0].message;
    assert!(message.contains("does not hold"), "{message}");
    // Once is enough.
    case.threshold(MetricId::SessionsPassed, Agg::Count, Op::Equal, 9.0);
    case.check("inconclusive 10 agent_lost");
}

#[test]
fn what_grows_with_sessions_could_have_grown_on_a_lost_agent() {
    let open_ended = || {
        let mut case = Case::healthy();
        case.gauge(MetricId::StreamsOpen, 18.0)
            .sessions(Counted {
                started: 10,
                passed: 8,
                lost: 2,
                ..Counted::default()
            })
            .ending
            .lost
            .push((1, "silent".into()));
        case
    };
    use Op::{Equal, Greater, GreaterOrEqual, Less, NotEqual};
    for (metric, agg, op, limit, doubtful) in [
        (MetricId::StreamsOpen, Agg::Max, GreaterOrEqual, 20.0, true),
        (MetricId::StreamsOpen, Agg::Max, Less, 15.0, false),
        (MetricId::StageDuration, Agg::Count, Greater, 50.0, true),
        (MetricId::StageDuration, Agg::Sum, Greater, 60.0, true),
        (MetricId::StageDuration, Agg::Max, Greater, 3.0, true),
        (MetricId::StageDuration, Agg::Max, Less, 1.0, false),
        (MetricId::StageDuration, Agg::Min, Less, 0.01, true),
        (MetricId::StageDuration, Agg::Mean, Greater, 9.0, true),
        (MetricId::StageDuration, Agg::PerSecond, Greater, 9.0, true),
        (MetricId::StreamRows, Agg::Count, Equal, 200.0, true),
        (MetricId::StreamRows, Agg::Count, Equal, 50.0, false),
        (MetricId::StreamRows, Agg::Count, NotEqual, 100.0, true),
        (
            MetricId::StreamRows,
            Agg::PerSecond,
            GreaterOrEqual,
            20.0,
            true,
        ),
        (MetricId::StreamRows, Agg::PerSecond, Less, 5.0, false),
        (MetricId::IntegrityVerified, Agg::Rate, Greater, 1.0, false),
        (MetricId::SessionsLost, Agg::Count, Equal, 0.0, true),
    ] {
        let mut case = open_ended();
        case.threshold(metric, agg, op, limit);
        case.check(if doubtful {
            "inconclusive 10 agent_lost"
        } else {
            "failed 100 threshold_broken agent_lost"
        });
    }
}

#[test]
fn the_rest_of_a_lost_segment_could_have_passed() {
    let with = |passed, failed| {
        let mut case = Case::healthy();
        let counted = Counted {
            started: passed + failed,
            passed,
            failed,
            ..Counted::default()
        };
        case.ledger = vec![close("live", Some(20), counted)];
        case.rules.criteria.clear();
        case.ending.lost.push((1, "silent".into()));
        case.threshold(MetricId::SessionsPassed, Agg::Count, Op::Equal, 20.0);
        case
    };
    with(15, 0).check("inconclusive 10 agent_lost");
    // The plan says how many there are: with one that failed it cannot be all any more.
    with(15, 1).check("failed 100 threshold_broken agent_lost");
    // A negative factor turns the comparison round.
    let mut case = with(15, 0);
    case.rules.criteria[0].left.factor = -1.0;
    case.rules.criteria[0].right = Operand::Value(-20.0);
    case.check("inconclusive 10 agent_lost");
}

#[test]
fn sessions_that_a_site_lost_are_counted_there_and_taint_nothing_elsewhere() {
    let mut case = Case::healthy();
    case.sessions(Counted {
        started: 10,
        passed: 8,
        lost: 2,
        ..Counted::default()
    });
    case.ledger[0].lost_by_site = [("tokyo".to_owned(), 2)].into();
    case.ending.lost.push((1, "silent".into()));
    case.rules.agents_lost = 1;
    let lost = |case: &mut Case, site: &str, limit: f64| {
        case.threshold_on(
            MetricId::SessionsLost,
            &[("site", site)],
            Agg::Count,
            Op::Equal,
            limit,
        );
    };
    lost(&mut case, "tokyo", 2.0);
    lost(&mut case, "local", 0.0);
    case.check("passed 0");
    case.threshold_on(
        MetricId::StageDuration,
        &[("site", "local")],
        Agg::Count,
        Op::Greater,
        50.0,
    );
    case.check("failed 100 threshold_broken");
}

#[test]
fn a_run_of_which_no_session_ended_does_not_pass() {
    let mut case = Case::healthy();
    case.sessions(Counted {
        started: 10,
        interrupted: 10,
        ..Counted::default()
    });
    case.check("inconclusive 10 nothing_ended");
    case.sessions(Counted {
        started: 10,
        passed: 1,
        interrupted: 9,
        ..Counted::default()
    });
    case.check("passed 0");
}

#[test]
fn one_session_with_three_early_ends_does_not_explain_two_others() {
    let mut case = Case::healthy();
    case.sessions(Counted {
        started: 10,
        passed: 7,
        failed: 3,
        ..Counted::default()
    });
    case.explained = Explained {
        ended_early: 3,
        malformed_rows: 0,
    };
    case.errors("protocol", 3).errors("cancelled", 2);
    case.check("failed 100 ended_early");
    // `on_failure: continue` let one session end early three times; the other two were refused.
    case.errors("refused", 2);
    case.check("failed 100 threshold_broken");
}

#[test]
fn a_percentile_is_tainted_if_good_samples_could_lower_it() {
    let mut case = Case::healthy();
    case.sessions(Counted {
        started: 110,
        passed: 10,
        lost: 100,
        ..Counted::default()
    });
    case.ending.lost.push((1, "silent".into()));
    case.threshold_on(
        MetricId::StageDuration,
        &[("stage", "stream")],
        Agg::Percentile(50.0),
        Op::Less,
        0.5,
    );
    case.check("inconclusive 10 agent_lost");
    let mut case = Case::healthy();
    case.sessions(Counted {
        started: 11,
        passed: 10,
        lost: 1,
        ..Counted::default()
    });
    case.ending.lost.push((1, "silent".into()));
    case.threshold_on(
        MetricId::StageDuration,
        &[("stage", "stream")],
        Agg::Percentile(50.0),
        Op::Less,
        0.5,
    );
    case.check("failed 100 threshold_broken agent_lost");
}

#[test]
fn what_was_not_measured_is_never_passed() {
    let p95 = |case: &mut Case, stage: &str| {
        case.threshold_on(
            MetricId::StageDuration,
            &[("stage", stage)],
            Agg::Percentile(95.0),
            Op::Less,
            0.5,
        );
    };
    let mut case = Case::healthy();
    case.rules.stages.push(StageFact {
        scenario: "live".into(),
        stage: "skipped".into(),
        after: Some("stream".into()),
        has_truth: false,
    });
    p95(&mut case, "skipped");
    case.check("inconclusive 10 no_data");
    // Nobody passed the stage before: that nobody came to this one is no news.
    let mut case = Case::healthy();
    case.totals = Totals::default();
    case.took("open", "status", 10, 5).sessions(Counted {
        started: 10,
        failed: 10,
        ..Counted::default()
    });
    p95(&mut case, "stream");
    case.check("failed 100 threshold_broken");
    assert_eq!(
        case.judge().thresholds[1].outcome,
        ThresholdOutcome::NotReached
    );
}

#[test]
fn rows_that_were_not_compared_are_no_evidence() {
    let mut case = Case::healthy();
    case.rows(MetricId::IntegrityUnverified, 3)
        .check("inconclusive 10 rows_unverified");
    let mut case = Case::healthy();
    case.totals = Totals::default();
    case.rows(MetricId::StreamRows, 100)
        .rows(MetricId::IntegrityUnwitnessed, 100);
    case.check("inconclusive 10 nothing_verified");
}

#[test]
fn runs_that_never_started_say_why() {
    for (failure, expect) in [
        (
            Failure::NotEnoughAgents(String::new()),
            "inconclusive 103 not_enough_agents",
        ),
        (
            Failure::PlanRefused(String::new(), PlanAtFault::Yes),
            "inconclusive 104 plan_refused",
        ),
        (
            Failure::PlanRefused(String::new(), PlanAtFault::No),
            "inconclusive 10 plan_refused",
        ),
        (
            Failure::StartFailed(String::new()),
            "inconclusive 10 start_failed",
        ),
        (
            Failure::SetupFailed(String::new()),
            "inconclusive 10 setup_failed",
        ),
    ] {
        Case::healthy().failure(failure).check(expect);
    }
    let mut case = Case::healthy();
    case.totals = Totals::default();
    case.sessions(Counted::default())
        .check("inconclusive 10 nothing_started");
}

#[test]
fn other_reasons_against_the_measurement() {
    let mut case = Case::healthy();
    case.ending.stopped = Some(StopMode::Abort);
    case.check("inconclusive 105 stopped");
    let mut case = Case::healthy();
    case.ending.overran.push(0);
    case.check("inconclusive 10 run_overran");
    let mut case = Case::healthy();
    case.missing.push(("a".into(), 2));
    case.check("inconclusive 10 measurements_missing");
    let mut case = Case::healthy();
    case.sessions(Counted {
        started: 10,
        passed: 9,
        ..Counted::default()
    });
    case.check("inconclusive 10 ledger_unbalanced");
    let mut case = Case::healthy();
    case.sessions(Counted {
        started: 10,
        passed: 10,
        dropped: 1,
        ..Counted::default()
    });
    case.check("inconclusive 10 sessions_dropped");
}

fn any_case() -> impl Strategy<Value = Case> {
    let integrity = proptest::array::uniform4(prop_oneof![3 => Just(0_u64), 1 => 1..5_u64]);
    let counts = proptest::array::uniform5(0..4_u64);
    let flags = proptest::array::uniform6(proptest::bool::weighted(0.2));
    let (lag, tolerated) = (0..200_u64, 0..3_u32);
    (integrity, counts, flags, lag, tolerated).prop_map(
        |(integrity, counts, flags, lag, tolerated)| {
            let mut case = Case::healthy();
            let metrics = [
                MetricId::IntegrityMissing,
                MetricId::IntegrityRepeated,
                MetricId::IntegrityReordered,
                MetricId::IntegrityMismatched,
            ];
            metrics
                .into_iter()
                .zip(integrity)
                .for_each(|(metric, count)| {
                    case.rows(metric, count);
                });
            let [passed, failed, dropped, interrupted, lost] = counts;
            let started = passed + failed + interrupted + lost;
            case.sessions(Counted {
                started,
                passed,
                failed,
                dropped,
                interrupted,
                lost,
            })
            .loop_lag(lag);
            let [gone, stopped, overran, missing, unverified, strict] = flags;
            case.ending.stopped = stopped.then_some(StopMode::Drain);
            if gone {
                case.ending.lost.push((0, String::new()));
            }
            if overran {
                case.ending.overran.push(1);
            }
            case.missing = vec![("a".into(), u64::from(missing))];
            case.rows(MetricId::IntegrityUnverified, u64::from(unverified));
            case.explained = Explained {
                ended_early: lag % 3,
                malformed_rows: lag % 5,
            };
            case.rules.agents_lost = tolerated;
            if strict {
                case.threshold(MetricId::StageDuration, Agg::Max, Op::Less, 1.0);
            } else if gone {
                case.threshold(MetricId::SessionsPassed, Agg::Rate, Op::Greater, 0.5);
            }
            case
        },
    )
}

proptest! {
    /// `passed` means what it says, `failed` is always proven, and the exit code and reasons agree with the word.
    #[test]
    fn a_verdict_is_never_better_than_its_evidence(case in any_case()) {
        let verdict = case.judge();
        let corrupt = integrity_total(&case) > 0;
        let has = |class| verdict.reasons.iter().any(|reason| reason.code.class() == class);
        match verdict.kind {
            VerdictKind::Passed => {
                prop_assert!(verdict.reasons.is_empty());
                prop_assert!(!corrupt);
                prop_assert!(case.ledger[0].sessions.failed == 0 && case.ledger[0].sessions.started > 0);
                let tolerated = usize::try_from(case.rules.agents_lost).unwrap();
                prop_assert!(case.ending.lost.len() <= tolerated && case.ending.stopped.is_none());
                prop_assert!(verdict.thresholds.iter().all(|one| one.outcome != ThresholdOutcome::Failed));
                prop_assert_eq!(verdict.exit_code, ExitCode::Passed);
            }
            VerdictKind::Failed => {
                prop_assert!(has(ReasonClass::Integrity) || has(ReasonClass::Threshold));
                prop_assert_eq!(verdict.exit_code, ExitCode::Failed);
            }
            VerdictKind::Inconclusive => {
                prop_assert!(!corrupt);
                prop_assert!(has(ReasonClass::Validity) && !has(ReasonClass::Threshold));
            }
        }
        // A broken threshold without a taint fails the run, under whatever name.
        let mut thresholds = verdict.thresholds.iter();
        if thresholds.any(|one| one.outcome == ThresholdOutcome::Failed && one.tainted_by.is_empty()) {
            prop_assert_eq!(verdict.kind, VerdictKind::Failed);
        }
    }
}

fn integrity_total(case: &Case) -> u64 {
    use crate::aggregate::Span;
    let count = |metric| case.totals.counter(metric, &Selector::all(), Span::ALL);
    count(MetricId::IntegrityMissing)
        + count(MetricId::IntegrityRepeated)
        + count(MetricId::IntegrityReordered)
        + count(MetricId::IntegrityMismatched)
}
