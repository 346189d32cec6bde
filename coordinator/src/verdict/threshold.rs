//! One threshold against what was measured.
use super::input::{Criterion, Input, StageFact};
use super::reach::{self, Reach};
use crate::aggregate::{Selector, Span, to_f64};
use crate::report::model::{Sessions, ThresholdOutcome, Unit};
use testmesh_shared::metric::{self, Histogram, Kind, MetricId, RateBase};
use testmesh_shared::plan::model::Agg;

/// What came out of one threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    /// The aggregate times its factor; none without data.
    pub value: Option<f64>,
    /// What it could have been, had lost sessions told what they never told.
    pub reach: Option<Reach>,
    /// How it compares.
    pub outcome: ThresholdOutcome,
    /// What the value measures.
    pub unit: Unit,
}

/// Whether a value changes when the generator is too slow: times and rates per second do, counts do not.
pub fn depends_on_pace(criterion: &Criterion) -> bool {
    let metric = criterion.metric.metric();
    criterion.agg == Agg::PerSecond || (metric.kind == Kind::Trend && criterion.agg != Agg::Count)
}

/// Compares a threshold with what was measured.
pub fn observe(criterion: &Criterion, input: &Input<'_>) -> Observed {
    let raw = aggregate(criterion, input);
    let value = raw.map(|value| value * criterion.factor);
    let outcome = match value {
        Some(value) if criterion.op.holds(value, criterion.limit) => ThresholdOutcome::Passed,
        Some(_) => ThresholdOutcome::Failed,
        None if could_be_reached(criterion, input) => ThresholdOutcome::NoData,
        None => ThresholdOutcome::NotReached,
    };
    let reach = raw.map(|raw| reach::of(criterion, input, raw).times(criterion.factor));
    Observed {
        value,
        reach,
        outcome,
        unit: unit(criterion),
    }
}

fn unit(criterion: &Criterion) -> Unit {
    let metric = criterion.metric.metric();
    match (criterion.agg, metric.kind, metric.unit) {
        (Agg::PerSecond, ..) => Unit::PerSecond,
        (Agg::Rate, ..) | (_, _, metric::Unit::Share) => Unit::Ratio,
        (_, _, metric::Unit::Bytes) => Unit::Bytes,
        (Agg::Count, Kind::Trend, _) | (_, _, metric::Unit::Count) => Unit::Count,
        (_, _, metric::Unit::Seconds) => Unit::Seconds,
    }
}

fn aggregate(criterion: &Criterion, input: &Input<'_>) -> Option<f64> {
    match criterion.metric.metric().kind {
        Kind::Counter => counter(criterion, input),
        Kind::Trend => trend(criterion, input),
        Kind::Gauge => gauge(criterion, input),
    }
}

fn counter(criterion: &Criterion, input: &Input<'_>) -> Option<f64> {
    if !has_run(criterion, input) {
        return None;
    }
    let count = counted(criterion.metric, &criterion.selector, input);
    match criterion.agg {
        Agg::Rate => {
            let base = rate_base(criterion, input)?;
            Some(to_f64(count) / to_f64(base))
        }
        Agg::PerSecond => per_second(count, criterion, input),
        _ => Some(to_f64(count)),
    }
}

/// The value of a counter. Those of the ledger come from the ledger: `planned`, `unstarted` and `lost` are known there only.
fn counted(metric: MetricId, selector: &Selector, input: &Input<'_>) -> u64 {
    let is_ledger = metric.name().starts_with("sessions_") && metric.metric().kind == Kind::Counter;
    let entries = input
        .ledger
        .iter()
        .filter(|entry| selector.takes_scenario(&entry.scenario));
    let beyond_scenario = selector.without("scenario");
    if is_ledger && beyond_scenario == Selector::all() {
        let number = |sessions: Sessions| match metric {
            MetricId::SessionsPlanned => sessions.planned,
            MetricId::SessionsStarted => sessions.started,
            MetricId::SessionsPassed => sessions.passed,
            MetricId::SessionsFailed => sessions.failed,
            MetricId::SessionsDropped => sessions.dropped,
            MetricId::SessionsUnstarted => sessions.unstarted,
            MetricId::SessionsInterrupted => sessions.interrupted,
            MetricId::SessionsLost => sessions.lost,
            _ => 0,
        };
        let numbers = entries.map(|entry| number(entry.sessions));
        return numbers.fold(0, u64::saturating_add);
    }
    // An agent that is lost cannot count what it lost, but its site is known.
    if metric == MetricId::SessionsLost && beyond_scenario.without("site") == Selector::all() {
        return entries
            .flat_map(|entry| &entry.lost_by_site)
            .filter(|(site, _)| selector.takes_site(site))
            .fold(0, |sum, (_, lost)| sum.saturating_add(*lost));
    }
    // Of the others, sites have no ledger of their own: there the counters of the agents are all that is known.
    input
        .totals
        .counter(metric, selector, selector.span_or(Span::usual(metric)))
}

/// The measurements that a threshold on a trend selects.
pub(super) fn trend_of(criterion: &Criterion, input: &Input<'_>) -> Histogram {
    let span = criterion.selector.span_or(Span::usual(criterion.metric));
    input
        .totals
        .trend(criterion.metric, &criterion.selector, span)
}

