//! `judge(input) -> Verdict`: the one place that decides over a run.
//!
//! In this order: data proven corrupt, or a broken threshold that nothing taints, is `failed`; any reason against the
//! measurement is `inconclusive`; what is left is `passed`. All reasons are given, those that decided first.
use super::input::{Criterion, Explained, Input};
use super::reason::{ReasonClass, ReasonCode, VerdictKind};
use super::threshold::{self, Observed};
use super::{integrity, ledger, validity};
use crate::aggregate::{Matcher, Selector, Span};
use crate::report::model::{Reason, Threshold, ThresholdOutcome, Unit};
use crate::run::{Failure, PlanAtFault};
use testmesh_shared::ErrorKind;
use testmesh_shared::exit_code::ExitCode;
use testmesh_shared::metric::MetricId;

/// The answer of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The one word.
    pub kind: VerdictKind,
    /// The exit code of `testmesh run`.
    pub exit_code: ExitCode,
    /// Why it is not `passed`, the deciding reasons first.
    pub reasons: Vec<Reason>,
    /// What became of each threshold.
    pub thresholds: Vec<Threshold>,
}

/// Judges a run that is over.
pub fn judge(input: &Input<'_>) -> Verdict {
    let mut reasons = integrity::corrupt(input);
    let against_measurement = validity::reasons(input);
    let saturated = validity::saturated(input);
    let mut thresholds = Vec::new();
    let (mut pace_matters, mut without_data) = (false, Vec::new());
    for criterion in &input.rules.criteria {
        let observed = threshold::observe(criterion, input);
        let tainted_by = taints(
            criterion,
            observed,
            input,
            &against_measurement,
            saturated.as_ref(),
        );
        pace_matters |= threshold::depends_on_pace(criterion);
        match observed.outcome {
            ThresholdOutcome::Failed if tainted_by.is_empty() => {
                let reason = why_broken(criterion, observed, input, &reasons);
                reasons.extend(reason);
            }
            ThresholdOutcome::NoData => without_data.push(Reason {
                code: ReasonCode::NoData,
                message: format!("nothing was measured for {}", criterion.text),
            }),
            ThresholdOutcome::Failed | ThresholdOutcome::Passed | ThresholdOutcome::NotReached => {}
        }
        thresholds.push(Threshold {
            expr: criterion.text.clone(),
            observed: observed.value,
            limit: Some(criterion.limit),
            unit: observed.unit,
            outcome: observed.outcome,
            tainted_by,
        });
    }
    reasons.extend(against_measurement);
    reasons.extend(saturated.filter(|_| pace_matters));
    reasons.extend(without_data);
    let doubtful = why_doubtful(&thresholds, &reasons);
    reasons.extend(doubtful);
    let kind = kind(&reasons);
    Verdict {
        kind,
        exit_code: exit_code(kind, input),
        reasons,
        thresholds,
    }
}

fn kind(reasons: &[Reason]) -> VerdictKind {
    let has = |class: ReasonClass| reasons.iter().any(|reason| reason.code.class() == class);
    if has(ReasonClass::Integrity) || has(ReasonClass::Threshold) {
        VerdictKind::Failed
    } else if has(ReasonClass::Validity) {
        VerdictKind::Inconclusive
    } else {
        VerdictKind::Passed
    }
}

fn exit_code(kind: VerdictKind, input: &Input<'_>) -> ExitCode {
    match (kind, &input.ending.failure) {
        (VerdictKind::Failed, _) => ExitCode::Failed,
        (VerdictKind::Passed, _) => ExitCode::Passed,
        (_, Some(Failure::NotEnoughAgents(_))) => ExitCode::NotEnoughAgents,
        (_, Some(Failure::PlanRefused(_, PlanAtFault::Yes))) => ExitCode::PlanInvalid,
        _ if input.ending.stopped.is_some() => ExitCode::Stopped,
        _ => ExitCode::Inconclusive,
    }
}

