//! One threshold against what was measured.
use super::input::{Criterion, Input, Operand, Reading, StageFact};
use super::reach::Reach;
use super::sample::{Sample, scenarios};
use super::stall::Stalls;
use super::window;
use crate::aggregate::Selector;
use crate::report::model::{ThresholdOutcome, Unit};
use testmesh_shared::metric::{self, Kind, MetricId};
use testmesh_shared::plan::model::Agg;

/// What came out of one threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    /// The left side; none without data. Of a sliding threshold, in the worst span.
    pub value: Option<f64>,
    /// The right side; none without data.
    pub limit: Option<f64>,
    /// How they compare.
    pub outcome: ThresholdOutcome,
    /// It does not hold, but would if lost sessions had told what they never told.
    pub could_hold: bool,
    /// It does not hold, but would if the agents had not stood still.
    pub held_up: bool,
    /// What both sides measure.
    pub unit: Unit,
    /// Where the worst span ends, in seconds of the run.
    pub until: Option<u32>,
}

/// Whether a value changes when the generator is too slow: times and rates per second do, counts do not.
pub fn depends_on_pace(criterion: &Criterion) -> bool {
    criterion.readings().any(|reading| {
        let metric = reading.metric.metric();
        reading.agg == Agg::PerSecond || (metric.kind == Kind::Trend && reading.agg != Agg::Count)
    })
}

/// Whether a value changes when the seconds of different agents are not the same: where only some seconds count, and where
/// they are added up one by one.
pub fn depends_on_seconds(criterion: &Criterion) -> bool {
    let one_by_one = |reading: &Reading| {
        let metric = reading.metric.metric();
        metric.kind == Kind::Gauge && !metric.is_of_agent()
    };
    let mut readings = criterion.readings();
    criterion.over.is_some()
        || readings.any(|reading| reading.selector.parts_time() || one_by_one(reading))
}

/// Whether anything is missing that a lost agent took along.
pub(super) fn any_lost(input: &Input<'_>) -> bool {
    super::ledger::sum(input.ledger).lost > 0 || !input.ending.lost.is_empty()
}

/// One side of a threshold: what it is, and all that it could have been.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub(super) value: f64,
    /// With what lost sessions could have measured.
    reach: Reach,
    /// Without what standing still could have added.
    unhindered: Reach,
}

impl Side {
    /// None without data. `over`: the seconds in which the sample was taken; none: in all of the run.
    pub(super) fn of(
        reading: &Reading,
        sample: &Sample,
        over: Option<f64>,
        with: &Judging<'_>,
    ) -> Option<Self> {
        let input = with.input;
        let raw = sample.value(reading)?;
        let reach = if any_lost(input) {
            super::reach::of(reading, sample, input, raw)
        } else {
            Reach::only(raw)
        };
        Some(Self {
            value: raw * reading.factor,
            reach: reach.times(reading.factor),
            unhindered: with
                .stalls
                .reach(reading, sample, over, raw)
                .times(reading.factor),
        })
    }

    pub(super) fn value(value: f64) -> Self {
        Self {
            value,
            reach: Reach::only(value),
            unhindered: Reach::only(value),
        }
    }
}

/// What thresholds are judged with.
#[derive(Clone, Copy, Debug)]
pub struct Judging<'a> {
    /// Everything measured.
    pub input: &'a Input<'a>,
    /// How the agents stood still.
    pub stalls: &'a Stalls,
}

/// Compares a threshold, the one with that number, with what was measured. Of a sliding one, spans are judged whose last
/// second is `from` or later.
pub fn observe(number: usize, criterion: &Criterion, from: u32, with: &Judging<'_>) -> Observed {
    let unit = unit(&criterion.left);
    let judged = match criterion.over {
        Some(over) => window::worst(number, criterion, over, from, with),
        None => whole(criterion, with),
    };
    judged.map_or_else(
        |(value, limit)| Observed {
            value,
            limit,
            outcome: without_data(criterion, value, limit, with.input),
            could_hold: false,
            held_up: false,
            unit,
            until: None,
        },
        |judged| Observed { unit, ..judged },
    )
}

/// The values of the sides that have one, if one has none.
pub(super) type Missing = (Option<f64>, Option<f64>);