fn trend(criterion: &Criterion, input: &Input<'_>) -> Option<f64> {
    let trend = trend_of(criterion, input);
    if criterion.agg == Agg::Count {
        return has_run(criterion, input).then(|| to_f64(trend.count()));
    }
    if trend.is_empty() {
        // No stall is what every plan hopes for, not a lack of data.
        let no_stall = criterion.metric == MetricId::StreamStall && has_run(criterion, input);
        return no_stall.then_some(0.0);
    }
    match criterion.agg {
        Agg::PerSecond => per_second(trend.count(), criterion, input),
        agg => Some(of_trend(&trend, agg)),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nanoseconds of a run stay far below 2^53 microseconds"
)]
fn of_trend(trend: &Histogram, agg: Agg) -> f64 {
    match agg {
        Agg::Min => seconds(trend.min_ns().unwrap_or(0)),
        Agg::Max => seconds(trend.max_ns().unwrap_or(0)),
        Agg::Sum => trend.sum_ns() as f64 / 1e9,
        Agg::Mean => trend.mean_ns().unwrap_or(0.0) / 1e9,
        Agg::Percentile(percent) => seconds(trend.percentile(percent).unwrap_or(0)),
        Agg::Count | Agg::Rate | Agg::PerSecond => to_f64(trend.count()),
    }
}

/// Nanoseconds as seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "durations of a run are far below 2^53 microseconds"
)]
pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn gauge(criterion: &Criterion, input: &Input<'_>) -> Option<f64> {
    let span = criterion.selector.span_or(Span::usual(criterion.metric));
    let extremes = input
        .totals
        .extremes(criterion.metric, &criterion.selector, span)?;
    Some(match criterion.agg {
        Agg::Min => extremes.min,
        Agg::Max => extremes.max,
        Agg::Sum => extremes.sum,
        Agg::Count => to_f64(extremes.count),
        Agg::Mean | Agg::Rate | Agg::PerSecond | Agg::Percentile(_) => extremes.mean(),
    })
}

fn per_second(count: u64, criterion: &Criterion, input: &Input<'_>) -> Option<f64> {
    let names: Vec<_> = input
        .ledger
        .iter()
        .map(|entry| entry.scenario.as_str())
        .collect();
    let selected: Vec<_> = names
        .into_iter()
        .filter(|name| criterion.selector.takes_scenario(name))
        .collect();
    let span = criterion.selector.span_or(Span::usual(criterion.metric));
    let judged = input.phases.judged_seconds(&selected, input.duration);
    let seconds = match span {
        Span::All => input.duration,
        Span::Judged => judged,
        Span::WarmUp => input.duration.saturating_sub(judged),
    };
    (!seconds.is_zero()).then(|| to_f64(count) / seconds.as_secs_f64())
}

/// What `rate` divides by; none if nothing was counted there.
pub(super) fn rate_base(criterion: &Criterion, input: &Input<'_>) -> Option<u64> {
    let selector = criterion.selector.without("error");
    let base = match criterion.metric.metric().rate_base? {
        RateBase::Planned => counted(MetricId::SessionsPlanned, &selector, input),
        RateBase::Started => counted(MetricId::SessionsStarted, &selector, input),
        RateBase::StageRuns => {
            let span = selector.span_or(Span::usual(criterion.metric));
            input
                .totals
                .trend(MetricId::StageDuration, &selector, span)
                .count()
        }
        RateBase::Rows => {
            input
                .totals
                .counter(MetricId::StreamRows, &selector, selector.span_or(Span::All))
        }
    };
    (base > 0).then_some(base)
}

/// Whether what a counter counts has run, so that 0 is a measurement.
fn has_run(criterion: &Criterion, input: &Input<'_>) -> bool {
    let metric = criterion.metric.metric();
    if metric.is_of_agent() {
        return input.totals.has(criterion.metric, &criterion.selector);
    }
    let selector = Selector::all();
    let pick = |selector: Selector, label: &str| match criterion.selector.value(label) {
        Some(value) => selector.with(label, value),
        None => selector,
    };
    let selector = pick(pick(selector, "scenario"), "site");
    if metric.allows("stage") {
        let stage = pick(selector, "stage");
        return input.totals.has(MetricId::StageDuration, &stage)
            || input.totals.has(criterion.metric, &stage);
    }
    let of_ledger = input
        .ledger
        .iter()
        .filter(|entry| criterion.selector.takes_scenario(&entry.scenario));
    // A plan whose sessions were all dropped has planned, and nothing started.
    of_ledger
        .map(|entry| entry.sessions)
        .any(|sessions| sessions.started + sessions.dropped > 0)
}

/// Whether some session came far enough for the threshold to have had data.
fn could_be_reached(criterion: &Criterion, input: &Input<'_>) -> bool {
    let passed = |scenario: &str| {
        let mut entries = input
            .ledger
            .iter()
            .filter(|entry| entry.scenario == scenario);
        entries.any(|entry| entry.sessions.passed > 0)
    };
    let Some(stage) = criterion.selector.value("stage") else {
        let mut entries = input
            .ledger
            .iter()
            .filter(|entry| criterion.selector.takes_scenario(&entry.scenario));
        return entries.any(|entry| entry.sessions.passed > 0);
    };
    let facts = input.rules.stages.iter().filter(|fact| fact.stage == stage);
    facts
        .filter(|fact| criterion.selector.takes_scenario(&fact.scenario))
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
