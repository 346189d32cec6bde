//! What each series amounts to over the whole run, judged seconds and warm-up apart, and how thresholds read it.
use crate::phase::Class;
use std::collections::BTreeMap;
use testmesh_shared::metric::{
    Change, Histogram, Interner, Kind, LabelSet, MetricId, SeriesFull, SeriesId, SeriesKey,
};

/// Which seconds count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// All of them.
    All,
    /// All but the warm-up.
    Judged,
    /// The warm-up alone.
    WarmUp,
}

impl Span {
    /// The seconds that count for a metric unless a threshold says otherwise: integrity and the ledger always count
    /// everything, the rest leaves the warm-up out.
    pub fn usual(metric: MetricId) -> Self {
        let line = metric.metric();
        let of_ledger = line.name.starts_with("sessions_") && line.kind == Kind::Counter;
        if of_ledger || line.name.starts_with("integrity_") {
            Self::All
        } else {
            Self::Judged
        }
    }
}

/// Selects series by one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    /// The label.
    pub label: String,
    /// Keep the series with this value, or those without.
    pub equal: bool,
    /// The value.
    pub value: String,
}

/// Selects series by their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    matchers: Vec<Matcher>,
    span: Option<Class>,
}

impl Selector {
    /// Every series.
    pub fn all() -> Self {
        Self::default()
    }

    /// Series that satisfy all matchers. A matcher on `phase` selects seconds instead.
    pub fn new(matchers: impl IntoIterator<Item = Matcher>) -> Self {
        let (phases, matchers): (Vec<_>, Vec<_>) =
            matchers.into_iter().partition(|one| one.label == "phase");
        let span = phases.first().map(|phase| {
            if phase.equal == (phase.value == "warm_up") {
                Class::WarmUp
            } else {
                Class::Judged
            }
        });
        Self { matchers, span }
    }

    /// Series whose label has this value.
    #[must_use]
    pub fn with(mut self, label: &str, value: &str) -> Self {
        self.matchers.push(Matcher {
            label: label.to_owned(),
            equal: true,
            value: value.to_owned(),
        });
        self
    }

    /// The same without matchers on this label.
    #[must_use]
    pub fn without(&self, label: &str) -> Self {
        let matchers = self
            .matchers
            .iter()
            .filter(|matcher| matcher.label != label)
            .cloned();
        Self {
            matchers: matchers.collect(),
            span: self.span,
        }
    }

    /// The value that a matcher asks for, if one asks for exactly one.
    pub fn value(&self, label: &str) -> Option<&str> {
        let matcher = self
            .matchers
            .iter()
            .find(|matcher| matcher.label == label && matcher.equal);
        matcher.map(|matcher| matcher.value.as_str())
    }

    /// Whether a series is selected.
    pub fn takes(&self, key: &SeriesKey) -> bool {
        let fits = |matcher: &Matcher| {
            (key.label(&matcher.label) == Some(matcher.value.as_str())) == matcher.equal
        };
        self.matchers.iter().all(fits)
    }

    /// Whether series of this scenario may be selected: what the ledger, which has no series, is asked.
    pub fn takes_scenario(&self, scenario: &str) -> bool {
        let on_scenario = self
            .matchers
            .iter()
            .filter(|matcher| matcher.label == "scenario");
        on_scenario
            .into_iter()
            .all(|matcher| (matcher.value == scenario) == matcher.equal)
    }

    /// The same for a site.
    pub fn takes_site(&self, site: &str) -> bool {
        let mut on_site = self
            .matchers
            .iter()
            .filter(|matcher| matcher.label == "site");
        on_site.all(|matcher| (matcher.value == site) == matcher.equal)
    }

    /// The seconds that count unless a matcher on `phase` says otherwise.
    pub fn span_or(&self, default: Span) -> Span {
        match self.span {
            None => default,
            Some(Class::WarmUp) => Span::WarmUp,
            Some(Class::Judged) => Span::Judged,
        }
    }
}

/// A value for the judged seconds, and one for the warm-up.
#[derive(Clone, Debug, Default)]
struct Split<T> {
    judged: T,
    warm_up: T,
}

impl<T> Split<T> {
    fn of(&mut self, class: Class) -> &mut T {
        match class {
            Class::Judged => &mut self.judged,
            Class::WarmUp => &mut self.warm_up,
        }
    }

    fn parts(&self, span: Span) -> impl Iterator<Item = &T> {
        let judged = (span != Span::WarmUp).then_some(&self.judged);
        let warm_up = (span != Span::Judged).then_some(&self.warm_up);
        judged.into_iter().chain(warm_up)
    }
}

/// What a gauge was, second by second; of a gauge that every agent has, only the extremes.
#[derive(Clone, Debug, Default)]
struct Levels {
    by_second: BTreeMap<u32, f64>,
    of_agent: Option<Extremes>,
}