/// What makes the value of a threshold doubtful.
fn taints(
    criterion: &Criterion,
    observed: Observed,
    input: &Input<'_>,
    against: &[Reason],
    saturated: Option<&Reason>,
) -> Vec<ReasonCode> {
    let mut taints = Vec::new();
    if threshold::depends_on_pace(criterion) {
        taints.extend(saturated.map(|reason| reason.code));
        taints.extend(
            against
                .iter()
                .map(|reason| reason.code)
                .find(|code| *code == ReasonCode::SessionsDropped),
        );
    }
    let lost = ledger::sum(input.ledger).lost > 0 || !input.ending.lost.is_empty();
    let could_hold = observed
        .reach
        .is_some_and(|reach| reach.could_hold(criterion.op, criterion.limit));
    if lost && observed.outcome == ThresholdOutcome::Failed && could_hold {
        taints.push(ReasonCode::AgentLost);
    }
    taints
}

/// A broken threshold that is doubtful for a cause which the plan tolerates, and which no reason tells, is neither broken
/// nor kept: that is a reason against the measurement.
fn why_doubtful(thresholds: &[Threshold], so_far: &[Reason]) -> Vec<Reason> {
    let mut doubtful: Vec<Reason> = Vec::new();
    let broken = thresholds
        .iter()
        .filter(|one| one.outcome == ThresholdOutcome::Failed);
    for threshold in broken {
        let told = |code: &ReasonCode| {
            let mut all = so_far.iter().chain(&doubtful);
            all.any(|reason| reason.code == *code)
        };
        let taints = &threshold.tainted_by;
        if let Some(code) = taints.first().filter(|_| !taints.iter().any(told)) {
            doubtful.push(Reason {
                code: *code,
                message: format!(
                    "{} does not hold, and what lost agents did not measure could have made it hold",
                    threshold.expr
                ),
            });
        }
    }
    doubtful
}

/// Why a threshold is broken. Failed sessions that the data explains are told by what is wrong with the data, and once.
fn why_broken(
    criterion: &Criterion,
    observed: Observed,
    input: &Input<'_>,
    so_far: &[Reason],
) -> Option<Reason> {
    let value = show(observed.value.unwrap_or_default(), observed.unit);
    let message = format!("{} does not hold: it was {value}", criterion.text);
    let failed = ledger::sum(input.ledger).failed;
    let Explained {
        ended_early,
        malformed_rows,
    } = input.explained;
    let told_by_data = ended_early.saturating_add(malformed_rows);
    // One session may have several of these failures, so their number alone says little: none may have another cause.
    let explained = criterion.metric == MetricId::SessionsFailed
        && told_by_data >= failed.max(stages_failed(input));
    let mismatched = so_far
        .iter()
        .any(|reason| reason.code == ReasonCode::RowsMismatched);
    match (explained, ended_early) {
        // Malformed rows count as mismatched, which is a reason already.
        (true, 0) if mismatched => None,
        (false, _) | (true, 0) => Some(Reason {
            code: ReasonCode::ThresholdBroken,
            message,
        }),
        (true, _) => {
            let message = format!("{message}, because streams ended before their `stop` was met");
            Some(Reason {
                code: ReasonCode::EndedEarly,
                message,
            })
        }
    }
}

/// Stages that failed for a cause of their own: those that were cut because of another are none.
fn stages_failed(input: &Input<'_>) -> u64 {
    let with_a_cause = Selector::new([Matcher {
        label: "error".to_owned(),
        equal: false,
        value: ErrorKind::Cancelled.as_str().to_owned(),
    }]);
    input
        .totals
        .counter(MetricId::StageErrors, &with_a_cause, Span::All)
}

/// A value with its unit, as people write it.
pub fn show(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Seconds if value.abs() < 0.001 => format!("{:.0} µs", value * 1e6),
        Unit::Seconds if value.abs() < 1.0 => format!("{:.1} ms", value * 1e3),
        Unit::Seconds => format!("{value:.2} s"),
        Unit::Ratio => format!("{:.2} %", value * 100.0),
        Unit::Bytes => format!("{value:.0} bytes"),
        Unit::Count if value.fract() == 0.0 => format!("{value:.0}"),
        Unit::Count => format!("{value:.2}"),
        Unit::PerSecond => format!("{value:.2}/s"),
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