fn whole(criterion: &Criterion, with: &Judging<'_>) -> Result<Observed, Missing> {
    let input = with.input;
    let side = |reading: &Reading| {
        let (names, span) = (scenarios(reading, input), reading.span());
        let seconds = input.phases.seconds(&names, span, input.duration);
        let over = Some(seconds.as_secs_f64()).filter(|seconds| *seconds > 0.0);
        Side::of(reading, &Sample::of_run(reading, input), over, with)
    };
    let left = side(&criterion.left);
    let right = match &criterion.right {
        Operand::Value(value) => Some(Side::value(*value)),
        Operand::Reading(reading) => side(reading),
    };
    match (left, right) {
        (Some(left), Some(right)) => Ok(compared(criterion, left, right)),
        (left, right) => Err((left.map(|one| one.value), right.map(|one| one.value))),
    }
}

pub(super) fn compared(criterion: &Criterion, left: Side, right: Side) -> Observed {
    let op = criterion.op;
    let holds = op.holds(left.value, right.value);
    Observed {
        value: Some(left.value),
        limit: Some(right.value),
        outcome: if holds {
            ThresholdOutcome::Passed
        } else {
            ThresholdOutcome::Failed
        },
        could_hold: !holds && left.reach.could_hold(op, right.reach),
        held_up: !holds && left.unhindered.could_hold(op, right.unhindered),
        unit: Unit::Count,
        until: None,
    }
}

/// A side without data decides: if some session came far enough to measure it, that is a lack.
fn without_data(
    criterion: &Criterion,
    value: Option<f64>,
    limit: Option<f64>,
    input: &Input<'_>,
) -> ThresholdOutcome {
    let left = (value.is_none()).then_some(&criterion.left);
    let right = match &criterion.right {
        Operand::Reading(reading) if limit.is_none() => Some(reading),
        Operand::Reading(_) | Operand::Value(_) => None,
    };
    let mut missing = left.into_iter().chain(right);
    // Both were measured, but never in one span.
    let apart = value.is_some() && limit.is_some();
    if apart || missing.any(|reading| could_be_reached(reading, input)) {
        ThresholdOutcome::NoData
    } else {
        ThresholdOutcome::NotReached
    }
}

fn unit(reading: &Reading) -> Unit {
    let metric = reading.metric.metric();
    match (reading.agg, metric.kind, metric.unit) {
        (Agg::PerSecond, ..) => Unit::PerSecond,
        (Agg::Rate, ..) | (_, _, metric::Unit::Share) => Unit::Ratio,
        (_, _, metric::Unit::Bytes) => Unit::Bytes,
        (Agg::Count, Kind::Trend, _) | (_, _, metric::Unit::Count) => Unit::Count,
        (_, _, metric::Unit::Seconds) => Unit::Seconds,
    }
}

/// Whether some session came far enough for the threshold to have had data.
fn could_be_reached(reading: &Reading, input: &Input<'_>) -> bool {
    let passed = |scenario: &str| {
        let mut entries = input
            .ledger
            .iter()
            .filter(|entry| entry.scenario == scenario);
        entries.any(|entry| entry.sessions.passed > 0)
    };
    let Some(stage) = reading.selector.value("stage") else {
        let mut entries = input
            .ledger
            .iter()
            .filter(|entry| reading.selector.takes_scenario(&entry.scenario));
        return entries.any(|entry| entry.sessions.passed > 0);
    };
    let facts = input.rules.stages.iter().filter(|fact| fact.stage == stage);
    facts
        .filter(|fact| reading.selector.takes_scenario(&fact.scenario))
        .any(|fact| passed(&fact.scenario) || its_turn_came(fact, input))
}

fn its_turn_came(fact: &StageFact, input: &Input<'_>) -> bool {
    let scenario = Selector::all().with("scenario", &fact.scenario);
    match &fact.after {
        Some(before) => {
            let passed = scenario.with("stage", before).with("outcome", "passed");
            input.totals.has(MetricId::StageDuration, &passed)
        }
        None => input
            .ledger
            .iter()
            .any(|entry| entry.scenario == fact.scenario && entry.sessions.started > 0),
    }
}
