//! Thresholds with two metrics, later parts of a run, and sliding spans.
use super::case::Case;
use super::ledger::{Counted, close};
use super::{Operand, Reading, ReasonCode, broken};
use crate::aggregate::{Matcher, Selector};
use crate::phase::{Phases, WarmUp};
use crate::report::model::ThresholdOutcome;
use proptest::prelude::*;
use std::time::Duration;
use testmesh_shared::metric::MetricId;
use testmesh_shared::plan::model::{Agg, Op};

/// Compares the last threshold of a case with another reading of `stage_duration`.
fn against(case: &mut Case, factor: f64, agg: Agg, on: &[(&str, bool, &str)]) {
    let matchers = on.iter().map(|(label, equal, value)| Matcher {
        label: (*label).into(),
        equal: *equal,
        value: (*value).into(),
    });
    let right = Reading {
        agg,
        metric: MetricId::StageDuration,
        selector: Selector::new(matchers, &case.phases),
        factor,
    };
    case.rules.criteria.last_mut().unwrap().right = Operand::Reading(right);
}

fn max_of(case: &mut Case, stage: &str) {
    let on = [("stage", stage)];
    case.threshold_on(MetricId::StageDuration, &on, Agg::Max, Op::Less, 0.0);
}

#[test]
fn two_metrics_are_compared_and_both_are_told() {
    // open took 20 ms, stream 2 s.
    for (factor, expect) in [(1.0, "passed 0"), (0.001, "failed 100 threshold_broken")] {
        let mut case = Case::healthy();
        max_of(&mut case, "open");
        against(&mut case, factor, Agg::Max, &[("stage", true, "stream")]);
        case.check(expect);
        let threshold = &case.judge().thresholds[1];
        let (observed, limit) = (threshold.observed.unwrap(), threshold.limit.unwrap());
        assert!((observed - 0.02).abs() < 1e-9 && (limit - 2.0 * factor).abs() < 1e-9);
    }
    let mut case = Case::healthy();
    max_of(&mut case, "stream");
    against(&mut case, 1.0, Agg::Max, &[("stage", true, "open")]);
    let message = case.judge().reasons[0].message.clone();
    assert!(message.contains("2.00 s against 20.0 ms"), "{message}");
}

#[test]
fn a_side_without_data_decides_whichever_it_is() {
    let skipped = |case: &mut Case, after: &str| {
        case.rules.stages.push(super::StageFact {
            scenario: "live".into(),
            stage: "skipped".into(),
            after: Some(after.into()),
            has_truth: false,
        });
    };
    for left in [true, false] {
        let make = || {
            let mut case = Case::healthy();
            max_of(&mut case, if left { "skipped" } else { "open" });
            let right = if left { "open" } else { "skipped" };
            against(&mut case, 1.0, Agg::Max, &[("stage", true, right)]);
            case
        };
        let mut case = make();
        skipped(&mut case, "stream");
        case.check("inconclusive 10 no_data");
        let threshold = &case.judge().thresholds[1];
        assert_eq!(threshold.observed.is_none(), left);
        assert_eq!(threshold.limit.is_none(), !left);
        let mut case = make();
        case.sessions(Counted {
            started: 10,
            failed: 10,
            ..Counted::default()
        });
        skipped(&mut case, "never");
        case.check("failed 100 threshold_broken");
        let outcome = case.judge().thresholds[1].outcome;
        assert_eq!(outcome, ThresholdOutcome::NotReached);
    }
}

#[test]
fn either_side_may_be_doubtful() {
    // A count on the left, a duration on the right: the generator's pace matters.
    let mut case = Case::healthy();
    case.threshold(MetricId::StageDuration, Agg::Count, Op::Less, 0.0);
    against(&mut case, 1.0, Agg::PerSecond, &[]);
    case.loop_lag(50)
        .check("inconclusive 10 generator_saturated");
    // Two counts do not depend on it.
    let mut case = Case::healthy();
    case.threshold(MetricId::StageDuration, Agg::Count, Op::Less, 0.0);
    against(&mut case, 2.0, Agg::Count, &[]);
    case.loop_lag(50).check("passed 0");
    // 8 of 10 sessions are known to have passed: the other two could have made the left side greater.
    let lost = Counted {
        started: 10,
        passed: 8,
        lost: 2,
        ..Counted::default()
    };
    let mut case = Case::healthy();
    case.sessions(lost).ending.lost.push((1, "silent".into()));
    case.threshold(MetricId::SessionsPassed, Agg::Count, Op::Greater, 0.0);
    against(&mut case, 1.0, Agg::Count, &[("stage", true, "open")]);
    case.rules.agents_lost = 1;
    case.check("inconclusive 10 agent_lost");
    // But not by so many.
    let mut case = Case::healthy();
    case.sessions(lost).ending.lost.push((1, "silent".into()));
    case.ledger = vec![close("live", Some(10), lost)];
    case.threshold(MetricId::SessionsFailed, Agg::Count, Op::Greater, 0.0);
    against(&mut case, 1.0, Agg::Count, &[("stage", true, "stream")]);
    case.check("failed 100 threshold_broken agent_lost");
}

