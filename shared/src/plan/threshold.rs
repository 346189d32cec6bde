//! Thresholds: `p95(stage_duration{stage="login"}) < 500ms`, and their long form.

use std::time::Duration;

use super::item::Item;
use super::model::{Agg, MAX_AFTERS, MAX_OVER, MAX_SLIDING, Op, Operand, Reading, Threshold};
use super::operand::{self, Side, Wrong, wrong};
use super::problem::{Position, ProblemCode};
use crate::metric::table::{Kind, Metric, MetricId, RateBase};

const OPS: [(&str, Op); 6] = [
    ("<=", Op::LessOrEqual),
    (">=", Op::GreaterOrEqual),
    ("==", Op::Equal),
    ("!=", Op::NotEqual),
    ("<", Op::Less),
    (">", Op::Greater),
];

/// Names that a threshold's matchers may have as values; empty where they are not known.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) scenarios: Vec<String>,
    pub(super) stages: Vec<String>,
    pub(super) sites: Vec<String>,
    pub(super) phases: Vec<String>,
    pub(super) faults: Vec<String>,
}

/// Reads `thresholds`, and adds the one that every plan gets.
pub(super) fn read(list: Option<Item<'_>>, known: &Known) -> Vec<Threshold> {
    let items = list.map(Item::items).unwrap_or_default();
    let mut thresholds: Vec<Threshold> = items
        .into_iter()
        .filter_map(|item| one(item, known))
        .collect();
    if let Some(list) = list {
        check_numbers(list, &thresholds);
    }
    add_own(&mut thresholds);
    thresholds
}

/// Adds the threshold that every plan gets unless it has one on failed sessions.
pub(super) fn add_own(thresholds: &mut Vec<Threshold>) {
    let of_failed = |reading: &Reading| reading.metric == "sessions_failed";
    let mut known = thresholds.iter();
    if !known.any(|threshold| threshold.readings().any(of_failed)) {
        thresholds.push(no_session_failed());
    }
}

fn no_session_failed() -> Threshold {
    Threshold {
        text: "count(sessions_failed) == 0".to_owned(),
        left: Reading {
            factor: 1.0,
            agg: Agg::Count,
            metric: "sessions_failed".to_owned(),
            matchers: Vec::new(),
        },
        op: Op::Equal,
        right: Operand::Value {
            value: 0.0,
            text: "0".to_owned(),
        },
        aborts: false,
        after: Duration::ZERO,
        over: None,
        position: None,
    }
}

/// What is kept for late and sliding thresholds is bounded by their number.
fn check_numbers(list: Item<'_>, thresholds: &[Threshold]) {
    let sliding = thresholds.iter().filter(|one| one.over.is_some()).count();
    if sliding > MAX_SLIDING {
        list.problem(
            ProblemCode::Threshold,
            format!("{sliding} thresholds have `over`, and at most {MAX_SLIDING} may"),
            "judge some of them over the whole run",
        );
    }
    let mut afters: Vec<_> = thresholds.iter().map(|one| one.after).collect();
    afters.retain(|after| !after.is_zero());
    afters.sort_unstable();
    afters.dedup();
    if afters.len() > MAX_AFTERS {
        list.problem(
            ProblemCode::Threshold,
            format!(
                "thresholds start at {} different times, and at most {MAX_AFTERS} may be",
                afters.len()
            ),
            "let some of them start together",
        );
    }
}

fn one(item: Item<'_>, known: &Known) -> Option<Threshold> {
    let (expr, long) = if item.is_map() {
        (item.key("expr")?, Some(item))
    } else {
        (item, None)
    };
    let text = expr.text()?;
    let mut threshold = match parse(text.trim(), expr.position(), known) {
        Ok(threshold) => threshold,
        Err((code, message, hint)) => {
            expr.problem(code, message, hint);
            return None;
        }
    };
    if let Some(long) = long {
        read_long(long, &mut threshold);
    }
    Some(threshold)
}

fn read_long(item: Item<'_>, threshold: &mut Threshold) {
    if let Some(after) = item.key("after")
        && let Some(time) = after.duration()
    {
        threshold.after = time;
        check_part(after, threshold);
    }
    if let Some(over) = item.key("over")
        && let Some(span) = over.duration()
    {
        let seconds = span.subsec_nanos() == 0 && !span.is_zero();
        if !seconds || span > MAX_OVER {
            over.problem(
                ProblemCode::BadValue,
                "a sliding span has 1 second to 10 minutes, in whole seconds",
                "write it like `over: 10s`; measurements are kept by the second",
            );
        }
        threshold.over = Some(span);
        check_part(over, threshold);
    }
    if let Some(abort) = item.key("abort") {
        threshold.aborts = abort.bool() == Some(true);
        check_abort(abort, threshold);
    }
}

