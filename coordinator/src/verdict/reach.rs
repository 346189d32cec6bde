//! What lost sessions could have made of a value: they measured something that nobody will ever know.
//!
//! A lost agent took along sessions in flight, and the rest of its share that never started. They could have added to
//! whatever grows with sessions; they could have thinned out rates, means and percentiles; they could have taken nothing
//! away. Where the plan names no number of sessions nobody knows how many there would have been, so what grows could have
//! grown without a bound, while only those that provably started are imagined to thin anything out.
use super::input::{Input, Reading};
use super::sample::{Sample, seconds as as_seconds};
use crate::aggregate::{Selector, to_f64};
use testmesh_shared::metric::{Histogram, Kind, MetricId, RateBase};
use testmesh_shared::plan::model::{Agg, Op};

/// All that a value could have been, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reach {
    /// It could not have been less.
    pub low: f64,
    /// It could not have been more; infinite where nothing bounds it.
    pub high: f64,
}

impl Reach {
    /// It is known.
    pub(super) fn only(value: f64) -> Self {
        Self {
            low: value,
            high: value,
        }
    }

    fn at_least(value: f64) -> Self {
        Self {
            low: value,
            high: f64::INFINITY,
        }
    }

    fn up_to(value: f64) -> Self {
        Self {
            low: 0.0,
            high: value,
        }
    }

    /// The same for the value times a factor.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        // An infinite end times nothing would be no number.
        if factor == 0.0 {
            return Self::only(0.0);
        }
        let (one, other) = (self.low * factor, self.high * factor);
        Self {
            low: one.min(other),
            high: one.max(other),
        }
    }

    /// Whether some value within reach compares so with some value within the other's.
    pub fn could_hold(self, op: Op, other: Self) -> bool {
        match op {
            Op::Less | Op::LessOrEqual => op.holds(self.low, other.high),
            Op::Greater | Op::GreaterOrEqual => op.holds(self.high, other.low),
            Op::Equal => self.low <= other.high && other.low <= self.high,
            Op::NotEqual => op.holds(self.low, other.high) || op.holds(self.high, other.low),
        }
    }
}

/// Sessions that lost agents took along.
#[derive(Clone, Copy, Debug, Default)]
struct Absent {
    /// In flight.
    lost: u64,
    /// Planned, and never started.
    unstarted: u64,
    /// There could have been any number more.
    open_ended: bool,
}

impl Absent {
    fn of(reading: &Reading, input: &Input<'_>) -> Self {
        let selector = &reading.selector;
        let of_a_site = selector.without("site") != *selector;
        let mut absent = Self::default();
        for entry in input.ledger {
            let mut sites = entry.lost_by_site.keys();
            // Agents that were lost elsewhere take nothing from a site.
            let elsewhere = of_a_site && !sites.any(|site| selector.takes_site(site));
            if elsewhere || !selector.takes_scenario(&entry.scenario) {
                continue;
            }
            absent.lost = absent.lost.saturating_add(entry.sessions.lost);
            absent.unstarted = absent.unstarted.saturating_add(entry.sessions.unstarted);
            absent.open_ended |= entry.open_ended;
        }
        absent
    }

    fn is_nothing(self) -> bool {
        self.sessions() == 0 && !self.open_ended
    }

    fn sessions(self) -> u64 {
        self.lost.saturating_add(self.unstarted)
    }

    /// How much more a counter of sessions could be; none: without a bound.
    fn more(self, metric: MetricId) -> Option<u64> {
        match metric {
            _ if self.open_ended => None,
            MetricId::SessionsPlanned => Some(0),
            MetricId::SessionsStarted | MetricId::SessionsDropped => Some(self.unstarted),
            MetricId::SessionsPassed
            | MetricId::SessionsFailed
            | MetricId::SessionsInterrupted
            | MetricId::CleanupFailed => Some(self.sessions()),
            _ => None,
        }
    }
}