fn phases() -> Phases {
    let warm_up = WarmUp {
        from: Duration::ZERO,
        to: Duration::from_secs(2),
    };
    let seconds = Duration::from_secs;
    Phases::new([("live", warm_up)])
        .with_named([
            ("early", seconds(0), seconds(5)),
            ("late", seconds(5), seconds(9)),
        ])
        .with_afters([seconds(4)])
}

#[test]
fn phases_are_compared_with_each_other_and_have_bases_of_their_own() {
    let mut case = Case::healthy();
    case.phases = phases();
    // Cold, early, late.
    case.slid(0, 9_000)
        .slid(3, 100)
        .slid(4, 100)
        .slid(6, 200)
        .slid(7, 200);
    let threshold = |case: &mut Case, on: &[(&str, &str)], agg, op, limit| {
        case.threshold_on(MetricId::StageDuration, on, agg, op, limit);
    };
    let late = [("stage", "stream"), ("phase", "late"), ("site", "local")];
    threshold(&mut case, &late, Agg::Mean, Op::Less, 0.0);
    against(
        &mut case,
        2.5,
        Agg::Min,
        &[("stage", true, "stream"), ("phase", true, "early")],
    );
    // Two stages in four seconds.
    threshold(&mut case, &late, Agg::PerSecond, Op::Equal, 0.5);
    // All that is asked for counts, the warm-up too.
    let early = [("stage", "stream"), ("phase", "early")];
    threshold(&mut case, &early, Agg::Max, Op::GreaterOrEqual, 9.0);
    threshold(&mut case, &early, Agg::Sum, Op::Less, 9.3);
    case.check("passed 0");
    // Beside a phase that is not wanted, the warm-up is left out as usual.
    threshold(&mut case, &[("stage", "stream")], Agg::Max, Op::Less, 9.0);
    let on = Matcher {
        label: "phase".into(),
        equal: false,
        value: "late".into(),
    };
    let stage = Matcher {
        label: "stage".into(),
        equal: true,
        value: "stream".into(),
    };
    let last = case.rules.criteria.last_mut().unwrap();
    last.left.selector = Selector::new([on, stage], &case.phases);
    case.check("passed 0");
}

#[test]
fn a_threshold_may_begin_late() {
    let late = |from: u64| {
        let mut case = Case::healthy();
        case.phases = phases();
        case.totals = crate::aggregate::Totals::default();
        case.slid(3, 9_000).slid(4, 100).slid(5, 300);
        case.threshold_on(MetricId::StageDuration, &[], Agg::Max, Op::Less, 1.0);
        let from = case.phases.after(Duration::from_secs(from));
        let last = case.rules.criteria.last_mut().unwrap();
        last.left.selector = Selector::all().from_time(from);
        case
    };
    late(0).check("failed 100 threshold_broken");
    late(4).check("passed 0");
    let observed = late(4).judge().thresholds[1].observed.unwrap();
    assert!((observed - 0.3).abs() < 1e-3, "{observed}");
}

/// A run of 10 s with a mean that slides over 3 s.
fn sliding(op: Op, limit: f64) -> Case {
    let mut case = Case::healthy();
    case.totals = crate::aggregate::Totals::default();
    let on = [("stage", "stream")];
    case.threshold_on(MetricId::StageDuration, &on, Agg::Mean, op, limit);
    case.over(3);
    case
}

#[test]
fn the_worst_full_span_is_told() {
    let mut case = sliding(Op::Less, 0.5);
    (0..10).for_each(|second| {
        case.slid(second, if second == 6 { 1_000 } else { 100 });
    });
    case.check("passed 0");
    let observed = |case: &Case| case.judge().thresholds[1].observed.unwrap();
    assert!((observed(&case) - 0.4).abs() < 1e-3, "{}", observed(&case));
    // Two slow seconds in one span break it, though the whole run would not.
    case.slid(7, 2_000);
    case.check("failed 100 threshold_broken");
    let message = case.judge().reasons[0].message.clone();
    assert!(message.contains("in the 3 s until second 8"), "{message}");
    // No span is full.
    let mut case = sliding(Op::Less, 0.5);
    case.over(11).slid(3, 100);
    case.check("inconclusive 10 no_data");
    // The warm-up is in no full span.
    let mut case = sliding(Op::Less, 0.5);
    case.phases = phases();
    (0..10).for_each(|second| {
        case.slid(second, if second == 1 { 9_000 } else { 100 });
    });
    case.check("passed 0");
}