/// Least, greatest and mean of a gauge over seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extremes {
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// Their sum.
    pub sum: f64,
    /// How many seconds.
    pub count: u64,
}

impl Extremes {
    fn over(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut extremes: Option<Self> = None;
        for value in values {
            extremes = Some(
                extremes.map_or_else(|| Self::one(value), |known| known.and(Self::one(value))),
            );
        }
        extremes
    }

    fn one(value: f64) -> Self {
        Self {
            min: value,
            max: value,
            sum: value,
            count: 1,
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            sum: self.sum + other.sum,
            count: self.count + other.count,
        }
    }

    /// The mean over seconds.
    pub fn mean(self) -> f64 {
        self.sum / to_f64(self.count)
    }
}

#[derive(Clone, Debug)]
enum Total {
    Counter(Split<u64>),
    Trend(Box<Split<Histogram>>),
    Gauge(Split<Levels>),
}

impl Total {
    fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter(Split::default()),
            Kind::Trend => Self::Trend(Box::default()),
            Kind::Gauge => Self::Gauge(Split::default()),
        }
    }
}

/// What some series amount to together.
#[derive(Clone, Debug)]
pub enum Summary {
    /// A sum.
    Counter(u64),
    /// All measurements.
    Trend(Box<Histogram>),
    /// The extremes of the sum over agents; none without a measurement.
    Gauge(Option<Extremes>),
}

/// The totals of one run.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    interner: Interner,
    totals: Vec<Total>,
    refused: u64,
}

impl Totals {
    /// The number of a series.
    ///
    /// # Errors
    ///
    /// If the run has too many; the refusal is counted.
    pub fn intern(
        &mut self,
        metric: MetricId,
        labels: &LabelSet<'_>,
    ) -> Result<SeriesId, SeriesFull> {
        let id = self
            .interner
            .intern(metric, labels)
            .inspect_err(|_| self.refused += 1)?;
        if id.index() >= self.totals.len() {
            self.totals.push(Total::empty(metric.metric().kind));
        }
        Ok(id)
    }

    /// Adds what a series gained in one second.
    pub fn add(&mut self, id: SeriesId, second: u32, class: Class, change: &Change<'_>) {
        let of_agent = self.interner.key(id).metric().metric().is_of_agent();
        match (&mut self.totals[id.index()], change) {
            (Total::Counter(total), Change::Counter(more)) => {
                let total = total.of(class);
                *total = total.saturating_add(*more);
            }
            (Total::Trend(total), Change::Trend(delta)) => total.of(class).merge_delta(delta),
            (Total::Gauge(total), Change::Gauge(value)) => {
                let levels = total.of(class);
                if of_agent {
                    let one = Extremes::one(*value);
                    levels.of_agent = Some(levels.of_agent.map_or(one, |known| known.and(one)));
                } else {
                    *levels.by_second.entry(second).or_default() += value;
                }
            }
            // The decoder lets no change through whose kind is not its metric's.
            (Total::Counter(_) | Total::Trend(_) | Total::Gauge(_), _) => {}
        }
    }

    /// How many values were refused because the run has too many series.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Every series, in the order of its first measurement.
    pub fn keys(&self) -> impl Iterator<Item = (SeriesId, &SeriesKey)> {
        self.interner.iter()
    }

    /// The key of a series.
    pub fn key(&self, id: SeriesId) -> &SeriesKey {
        self.interner.key(id)
    }

    /// Whether any series of this metric is selected.
    pub fn has(&self, metric: MetricId, selector: &Selector) -> bool {
        !self.ids(metric, selector).is_empty()
    }

    /// The sum of the selected counters.
    pub fn counter(&self, metric: MetricId, selector: &Selector, span: Span) -> u64 {
        match self.summary(&self.ids(metric, selector), span) {
            Some(Summary::Counter(sum)) => sum,
            _ => 0,
        }
    }

    /// The selected trends, merged.
    pub fn trend(&self, metric: MetricId, selector: &Selector, span: Span) -> Histogram {
        match self.summary(&self.ids(metric, selector), span) {
            Some(Summary::Trend(merged)) => *merged,
            _ => Histogram::new(),
        }
    }

    /// The selected gauges, summed second by second.
    pub fn levels(&self, metric: MetricId, selector: &Selector, span: Span) -> BTreeMap<u32, f64> {
        self.seconds(&self.ids(metric, selector), span)
    }

    /// The numbers of the selected series.
    pub fn ids(&self, metric: MetricId, selector: &Selector) -> Vec<SeriesId> {
        let fits =
            |(_, key): &(SeriesId, &SeriesKey)| key.metric() == metric && selector.takes(key);
        self.interner
            .iter()
            .filter(fits)
            .map(|(id, _)| id)
            .collect()
    }

