//! Sliding thresholds: every full span is judged by itself, and the worst one tells.
use super::input::{Criterion, Input, Operand, Reading};
use super::sample::{Sample, has_run, scenarios};
use super::threshold::{Judging, Missing, Observed, Side, compared};
use crate::aggregate::WindowSample;
use crate::report::model::ThresholdOutcome;
use testmesh_shared::plan::model::Op;

/// The worst of the spans of so many seconds whose last one is `from` or later. A span is full if every second of it counts,
/// for both sides: it does not begin before the scenario is warm, and not end after the run.
pub(super) fn worst(
    number: usize,
    criterion: &Criterion,
    over: u32,
    from: u32,
    with: &Judging<'_>,
) -> Result<Observed, Missing> {
    let input = with.input;
    let lanes = input.sliding.lanes(number);
    let limit = match criterion.right {
        Operand::Value(value) => Some(value),
        Operand::Reading(_) => None,
    };
    let whole = u32::try_from(input.duration.as_secs()).unwrap_or(u32::MAX);
    let ends = from.max(over.saturating_sub(1))..whole;
    if lanes.is_empty() || ends.is_empty() || !input.sliding.is_complete() {
        return Err((None, limit));
    }
    let fullness = Fullness::new(criterion, over, ends.start, input);
    let mut left = spans(0, &criterion.left, over, &ends, lanes, with);
    let mut right = match &criterion.right {
        Operand::Value(_) => None,
        Operand::Reading(reading) => Some(spans(1, reading, over, &ends, lanes, with)),
    };
    let (mut worst, mut missing) = (None::<Observed>, (None, limit));
    // Broken spans that nothing which was lost could mend, and those that no stall explains.
    let (mut proven, mut unhindered) = (false, false);
    for (end, full) in ends.zip(fullness) {
        let one = left.next().flatten();
        let other = match (&mut right, &criterion.right) {
            (Some(right), _) => right.next().flatten(),
            (None, Operand::Value(value)) => Some(Side::value(*value)),
            (None, Operand::Reading(_)) => None,
        };
        if !full {
            continue;
        }
        let (Some(one), Some(other)) = (one, other) else {
            missing.0 = missing.0.or_else(|| Some(one?.value));
            missing.1 = missing.1.or_else(|| Some(other?.value));
            continue;
        };
        let observed = Observed {
            until: Some(end + 1),
            ..compared(criterion, one, other)
        };
        let broken = observed.outcome == ThresholdOutcome::Failed;
        proven |= broken && !observed.could_hold;
        unhindered |= broken && !observed.held_up;
        let is_worse = worst.is_none_or(|known| is_worse(criterion.op, observed, known));
        if is_worse {
            worst = Some(observed);
        }
    }
    worst.map_or(Err(missing), |worst| {
        Ok(Observed {
            could_hold: worst.could_hold && !proven,
            held_up: worst.held_up && !unhindered,
            ..worst
        })
    })
}

/// The sides of one reading, span by span.
fn spans<'a>(
    lane: usize,
    reading: &'a Reading,
    over: u32,
    ends: &std::ops::Range<u32>,
    lanes: &'a [crate::aggregate::Lane],
    with: &'a Judging<'_>,
) -> impl Iterator<Item = Option<Side>> + 'a {
    let has_run = has_run(reading, with.input);
    let seconds = Some(f64::from(over));
    let windows = lanes
        .get(lane)
        .map(|lane| lane.windows(over, ends.clone()))
        .into_iter()
        .flatten();
    windows.map(move |window: WindowSample| {
        Side::of(
            reading,
            &Sample::of_window(window, over, has_run),
            seconds,
            with,
        )
    })
}

/// How far a comparison is from holding.
fn excess(op: Op, observed: Observed) -> f64 {
    let (Some(value), Some(limit)) = (observed.value, observed.limit) else {
        return f64::NEG_INFINITY;
    };
    match op {
        Op::Less | Op::LessOrEqual => value - limit,
        Op::Greater | Op::GreaterOrEqual => limit - value,
        Op::Equal => (value - limit).abs(),
        Op::NotEqual => -(value - limit).abs(),
    }
}

fn is_worse(op: Op, one: Observed, other: Observed) -> bool {
    let broken = |observed: Observed| observed.outcome == ThresholdOutcome::Failed;
    (broken(one), excess(op, one)) > (broken(other), excess(op, other))
}

/// Whether spans are full, one after another.
struct Fullness<'a> {
    criterion: &'a Criterion,
    input: &'a Input<'a>,
    scenarios: Vec<Vec<&'a str>>,
    over: u32,
    next: u32,
    /// Seconds that count, without a gap, up to the next one.
    streak: u32,
}

impl<'a> Fullness<'a> {
    fn new(criterion: &'a Criterion, over: u32, first: u32, input: &'a Input<'_>) -> Self {
        let mut fullness = Self {
            criterion,
            input,
            scenarios: criterion
                .readings()
                .map(|reading| scenarios(reading, input))
                .collect(),
            over,
            next: (first + 1).saturating_sub(over),
            streak: 0,
        };
        while fullness.next < first {
            fullness.step();
        }
        fullness
    }

    fn step(&mut self) -> bool {
        let (phases, run) = (self.input.phases, self.input.duration);
        let mut readings = self.criterion.readings().zip(&self.scenarios);
        let counts =
            readings.all(|(reading, names)| phases.counts(names, reading.span(), self.next, run));
        self.streak = if counts { self.streak + 1 } else { 0 };
        self.next += 1;
        self.streak >= self.over
    }
}

impl Iterator for Fullness<'_> {
    type Item = bool;

    fn next(&mut self) -> Option<bool> {
        Some(self.step())
    }
}
