//! What a reading of a threshold measured, and the number that it amounts to.
//!
//! A sample is taken from the whole run, or from one sliding span; what becomes of it is the same.
use super::input::{Input, Reading};
use crate::aggregate::{Extremes, Selector, WindowSample, to_f64};
use crate::phase::Span;
use crate::report::model::Sessions;
use std::time::Duration;
use testmesh_shared::metric::{Histogram, Kind, MetricId, RateBase};
use testmesh_shared::plan::model::Agg;

/// Everything that one reading selects.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// A counter's value.
    pub(super) count: u64,
    /// A trend's measurements.
    pub(super) trend: Histogram,
    /// A gauge's levels.
    pub(super) levels: Option<Extremes>,
    /// What `rate` divides by; none if nothing was counted there.
    pub(super) base: Option<u64>,
    /// What `per_second` divides by.
    pub(super) seconds: Duration,
    /// What is measured has run, so that 0 is a measurement.
    pub(super) has_run: bool,
}

impl Sample {
    /// Of the whole run.
    pub(super) fn of_run(reading: &Reading, input: &Input<'_>) -> Self {
        let mut sample = Self {
            has_run: has_run(reading, input),
            ..Self::default()
        };
        let (selector, span) = (&reading.selector, reading.span());
        match reading.metric.metric().kind {
            Kind::Counter => sample.count = counted(reading.metric, selector, input),
            Kind::Trend => sample.trend = input.totals.trend(reading.metric, selector, span),
            Kind::Gauge => sample.levels = input.totals.extremes(reading.metric, selector, span),
        }
        if reading.agg == Agg::PerSecond {
            sample.seconds = input
                .phases
                .seconds(&scenarios(reading, input), span, input.duration);
        }
        sample.base = rate_base(reading, input);
        sample
    }

    /// Of one sliding span of so many seconds.
    pub(super) fn of_window(window: WindowSample, seconds: u32, has_run: bool) -> Self {
        Self {
            count: window.count,
            trend: window.trend,
            levels: window.levels,
            base: Some(window.base).filter(|base| *base > 0),
            seconds: Duration::from_secs(seconds.into()),
            has_run,
        }
    }

    /// The aggregate, without the reading's factor; none without data.
    pub(super) fn value(&self, reading: &Reading) -> Option<f64> {
        match reading.metric.metric().kind {
            Kind::Counter => self.counter(reading.agg),
            Kind::Trend => self.of_trend(reading),
            Kind::Gauge => self.gauge(reading.agg),
        }
    }

    fn counter(&self, agg: Agg) -> Option<f64> {
        if !self.has_run {
            return None;
        }
        match agg {
            Agg::Rate => Some(to_f64(self.count) / to_f64(self.base?)),
            Agg::PerSecond => self.per_second(self.count),
            _ => Some(to_f64(self.count)),
        }
    }

    fn of_trend(&self, reading: &Reading) -> Option<f64> {
        if reading.agg == Agg::Count {
            return self.has_run.then(|| to_f64(self.trend.count()));
        }
        if self.trend.is_empty() {
            // No stall is what every plan hopes for, not a lack of data.
            let no_stall = reading.metric == MetricId::StreamStall && self.has_run;
            return no_stall.then_some(0.0);
        }
        match reading.agg {
            Agg::PerSecond => self.per_second(self.trend.count()),
            agg => Some(of_trend(&self.trend, agg)),
        }
    }

    fn gauge(&self, agg: Agg) -> Option<f64> {
        let extremes = self.levels?;
        Some(match agg {
            Agg::Min => extremes.min,
            Agg::Max => extremes.max,
            Agg::Sum => extremes.sum,
            Agg::Count => to_f64(extremes.count),
            Agg::Mean | Agg::Rate | Agg::PerSecond | Agg::Percentile(_) => extremes.mean(),
        })
    }

    fn per_second(&self, count: u64) -> Option<f64> {
        (!self.seconds.is_zero()).then(|| to_f64(count) / self.seconds.as_secs_f64())
    }
}

/// Scenarios whose time counts for a reading.
pub(super) fn scenarios<'a>(reading: &Reading, input: &'a Input<'_>) -> Vec<&'a str> {
    let names = input.ledger.iter().map(|entry| entry.scenario.as_str());
    names
        .filter(|name| reading.selector.takes_scenario(name))
        .collect()
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

/// What `rate` divides by; none if nothing was counted there.
fn rate_base(reading: &Reading, input: &Input<'_>) -> Option<u64> {
    let (base, metric, selector, span) = reading.base()?;
    let count = match base {
        RateBase::Planned | RateBase::Started => counted(metric, &selector, input),
        RateBase::StageRuns => input.totals.trend(metric, &selector, span).count(),
        RateBase::Rows => input.totals.counter(metric, &selector, span),
    };
    (count > 0).then_some(count)
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

/// Whether what a counter counts has run, so that 0 is a measurement.
pub(super) fn has_run(reading: &Reading, input: &Input<'_>) -> bool {
    let metric = reading.metric.metric();
    if metric.is_of_agent() {
        return input.totals.has(reading.metric, &reading.selector);
    }
    let selector = Selector::all();
    let pick = |selector: Selector, label: &str| match reading.selector.value(label) {
        Some(value) => selector.with(label, value),
        None => selector,
    };
    let selector = pick(pick(selector, "scenario"), "site");
    if metric.allows("stage") {
        let stage = pick(selector, "stage");
        return input.totals.has(MetricId::StageDuration, &stage)
            || input.totals.has(reading.metric, &stage);
    }
    let of_ledger = input
        .ledger
        .iter()
        .filter(|entry| reading.selector.takes_scenario(&entry.scenario));
    // A plan whose sessions were all dropped has planned, and nothing started.
    of_ledger
        .map(|entry| entry.sessions)
        .any(|sessions| sessions.started + sessions.dropped > 0)
}
