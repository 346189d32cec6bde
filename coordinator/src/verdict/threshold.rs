//! One threshold against what was measured.
use super::input::{Criterion, Input, StageFact};
use crate::aggregate::{Selector, Span, to_f64};
use crate::report::model::{ThresholdOutcome, Unit};
use testmesh_shared::metric::{self, Histogram, Kind, MetricId, RateBase};
use testmesh_shared::plan::model::{Agg, Op};

/// What came out of one threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    /// The aggregate times its factor; none without data.
    pub value: Option<f64>,
    /// The same, had every lost session been as good as can be.
    pub if_lost_were_good: Option<f64>,
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
    let raw = aggregate(criterion, input, Lost::AsTheyAre);
    let value = raw.map(|value| value * criterion.factor);
    let outcome = match value {
        Some(value) if criterion.op.holds(value, criterion.limit) => ThresholdOutcome::Passed,
        Some(_) => ThresholdOutcome::Failed,
        None if could_be_reached(criterion, input) => ThresholdOutcome::NoData,
        None => ThresholdOutcome::NotReached,
    };
    let good = aggregate(criterion, input, Lost::AsGood).map(|value| value * criterion.factor);
    Observed {
        value,
        if_lost_were_good: good,
        outcome,
        unit: unit(criterion),
    }
}

/// How lost sessions are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    AsTheyAre,
    AsGood,
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

fn aggregate(criterion: &Criterion, input: &Input<'_>, lost: Lost) -> Option<f64> {
    match criterion.metric.metric().kind {
        Kind::Counter => counter(criterion, input, lost),
        Kind::Trend => trend(criterion, input, lost),
        Kind::Gauge => gauge(criterion, input),
    }
}

fn counter(criterion: &Criterion, input: &Input<'_>, lost: Lost) -> Option<f64> {
    if !has_run(criterion, input) {
        return None;
    }
    let count = counted(criterion.metric, &criterion.selector, input, lost);
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
fn counted(metric: MetricId, selector: &Selector, input: &Input<'_>, lost: Lost) -> u64 {
    let is_ledger = metric.name().starts_with("sessions_") && metric.metric().kind == Kind::Counter;
    // Sites have no ledger of their own: there the counters of the agents are all that is known.
    if is_ledger && selector.without("scenario") == Selector::all() {
        let of_scenario = |entry: &&super::ledger::Entry| selector.takes_scenario(&entry.scenario);
        let entries = input
            .ledger
            .iter()
            .filter(of_scenario)
            .map(|entry| entry.sessions);
        return entries
            .map(|sessions| match (metric, lost) {
                (MetricId::SessionsPlanned, _) => sessions.planned,
                (MetricId::SessionsStarted, _) => sessions.started,
                (MetricId::SessionsPassed, Lost::AsTheyAre) => sessions.passed,
                (MetricId::SessionsPassed, Lost::AsGood) => sessions.passed + sessions.lost,
                (MetricId::SessionsFailed, _) => sessions.failed,
                (MetricId::SessionsDropped, _) => sessions.dropped,
                (MetricId::SessionsUnstarted, _) => sessions.unstarted,
                (MetricId::SessionsInterrupted, _) => sessions.interrupted,
                (MetricId::SessionsLost, Lost::AsTheyAre) => sessions.lost,
                _ => 0,
            })
            .sum();
    }
    input
        .totals
        .counter(metric, selector, selector.span_or(Span::usual(metric)))
}

fn trend(criterion: &Criterion, input: &Input<'_>, lost: Lost) -> Option<f64> {
    let span = criterion.selector.span_or(Span::usual(criterion.metric));
    let trend = input
        .totals
        .trend(criterion.metric, &criterion.selector, span);
    if criterion.agg == Agg::Count {
        return has_run(criterion, input).then(|| to_f64(trend.count()));
    }
    if trend.is_empty() {
        // No stall is what every plan hopes for, not a lack of data.
        let no_stall = criterion.metric == MetricId::StreamStall && has_run(criterion, input);
        return no_stall.then_some(0.0);
    }
    let extra = match lost {
        Lost::AsTheyAre => 0,
        Lost::AsGood => lost_samples(&trend, criterion, input),
    };
    let good = Good {
        extra,
        high: matches!(criterion.op, Op::Greater | Op::GreaterOrEqual),
    };
    match criterion.agg {
        Agg::PerSecond => per_second(trend.count() + extra, criterion, input),
        agg => Some(of_trend(&trend, agg, good)),
    }
}

/// Samples that are imagined beside the measured ones, all below or all above them.
#[derive(Clone, Copy)]
struct Good {
    extra: u64,
    high: bool,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nanoseconds of a run stay far below 2^53 microseconds"
)]
fn of_trend(trend: &Histogram, agg: Agg, good: Good) -> f64 {
    let seconds = |ns: u64| ns as f64 / 1e9;
    let (min, max) = (trend.min_ns().unwrap_or(0), trend.max_ns().unwrap_or(0));
    let count = to_f64(trend.count());
    match agg {
        Agg::Min => seconds(min),
        Agg::Max => seconds(max),
        Agg::Sum => trend.sum_ns() as f64 / 1e9,
        Agg::Mean => {
            let imagined = if good.high {
                seconds(max) * to_f64(good.extra)
            } else {
                0.0
            };
            (trend.sum_ns() as f64 / 1e9 + imagined) / (count + to_f64(good.extra))
        }
        Agg::Percentile(percent) if good.extra == 0 => {
            seconds(trend.percentile(percent).unwrap_or(0))
        }
        Agg::Percentile(percent) => {
            let rank = percent / 100.0 * (count + to_f64(good.extra));
            let among = if good.high {
                rank
            } else {
                rank - to_f64(good.extra)
            };
            let within = (among / count * 100.0).clamp(0.0, 100.0);
            if among <= 0.0 {
                0.0
            } else {
                seconds(trend.percentile(within).unwrap_or(0))
            }
        }
        Agg::Count | Agg::Rate | Agg::PerSecond => count,
    }
}

/// How many samples the lost sessions would have given, had they been like the others.
fn lost_samples(trend: &Histogram, criterion: &Criterion, input: &Input<'_>) -> u64 {
    let entries = || {
        input
            .ledger
            .iter()
            .filter(|entry| criterion.selector.takes_scenario(&entry.scenario))
    };
    let lost: u64 = entries().map(|entry| entry.sessions.lost).sum();
    let ended: u64 = entries()
        .map(|entry| entry.sessions.passed + entry.sessions.failed)
        .sum();
    lost.saturating_mul(trend.count().checked_div(ended).unwrap_or(1).max(1))
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

fn rate_base(criterion: &Criterion, input: &Input<'_>) -> Option<u64> {
    let selector = criterion.selector.without("error");
    let base = match criterion.metric.metric().rate_base? {
        RateBase::Planned => counted(MetricId::SessionsPlanned, &selector, input, Lost::AsTheyAre),
        RateBase::Started => counted(MetricId::SessionsStarted, &selector, input, Lost::AsTheyAre),
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