    /// The extremes of the selected gauges: of their sum over agents, or over agents for what each agent has for itself.
    pub fn extremes(&self, metric: MetricId, selector: &Selector, span: Span) -> Option<Extremes> {
        match self.summary(&self.ids(metric, selector), span) {
            Some(Summary::Gauge(extremes)) => extremes,
            _ => None,
        }
    }

    /// What these series, all of one metric, amount to together. None for no series.
    pub fn summary(&self, ids: &[SeriesId], span: Span) -> Option<Summary> {
        let (first, of_agent) = (ids.first()?, |id: &SeriesId| {
            self.interner.key(*id).metric().metric().is_of_agent()
        });
        let all = || ids.iter().map(|id| &self.totals[id.index()]);
        Some(match &self.totals[first.index()] {
            Total::Counter(_) => Summary::Counter(all().fold(0, |sum: u64, total| {
                match total {
                    Total::Counter(total) => total
                        .parts(span)
                        .fold(sum, |sum, part| sum.saturating_add(*part)),
                    Total::Trend(_) | Total::Gauge(_) => sum,
                }
            })),
            Total::Trend(_) => {
                let mut merged = Box::<Histogram>::default();
                for total in all() {
                    if let Total::Trend(total) = total {
                        total.parts(span).for_each(|part| merged.merge(part));
                    }
                }
                Summary::Trend(merged)
            }
            Total::Gauge(_) if of_agent(first) => {
                let parts = all().filter_map(|total| match total {
                    Total::Gauge(total) => total
                        .parts(span)
                        .filter_map(|part| part.of_agent)
                        .reduce(Extremes::and),
                    Total::Counter(_) | Total::Trend(_) => None,
                });
                Summary::Gauge(parts.reduce(Extremes::and))
            }
            Total::Gauge(_) => {
                Summary::Gauge(Extremes::over(self.seconds(ids, span).into_values()))
            }
        })
    }

    /// These gauges, summed second by second.
    pub fn seconds(&self, ids: &[SeriesId], span: Span) -> BTreeMap<u32, f64> {
        let mut seconds = BTreeMap::new();
        for id in ids {
            if let Total::Gauge(total) = &self.totals[id.index()] {
                for (second, value) in total.parts(span).flat_map(|part| &part.by_second) {
                    *seconds.entry(*second).or_default() += value;
                }
            }
        }
        seconds
    }
}

/// A count as a number to divide by.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts beyond 2^53 are not measured"
)]
pub fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals() -> Totals {
        let mut totals = Totals::default();
        for (site, second, class, count) in [
            ("haifa", 0, Class::WarmUp, 1),
            ("haifa", 5, Class::Judged, 10),
            ("tokyo", 5, Class::Judged, 100),
        ] {
            let labels = LabelSet::new(&[("scenario", "live"), ("site", site)]).unwrap();
            let id = totals.intern(MetricId::SessionsStarted, &labels).unwrap();
            totals.add(id, second, class, &Change::Counter(count));
            let id = totals.intern(MetricId::StreamsOpen, &labels).unwrap();
            totals.add(id, second, class, &Change::Gauge(f64::from(second + 1)));
        }
        totals
    }

    fn matcher(label: &str, equal: bool, value: &str) -> Matcher {
        Matcher {
            label: label.into(),
            equal,
            value: value.into(),
        }
    }

    #[test]
    fn matchers_select_series_and_phases_select_seconds() {
        let totals = totals();
        for (matchers, span, expect) in [
            (vec![], Span::All, 111),
            (vec![], Span::Judged, 110),
            (vec![], Span::WarmUp, 1),
            (vec![matcher("site", true, "haifa")], Span::All, 11),
            (vec![matcher("site", false, "haifa")], Span::All, 100),
            (vec![matcher("stage", true, "x")], Span::All, 0),
            (vec![matcher("stage", false, "x")], Span::All, 111),
            (vec![matcher("phase", true, "warm_up")], Span::All, 1),
            (vec![matcher("phase", false, "warm_up")], Span::All, 110),
        ] {
            let selector = Selector::new(matchers.clone());
            let span = selector.span_or(span);
            assert_eq!(
                totals.counter(MetricId::SessionsStarted, &selector, span),
                expect,
                "{matchers:?} {span:?}"
            );
        }
    }

    #[test]
    fn gauges_are_summed_by_second_and_then_compared() {
        let totals = totals();
        let all = totals
            .extremes(MetricId::StreamsOpen, &Selector::all(), Span::All)
            .unwrap();
        assert_eq!(
            (all.min, all.max, all.count, all.mean()),
            (1.0, 12.0, 2, 6.5)
        );
        let judged = totals
            .extremes(MetricId::StreamsOpen, &Selector::all(), Span::Judged)
            .unwrap();
        assert_eq!((judged.min, judged.count), (12.0, 1));
        assert_eq!(
            totals.extremes(MetricId::SessionsActive, &Selector::all(), Span::All),
            None
        );
    }
}