/// Numbers of the ledger that are known for whole scenarios only cannot be asked for a part of the run.
fn check_part(item: Item<'_>, threshold: &Threshold) {
    let whole = |reading: &Reading| {
        let metric = crate::metric::by_name(&reading.metric);
        metric.is_some_and(|metric| {
            let of_planned =
                reading.agg == Agg::Rate && metric.rate_base == Some(RateBase::Planned);
            let of_ledger = matches!(
                metric.id,
                MetricId::SessionsPlanned | MetricId::SessionsUnstarted | MetricId::SessionsLost
            );
            of_planned || of_ledger
        })
    };
    if let Some(reading) = threshold.readings().find(|reading| whole(reading)) {
        item.problem(
            ProblemCode::Threshold,
            format!("{reading} is known for the whole run only"),
            "judge it over the whole run, or count `sessions_started` or `sessions_failed`",
        );
    }
}

/// What is judged while the run goes on must not look broken only because the run is young: what grows is below its final
/// value at first, and what is told when a session or stage ends lacks those under way.
fn check_abort(item: Item<'_>, threshold: &Threshold) {
    if !threshold.aborts {
        return;
    }
    let zero = matches!(threshold.right, Operand::Value { value, .. } if value == 0.0);
    let turned = threshold.left.factor < 0.0;
    let needs_more = match threshold.op {
        Op::Greater | Op::GreaterOrEqual => !turned,
        Op::Less | Op::LessOrEqual => turned,
        Op::Equal => !zero,
        Op::NotEqual => zero,
    };
    let needs_less = matches!(threshold.op, Op::Less | Op::LessOrEqual) != turned;
    let whole = threshold.over.is_none();
    let young = |reading: &Reading| {
        let Some(metric) = crate::metric::by_name(&reading.metric) else {
            return false;
        };
        match reading.agg {
            _ if metric.id == MetricId::SessionsUnstarted => true,
            Agg::Count | Agg::Sum | Agg::PerSecond | Agg::Rate if needs_more => {
                !told_at_once(metric) || (whole && matches!(reading.agg, Agg::Count | Agg::Sum))
            }
            Agg::Max => whole && needs_more,
            Agg::Min => whole && needs_less,
            _ => false,
        }
    };
    if let Some(reading) = threshold.readings().find(|reading| young(reading)) {
        item.problem(
            ProblemCode::Threshold,
            format!("{reading} only comes to its value later, so this would end a good run"),
            "leave `abort` out, or abort on what must not become too great",
        );
    }
}

/// Whether a metric is told in the second that it belongs to, and not when a session or stage has ended.
fn told_at_once(metric: &Metric) -> bool {
    metric.kind == Kind::Gauge
        || matches!(
            metric.id,
            MetricId::SessionsStarted
                | MetricId::SessionsDropped
                | MetricId::StreamMessages
                | MetricId::StreamRows
                | MetricId::StreamBytes
                | MetricId::StreamGap
                | MetricId::StreamLatency
        )
}

fn parse(text: &str, position: Position, known: &Known) -> Result<Threshold, Wrong> {
    let (at, (sign, op)) = find_op(text).ok_or_else(|| {
        let hint = "write it like `p95(stage_duration{stage=\"login\"}) < 500ms`";
        wrong(
            "a threshold compares a metric with a value or another metric",
            hint,
        )
    })?;
    let (left, right) = (text[..at].trim(), text[at + sign.len()..].trim());
    // A value on the left is the same threshold, turned round.
    let turned = !left.contains('(') && right.contains('(');
    let (first, op, second) = if turned {
        (right, op.mirrored(), left)
    } else {
        (left, op, right)
    };
    let first = operand::side(first, known)?;
    let (left, right) = if second.contains('(') {
        let second = operand::side(second, known)?;
        check_units(&first, &second)?;
        (first.reading, Operand::Reading(second.reading))
    } else {
        let value = operand::value(second, first.reading.agg, first.metric)?;
        let text = second.to_owned();
        (first.reading, Operand::Value { value, text })
    };
    Ok(Threshold {
        text: text.to_owned(),
        left,
        op,
        right,
        aborts: false,
        after: Duration::ZERO,
        over: None,
        position: Some(position),
    })
}

fn check_units(left: &Side, right: &Side) -> Result<(), Wrong> {
    let (one, other) = (left.measure(), right.measure());
    if one == other {
        return Ok(());
    }
    Err(wrong(
        format!(
            "{} is {one}, and {} is {other}",
            left.reading, right.reading
        ),
        "compare what has the same unit",
    ))
}

/// The comparison outside of quotes and braces.
fn find_op(text: &str) -> Option<(usize, (&'static str, Op))> {
    let mut quoted = false;
    let mut depth = 0_i32;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '{' if !quoted => depth += 1,
            '}' if !quoted => depth -= 1,
            _ if quoted || depth > 0 => {}
            _ => {
                if let Some(found) = OPS.iter().find(|(sign, _)| text[at..].starts_with(sign)) {
                    return Some((at, *found));
                }
            }
        }
    }
    None
}