/// What the value of a reading could have been.
pub(super) fn of(reading: &Reading, sample: &Sample, input: &Input<'_>, value: f64) -> Reach {
    let metric = reading.metric.metric();
    let absent = Absent::of(reading, input);
    if metric.is_of_agent() || absent.is_nothing() {
        return Reach::only(value);
    }
    match (metric.kind, reading.agg) {
        // Had nobody been lost, there would be fewer of these.
        _ if shrinks(reading.metric) => Reach::up_to(value),
        (Kind::Counter, Agg::Rate) => rate(reading, sample, input, absent, value),
        (Kind::Counter, Agg::Count | Agg::Sum) => {
            let more = absent.more(reading.metric);
            Reach {
                low: value,
                high: more.map_or(f64::INFINITY, |more| value + to_f64(more)),
            }
        }
        (Kind::Trend, Agg::Min) => Reach::up_to(value),
        (Kind::Trend, Agg::Mean | Agg::Percentile(_)) => thinned(reading, sample, input, absent),
        (Kind::Counter | Kind::Gauge | Kind::Trend, _) => Reach::at_least(value),
    }
}

fn shrinks(metric: MetricId) -> bool {
    matches!(metric, MetricId::SessionsLost | MetricId::SessionsUnstarted)
}

fn rate(
    reading: &Reading,
    sample: &Sample,
    input: &Input<'_>,
    absent: Absent,
    value: f64,
) -> Reach {
    let (Some(of), Some(base)) = (reading.metric.metric().rate_base, sample.base) else {
        return Reach::only(value);
    };
    let bounded = Absent {
        open_ended: false,
        ..absent
    };
    let (more, more_base) = match of {
        RateBase::Started => (bounded.more(reading.metric).unwrap_or(0), absent.unstarted),
        RateBase::Planned => (bounded.more(reading.metric).unwrap_or(0), 0),
        RateBase::StageRuns | RateBase::Rows => {
            let more = imagined(base, &reading.selector, input, absent);
            (more, more)
        }
    };
    let counted = value * to_f64(base);
    let base = to_f64(base.saturating_add(more_base));
    let high = (counted + to_f64(more)) / base;
    Reach {
        low: (counted / base).min(value),
        high: high.max(value),
    }
}

/// Of measured values together with imagined ones, all below or all above them.
fn thinned(reading: &Reading, sample: &Sample, input: &Input<'_>, absent: Absent) -> Reach {
    let trend = &sample.trend;
    let extra = to_f64(imagined(trend.count(), &reading.selector, input, absent));
    let count = to_f64(trend.count());
    let seconds = |trend: &Histogram, percent: f64| {
        as_seconds(trend.percentile(percent.clamp(0.0, 100.0)).unwrap_or(0))
    };
    match reading.agg {
        Agg::Percentile(percent) => {
            let rank = percent / 100.0 * (count + extra);
            let low = if rank <= extra {
                0.0
            } else {
                seconds(trend, (rank - extra) / count * 100.0)
            };
            let high = if rank > count {
                f64::INFINITY
            } else {
                seconds(trend, rank / count * 100.0)
            };
            Reach { low, high }
        }
        _ => {
            let mean = trend.mean_ns().unwrap_or(0.0) / 1e9;
            let low = mean * count / (count + extra);
            if extra > 0.0 {
                Reach::at_least(low)
            } else {
                Reach::only(mean)
            }
        }
    }
}

/// How many measurements the absent sessions would have given, had they been like the others.
fn imagined(measured: u64, selector: &Selector, input: &Input<'_>, absent: Absent) -> u64 {
    let ended = input
        .ledger
        .iter()
        .filter(|entry| selector.takes_scenario(&entry.scenario))
        .fold(0_u64, |sum, entry| {
            let ended = entry.sessions.passed.saturating_add(entry.sessions.failed);
            sum.saturating_add(ended)
        });
    let each = measured.checked_div(ended).unwrap_or(1).max(1);
    absent.sessions().saturating_mul(each)
}
