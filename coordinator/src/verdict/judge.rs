//! `judge(input) -> Verdict`: the one place that decides over a run.
//!
//! In this order: data proven corrupt, or a broken threshold that nothing taints, is `failed`; any reason against the
//! measurement is `inconclusive`; what is left is `passed`. All reasons are given, those that decided first.
use super::input::{Aborted, Criterion, Explained, FailedFault, Input, Operand};
use super::reason::{ReasonClass, ReasonCode, VerdictKind};
use super::stall::Stalls;
use super::threshold::{self, Judging, Observed};
use super::{integrity, ledger, validity};
use crate::aggregate::{Selector, Span};
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
    let doubts = Doubts::of(input);
    let with = doubts.judging(input);
    let mut thresholds = Vec::new();
    let mut without_data = Vec::new();
    for (number, criterion) in input.rules.criteria.iter().enumerate() {
        let ended_run = input.aborted.filter(|one| one.criterion == number);
        let observed = threshold::observe(number, criterion, 0, &with);
        let observed = ended_run.map_or(observed, |aborted| as_it_was(observed, aborted));
        // What ended the run was proven then.
        let tainted_by = match ended_run {
            Some(_) => Vec::new(),
            None => doubts.taints(criterion, observed),
        };
        match observed.outcome {
            ThresholdOutcome::Failed if tainted_by.is_empty() => {
                let reason = why_broken(criterion, observed, input, &reasons);
                reasons.extend(reason);
            }
            ThresholdOutcome::NoData => without_data.push(no_data(criterion, input)),
            ThresholdOutcome::Failed | ThresholdOutcome::Passed | ThresholdOutcome::NotReached => {}
        }
        thresholds.push(Threshold {
            expr: criterion.text.clone(),
            observed: observed.value,
            limit: observed.limit,
            unit: observed.unit,
            outcome: observed.outcome,
            tainted_by,
        });
    }
    let matters = |reason: &Reason| {
        let mut tainted = thresholds.iter();
        tainted.any(|threshold| threshold.tainted_by.contains(&reason.code))
    };
    reasons.extend(doubts.against_measurement);
    let stalls = || doubts.stalls.reason();
    reasons.extend(doubts.saturated.or_else(|| Some(stalls())).filter(matters));
    reasons.extend(doubts.clocks.filter(matters));
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

/// The first threshold that is to end the run when it is broken, and is so beyond doubt, in a run that goes on. Of sliding
/// ones only spans are judged that have changed since.
pub fn broken(input: &Input<'_>) -> Option<Aborted> {
    let criteria = input.rules.criteria.iter().enumerate();
    let mut due = criteria
        .filter(|(_, criterion)| criterion.aborts && criterion.after < input.duration)
        .peekable();
    due.peek()?;
    let doubts = Doubts::of(input);
    let with = doubts.judging(input);
    due.find_map(|(number, criterion)| {
        let from = input.sliding.changed(number);
        let observed = threshold::observe(number, criterion, from, &with);
        let proven = observed.outcome == ThresholdOutcome::Failed
            && doubts.taints(criterion, observed).is_empty();
        proven.then(|| Aborted {
            criterion: number,
            text: criterion.text.clone(),
            observed: observed.value.unwrap_or_default(),
            limit: observed.limit.unwrap_or_default(),
            at: input.duration,
        })
    })
}

/// A threshold that ended the run was broken then, whatever sessions in flight have made of it since.
fn as_it_was(observed: Observed, aborted: &Aborted) -> Observed {
    if observed.outcome == ThresholdOutcome::Failed {
        return observed;
    }
    Observed {
        value: Some(aborted.observed),
        limit: Some(aborted.limit),
        outcome: ThresholdOutcome::Failed,
        until: None,
        ..observed
    }
}