#[test]
fn sides_that_never_meet_in_one_span_are_no_data() {
    let mut case = sliding(Op::Less, 0.5);
    let on = |site: &'static str| [("stage", true, "stream"), ("site", true, site)];
    let matchers = on("haifa").map(|(label, equal, value)| Matcher {
        label: label.into(),
        equal,
        value: value.into(),
    });
    let last = case.rules.criteria.last_mut().unwrap();
    last.left.selector = Selector::new(matchers, &Phases::default());
    against(&mut case, 1.0, Agg::Mean, &on("tokyo"));
    case.over(3)
        .slid_at("haifa", 1, 100)
        .slid_at("tokyo", 8, 200);
    case.check("inconclusive 10 no_data");
    // One site against another, where both were measured.
    case.slid_at("tokyo", 2, 200).check("passed 0");
    let threshold = &case.judge().thresholds[1];
    assert!((threshold.limit.unwrap() - 0.2).abs() < 1e-3);
}

#[test]
fn a_broken_span_is_doubtful_only_if_each_of_them_is() {
    let lost = Counted {
        started: 10,
        passed: 8,
        lost: 2,
        ..Counted::default()
    };
    // One slow stage in a span of three: two fast ones could have mended its mean.
    let mut case = sliding(Op::Less, 0.5);
    case.sessions(lost).ending.lost.push((1, "silent".into()));
    (0..10).for_each(|second| {
        case.slid(second, if second == 6 { 1_500 } else { 100 });
    });
    case.check("inconclusive 10 agent_lost");
    assert_eq!(
        case.judge().thresholds[1].tainted_by,
        [ReasonCode::AgentLost]
    );
    // Nothing could mend one in which all are slow.
    for second in [0, 1, 2, 2, 2] {
        case.slid(second, 9_000);
    }
    case.check("failed 100 threshold_broken agent_lost");
    // Pace makes all of them doubtful.
    let mut case = sliding(Op::Less, 0.05);
    (0..10).for_each(|second| {
        case.slid(second, 100);
    });
    case.loop_lag(50)
        .check("inconclusive 10 generator_saturated");
}

#[test]
fn a_run_is_ended_by_what_is_broken_beyond_doubt_and_has_failed() {
    let mut case = sliding(Op::Less, 0.5);
    (0..10).for_each(|second| {
        case.slid(second, if second > 5 { 1_000 } else { 100 });
    });
    assert_eq!(
        broken(&case.input()),
        None,
        "it does not say that it aborts"
    );
    case.rules.criteria[1].aborts = true;
    let aborted = broken(&case.input()).unwrap();
    assert_eq!(aborted.criterion, 1);
    // Not before its time.
    case.rules.criteria[1].after = Duration::from_secs(10);
    assert_eq!(broken(&case.input()), None);
    case.rules.criteria[1].after = Duration::ZERO;
    // Not while the generator is too slow.
    case.loop_lag(50);
    assert_eq!(broken(&case.input()), None);
    // Whatever happened since, it was broken then, and nobody stopped the run.
    let mut case = sliding(Op::Less, 5.0);
    (0..10).for_each(|second| {
        case.slid(second, 100);
    });
    case.loop_lag(50).aborted = Some(aborted);
    case.check("failed 100 threshold_broken");
    let mut case = Case::healthy();
    case.sessions(Counted {
        started: 10,
        interrupted: 10,
        ..Counted::default()
    });
    case.rules.criteria[0].op = Op::Greater;
    case.rules.criteria[0].aborts = true;
    case.aborted = broken(&case.input());
    case.check("failed 100 threshold_broken");
}

proptest! {
    /// A sliding maximum is the greatest value of any span, however the seconds were filled.
    #[test]
    fn sliding_thresholds_equal_a_model_of_spans(
        happened in proptest::collection::vec((0..10_u32, 1..5_000_u64), 1..40),
        over in 1..10_u32,
        limit in 1..400_u32,
    ) {
        let mut case = sliding(Op::Less, f64::from(limit) / 100.0);
        case.over(over);
        happened.iter().for_each(|(second, ms)| { case.slid(*second, *ms); });
        let mean = |start: u32| {
            let inside = happened.iter().filter(|(second, _)| (start..start + over).contains(second));
            let inside: Vec<u64> = inside.map(|(_, ms)| *ms).collect();
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let mean = inside.iter().sum::<u64>() as f64 / inside.len() as f64 / 1_000.0;
            (!inside.is_empty()).then_some(mean)
        };
        let worst = (0..=10 - over).filter_map(mean).reduce(f64::max);
        let threshold = &case.judge().thresholds[1];
        match (worst, threshold.observed) {
            (Some(worst), Some(observed)) => prop_assert!((worst - observed).abs() < 1e-9, "{worst} {observed}"),
            (None, None) => prop_assert_eq!(threshold.outcome, ThresholdOutcome::NoData),
            other => prop_assert!(false, "{other:?}"),
        }
        if let Some(worst) = worst {
            let passed = threshold.outcome == ThresholdOutcome::Passed;
            prop_assert_eq!(passed, worst < f64::from(limit) / 100.0);
        }
    }
}
