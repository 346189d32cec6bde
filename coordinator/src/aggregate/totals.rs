//! What each series amounts to over the whole run, and how thresholds read it.
//!
//! Totals are kept for each set of phases that seconds belonged to: any phase, and all but it, can be told exactly, and a
//! run of a day takes no more memory than one of a minute.
use crate::phase::{Class, Phases, Span};
use std::collections::BTreeMap;
use testmesh_shared::metric::{
    Change, Histogram, Interner, Kind, LabelSet, MetricId, SeriesFull, SeriesId, SeriesKey,
};

impl Span {
    /// The seconds that count for a metric unless a threshold says otherwise: integrity and the ledger always count
    /// everything, the rest leaves the warm-up out.
    pub fn usual(metric: MetricId) -> Self {
        let line = metric.metric();
        let of_ledger = line.name.starts_with("sessions_") && line.kind == Kind::Counter;
        if of_ledger || line.name.starts_with("integrity_") {
            Self::ALL
        } else {
            Self::JUDGED
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
    /// What matchers on `phase` say.
    phases: Span,
    /// From when on seconds count.
    after: Span,
}

impl Selector {
    /// Every series.
    pub fn all() -> Self {
        Self::default()
    }

    /// Series that satisfy all matchers. Matchers on `phase` select seconds instead.
    pub fn new(matchers: impl IntoIterator<Item = Matcher>, phases: &Phases) -> Self {
        let (on_phase, matchers): (Vec<_>, Vec<_>) =
            matchers.into_iter().partition(|one| one.label == "phase");
        let mut span = Span::ALL;
        for Matcher { equal, value, .. } in on_phase {
            // The loader has refused phases that the plan does not have.
            let Some(phase) = phases.phase(&value) else {
                continue;
            };
            span = span.and(if equal {
                Span {
                    within: phase,
                    ..Span::ALL
                }
            } else {
                Span {
                    without: phase,
                    ..Span::ALL
                }
            });
        }
        Self {
            matchers,
            phases: span,
            after: Span::ALL,
        }
    }

    /// The same, of the seconds of a later part of the run only; see [`Phases::after`].
    #[must_use]
    pub fn from_time(mut self, after: Span) -> Self {
        self.after = after;
        self
    }

    /// Series whose label does not have this value.
    #[must_use]
    pub fn but(mut self, label: &str, value: &str) -> Self {
        self.matchers.push(Matcher {
            label: label.to_owned(),
            equal: false,
            value: value.to_owned(),
        });
        self
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
            ..self.clone()
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

    /// The seconds that count. Those of a phase that is asked for count all; otherwise it is the usual ones, without those
    /// of phases that are not wanted.
    pub fn span_or(&self, usual: Span) -> Span {
        let asked = self.phases.within != Class::JUDGED;
        let base = if asked { Span::ALL } else { usual };
        base.and(self.phases).and(self.after)
    }

    /// Whether it depends on which second something belongs to.
    pub fn parts_time(&self) -> bool {
        self.phases != Span::ALL || self.after != Span::ALL
    }
}

/// A value for each set of phases that seconds belonged to. A plan has few, the latest of which is asked for mostly.
#[derive(Clone, Debug, Default)]
struct BySet<T>(Vec<(Class, T)>);

impl<T: Default> BySet<T> {
    fn of(&mut self, class: Class) -> &mut T {
        let known = self.0.iter().rposition(|(one, _)| *one == class);
        let at = known.unwrap_or_else(|| {
            self.0.push((class, T::default()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    fn parts(&self, span: Span) -> impl Iterator<Item = &T> {
        let counted = self.0.iter().filter(move |(class, _)| span.takes(*class));
        counted.map(|(_, value)| value)
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

    pub(super) fn one(value: f64) -> Self {
        Self {
            min: value,
            max: value,
            sum: value,
            count: 1,
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
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
    Counter(BySet<u64>),
    Trend(BySet<Histogram>),
    Gauge(BySet<Levels>),
}

impl Total {
    fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter(BySet::default()),
            Kind::Trend => Self::Trend(BySet::default()),
            Kind::Gauge => Self::Gauge(BySet::default()),
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
    use proptest::prelude::*;

    fn totals() -> Totals {
        let mut totals = Totals::default();
        for (site, second, class, count) in [
            ("haifa", 0, Class::WARM_UP, 1),
            ("haifa", 5, Class::JUDGED, 10),
            ("tokyo", 5, Class::JUDGED, 100),
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
            (vec![], Span::ALL, 111),
            (vec![], Span::JUDGED, 110),
            (vec![], Span::WARM_UP, 1),
            (vec![matcher("site", true, "haifa")], Span::ALL, 11),
            (vec![matcher("site", false, "haifa")], Span::ALL, 100),
            (
                vec![
                    matcher("site", false, "haifa"),
                    matcher("scenario", true, "live"),
                ],
                Span::ALL,
                100,
            ),
            (
                vec![
                    matcher("site", true, "haifa"),
                    matcher("scenario", false, "live"),
                ],
                Span::ALL,
                0,
            ),
            (vec![matcher("stage", true, "x")], Span::ALL, 0),
            (vec![matcher("stage", false, "x")], Span::ALL, 111),
            (vec![matcher("phase", true, "warm_up")], Span::ALL, 1),
            (vec![matcher("phase", true, "warm_up")], Span::JUDGED, 1),
            (vec![matcher("phase", false, "warm_up")], Span::ALL, 110),
        ] {
            let selector = Selector::new(matchers.clone(), &Phases::default());
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
            .extremes(MetricId::StreamsOpen, &Selector::all(), Span::ALL)
            .unwrap();
        assert_eq!(
            (all.min, all.max, all.count, all.mean()),
            (1.0, 12.0, 2, 6.5)
        );
        let judged = totals
            .extremes(MetricId::StreamsOpen, &Selector::all(), Span::JUDGED)
            .unwrap();
        assert_eq!((judged.min, judged.count), (12.0, 1));
        assert_eq!(
            totals.extremes(MetricId::SessionsActive, &Selector::all(), Span::ALL),
            None
        );
    }

    /// What happened in one second: a session of one of two scenarios.
    type Happened = (bool, u32, u64);

    fn seconds(ms: u64) -> std::time::Duration {
        std::time::Duration::from_millis(ms)
    }

    fn phases(named: &[(u64, u64)], warm: u64, after: u64) -> Phases {
        let names: Vec<String> = (0..named.len()).map(|n| format!("p{n}")).collect();
        let warm = crate::phase::WarmUp {
            from: seconds(0),
            to: seconds(warm),
        };
        let spans = named
            .iter()
            .map(|(from, long)| (seconds(*from), seconds(from + long)));
        let named = names.iter().zip(spans);
        Phases::new([("a", warm)])
            .with_named(named.map(|(name, (from, to))| (name.as_str(), from, to)))
            .with_afters([seconds(after)])
    }

    /// Whether one second counts, from the words of the design and without a set of phases.
    struct Model<'a> {
        named: &'a [(u64, u64)],
        warm: u64,
        after: Option<u64>,
        matchers: &'a [Matcher],
    }

    impl Model<'_> {
        fn is_in(&self, phase: &str, of_a: bool, second: u32) -> bool {
            let start = u64::from(second) * 1_000;
            let meets = |from: u64, to: u64| from < to && start < to && start + 1_000 > from;
            match phase.strip_prefix('p') {
                Some(number) => {
                    let (from, long) = self.named[number.parse::<usize>().unwrap()];
                    meets(from, from + long)
                }
                None => of_a && meets(0, self.warm),
            }
        }

        fn counts(&self, of_a: bool, second: u32) -> bool {
            let is_in = |phase: &str| self.is_in(phase, of_a, second);
            let mut matchers = self.matchers.iter();
            let fits = matchers.all(|one| is_in(&one.value) == one.equal);
            let asked_for = self.matchers.iter().any(|one| one.equal);
            let late = self
                .after
                .is_none_or(|after| u64::from(second) * 1_000 >= after);
            fits && late && (asked_for || !is_in("warm_up"))
        }
    }

    proptest! {
        /// Totals by set of phases answer every matcher as a model does that keeps every second.
        #[test]
        fn totals_by_phase_equal_those_of_single_seconds(
            named in proptest::collection::vec((0..30_000_u64, 1..20_000_u64), 1..6),
            (warm, after) in (0..10_000_u64, 1..20_000_u64),
            happened in proptest::collection::vec((any::<bool>(), 0..40_u32, 1..5_000_000_000_u64), 0..60),
            asked in proptest::collection::vec((0..7_usize, any::<bool>()), 0..4),
            starts_late in any::<bool>(),
        ) {
            let phases = phases(&named, warm, after);
            let matchers: Vec<_> = asked.iter().map(|(phase, equal)| {
                let name = format!("p{}", phase % (named.len() + 1));
                let known = phases.phase(&name).is_some();
                matcher("phase", *equal, if known { &name } else { "warm_up" })
            }).collect();
            let mut selector = Selector::new(matchers.clone(), &phases);
            if starts_late {
                selector = selector.from_time(phases.after(seconds(after)));
            }
            let name = |of_a: bool| if of_a { "a" } else { "b" };
            let mut totals = Totals::default();
            for &(of_a, second, value) in &happened {
                let labels = LabelSet::new(&[("scenario", name(of_a))]).unwrap();
                let class = phases.class(Some(name(of_a)), second);
                let mut one = Histogram::new();
                one.record(value).unwrap();
                let buckets = one.encode_buckets();
                let delta = testmesh_shared::metric::TrendDelta::new(value, value, value, &buckets).unwrap();
                for (metric, change) in [
                    (MetricId::StageRetries, Change::Counter(value)),
                    (MetricId::SessionDuration, Change::Trend(delta)),
                    (MetricId::StreamsOpen, Change::Gauge(to_f64(value))),
                ] {
                    let id = totals.intern(metric, &labels).unwrap();
                    totals.add(id, second, class, &change);
                }
            }
            let model = Model { named: &named, warm, after: starts_late.then_some(after), matchers: &matchers };
            let counts = |one: &&Happened| model.counts(one.0, one.1);
            let counted: Vec<_> = happened.iter().filter(counts).collect();
            let span = selector.span_or(Span::JUDGED);
            let sum: u64 = counted.iter().map(|(_, _, value)| value).sum();
            prop_assert_eq!(totals.counter(MetricId::StageRetries, &selector, span), sum);
            let mut all = Histogram::new();
            counted.iter().for_each(|(_, _, value)| all.record(*value).unwrap());
            let trend = totals.trend(MetricId::SessionDuration, &selector, span);
            prop_assert_eq!(trend.count(), all.count());
            prop_assert_eq!(trend.sum_ns(), all.sum_ns());
            prop_assert_eq!((trend.min_ns(), trend.max_ns()), (all.min_ns(), all.max_ns()));
            prop_assert_eq!(trend.iter().collect::<Vec<_>>(), all.iter().collect::<Vec<_>>());
            let mut levels: BTreeMap<u32, f64> = BTreeMap::new();
            counted.iter().for_each(|(_, second, value)| *levels.entry(*second).or_default() += to_f64(*value));
            let got = totals.levels(MetricId::StreamsOpen, &selector, span);
            prop_assert_eq!(got, levels);
        }
    }
}