fn no_data(criterion: &Criterion, input: &Input<'_>) -> Reason {
    let message = match criterion.over {
        Some(_) if !input.sliding.is_complete() => format!(
            "the spans of {} did not fit into memory: shorten the run, or judge fewer of them",
            criterion.text
        ),
        Some(over) => format!(
            "nothing was measured for {} in a full span of {over} s",
            criterion.text
        ),
        None => format!("nothing was measured for {}", criterion.text),
    };
    Reason {
        code: ReasonCode::NoData,
        message,
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

/// What may make values doubtful.
struct Doubts {
    /// Reasons that hold whatever the thresholds say.
    against_measurement: Vec<Reason>,
    /// The agents were too slow.
    saturated: Option<Reason>,
    /// They stood still now and then.
    stalls: Stalls,
    /// The agents do not agree on the time.
    clocks: Option<Reason>,
    any_lost: bool,
    /// Faults that were not as the plan wants them.
    faults: Vec<FailedFault>,
}

impl Doubts {
    fn of(input: &Input<'_>) -> Self {
        Self {
            against_measurement: validity::reasons(input),
            saturated: validity::saturated(input),
            stalls: Stalls::of(input),
            clocks: validity::clocks(input),
            any_lost: threshold::any_lost(input),
            faults: input.faults_failed.to_vec(),
        }
    }

    fn judging<'a>(&'a self, input: &'a Input<'a>) -> Judging<'a> {
        Judging {
            input,
            stalls: &self.stalls,
        }
    }

    /// What makes the value of a threshold doubtful; nothing if it has none.
    fn taints(&self, criterion: &Criterion, observed: Observed) -> Vec<ReasonCode> {
        let mut taints = Vec::new();
        let against = self.against_measurement.iter().map(|reason| reason.code);
        if observed.value.is_none() || observed.limit.is_none() {
            return taints;
        }
        if threshold::depends_on_pace(criterion) {
            let saturated = self.saturated.is_some() || observed.held_up;
            taints.extend(saturated.then_some(ReasonCode::GeneratorSaturated));
            taints.extend(
                against
                    .into_iter()
                    .find(|code| *code == ReasonCode::SessionsDropped),
            );
        }
        if threshold::depends_on_seconds(criterion) {
            taints.extend(self.clocks.as_ref().map(|reason| reason.code));
        }
        if self.faults.iter().any(|fault| fault.is_asked_by(criterion)) {
            taints.push(ReasonCode::FaultFailed);
        }
        if self.any_lost && observed.could_hold {
            taints.push(ReasonCode::AgentLost);
        }
        taints
    }
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
    let message = how_broken(criterion, observed, input);
    let failed = ledger::sum(input.ledger).failed;
    let Explained {
        ended_early,
        malformed_rows,
    } = input.explained;
    let told_by_data = ended_early.saturating_add(malformed_rows);
    // One session may have several of these failures, so their number alone says little: none may have another cause.
    let explained = criterion.left.metric == MetricId::SessionsFailed
        && matches!(criterion.right, Operand::Value(_))
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

/// `EXPR does not hold: it was …`
fn how_broken(criterion: &Criterion, observed: Observed, input: &Input<'_>) -> String {
    let shown = |value: Option<f64>| show(value.unwrap_or_default(), observed.unit);
    let (text, value) = (&criterion.text, shown(observed.value));
    let against = match criterion.right {
        Operand::Reading(_) => format!(" against {}", shown(observed.limit)),
        Operand::Value(_) => String::new(),
    };
    let span = match (criterion.over, observed.until) {
        (Some(over), Some(until)) => format!(" in the {over} s until second {until} of the run"),
        _ => String::new(),
    };
    let same = |aborted: &&Aborted| aborted.text == criterion.text;
    let ended = input.aborted.filter(same).map_or_else(String::new, |one| {
        format!(", which ended the run after {:.0} s", one.at.as_secs_f64())
    });
    format!("{text} does not hold: it was {value}{against}{span}{ended}")
}

/// Stages that failed for a cause of their own: those that were cut because of another are none.
fn stages_failed(input: &Input<'_>) -> u64 {
    let with_a_cause = Selector::all().but("error", ErrorKind::Cancelled.as_str());
    input
        .totals
        .counter(MetricId::StageErrors, &with_a_cause, Span::ALL)
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
