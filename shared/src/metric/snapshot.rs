//! Values by series, merging exactly: in any order, in any grouping, however the measurements were split over agents.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::delta::TrendDelta;
use super::histogram::Histogram;
use super::series::SeriesKey;
use super::table::Kind;

/// What a series gained, as it comes from the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change<'a> {
    /// A counter grew by this much.
    Counter(u64),
    /// A gauge was at least this high throughout one second on one agent.
    Gauge(f64),
    /// A trend gained these durations.
    Trend(TrendDelta<'a>),
}

/// What a series holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A sum.
    Counter(u64),
    /// A sum over agents of what each proved. Levels are whole numbers, which add exactly; gauges that are not whole
    /// belong to one agent and are never added.
    Gauge(f64),
    /// All durations.
    Trend(Box<Histogram>),
}

impl Value {
    /// The value that nothing was added to.
    #[must_use]
    pub fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter(0),
            Kind::Gauge => Self::Gauge(0.0),
            Kind::Trend => Self::Trend(Box::default()),
        }
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Counter(_) => Kind::Counter,
            Self::Gauge(_) => Kind::Gauge,
            Self::Trend(_) => Kind::Trend,
        }
    }

    /// Adds what one agent counted. A change of another kind is not added: [`wire`](crate::wire) lets none through.
    pub fn apply(&mut self, change: &Change<'_>) {
        match (self, change) {
            (Self::Counter(sum), Change::Counter(more)) => *sum = sum.saturating_add(*more),
            (Self::Gauge(sum), Change::Gauge(more)) => *sum += more,
            (Self::Trend(all), Change::Trend(delta)) => all.merge_delta(delta),
            (value, change) => debug_assert!(false, "{change:?} was applied to a {}", value.kind()),
        }
    }

    /// Adds another value of the same kind.
    pub fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Counter(sum), Self::Counter(more)) => *sum = sum.saturating_add(*more),
            (Self::Gauge(sum), Self::Gauge(more)) => *sum += more,
            (Self::Trend(all), Self::Trend(more)) => all.merge(more),
            (value, other) => debug_assert!(
                false,
                "a {} was merged into a {}",
                other.kind(),
                value.kind()
            ),
        }
    }

    /// The number of a counter.
    #[must_use]
    pub const fn as_counter(&self) -> Option<u64> {
        match self {
            Self::Counter(sum) => Some(*sum),
            Self::Gauge(_) | Self::Trend(_) => None,
        }
    }

    /// The number of a gauge.
    #[must_use]
    pub const fn as_gauge(&self) -> Option<f64> {
        match self {
            Self::Gauge(sum) => Some(*sum),
            Self::Counter(_) | Self::Trend(_) => None,
        }
    }

    /// The durations of a trend.
    #[must_use]
    pub fn as_trend(&self) -> Option<&Histogram> {
        match self {
            Self::Trend(all) => Some(all),
            Self::Counter(_) | Self::Gauge(_) => None,
        }
    }
}

/// Values by series, for one span of time. Gauges of different seconds must not meet in one snapshot: a sum over seconds
/// of a level means nothing, so whoever rolls seconds up takes their least or greatest instead.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    series: BTreeMap<SeriesKey, Value>,
}

impl Snapshot {
    /// Holds no series.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            series: BTreeMap::new(),
        }
    }

    /// Adds what one agent counted.
    pub fn apply(&mut self, key: &SeriesKey, change: &Change<'_>) {
        self.value_mut(key).apply(change);
    }

    /// Adds all of another snapshot.
    pub fn merge(&mut self, other: &Self) {
        for (key, value) in &other.series {
            self.add(key, value);
        }
    }

    /// Adds a value to a series.
    pub fn add(&mut self, key: &SeriesKey, value: &Value) {
        match self.series.entry(key.clone()) {
            Entry::Vacant(slot) => {
                slot.insert(value.clone());
            }
            Entry::Occupied(mut slot) => slot.get_mut().merge(value),
        }
    }

    fn value_mut(&mut self, key: &SeriesKey) -> &mut Value {
        let kind = key.metric().metric().kind;
        self.series
            .entry(key.clone())
            .or_insert_with(|| Value::empty(kind))
    }

    /// The value of a series.
    #[must_use]
    pub fn value(&self, key: &SeriesKey) -> Option<&Value> {
        self.series.get(key)
    }

    /// All series, sorted by metric and labels.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&SeriesKey, &Value)> {
        self.series.iter()
    }

    /// The same values merged over a label, such as `site`.
    #[must_use]
    pub fn without_label(&self, name: &str) -> Self {
        let mut merged = Self::new();
        for (key, value) in &self.series {
            merged.add(&key.without(name), value);
        }
        merged
    }

    /// How many series there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::series::LabelSet;
    use super::super::table::MetricId;
    use super::*;

    /// One measurement: which agent made it, and in which series.
    #[derive(Debug, Clone)]
    enum Measured {
        Count(u64),
        Level(u32),
        Took(u64),
    }

    fn measured() -> impl Strategy<Value = (usize, u8, Measured)> {
        let value = prop_oneof![
            (0..1u64 << 50).prop_map(Measured::Count),
            any::<u32>().prop_map(Measured::Level),
            (0..3_600_000_000_000u64).prop_map(Measured::Took),
        ];
        (0usize..4, 0u8..3, value)
    }

    fn record(snapshot: &mut Snapshot, stage: u8, value: &Measured) {
        let stage = stage.to_string();
        let labels = LabelSet::new(&[("scenario", "s"), ("stage", &stage)]).unwrap();
        let key = |metric| SeriesKey::new(metric, &labels);
        match value {
            Measured::Count(n) => snapshot.apply(&key(MetricId::StagePolls), &Change::Counter(*n)),
            Measured::Level(n) => {
                snapshot.apply(&key(MetricId::StreamsOpen), &Change::Gauge(f64::from(*n)))
            }
            Measured::Took(ns) => {
                let mut histogram = Histogram::new();
                histogram.record(*ns).unwrap();
                snapshot.add(
                    &key(MetricId::StageDuration),
                    &Value::Trend(Box::new(histogram)),
                );
            }
        }
    }

    proptest! {
        /// However measurements are split over agents, and in whatever order the agents are merged, the whole is the same
        /// as if one agent had made them all.
        #[test]
        fn any_split_over_agents_merges_to_the_whole(
            all in prop::collection::vec(measured(), 0..60),
            order in Just([0usize, 1, 2, 3]).prop_shuffle(),
        ) {
            let mut whole = Snapshot::new();
            let mut agents = vec![Snapshot::new(); 4];
            for (agent, stage, value) in &all {
                record(&mut whole, *stage, value);
                record(&mut agents[*agent], *stage, value);
            }
            let mut chain = Snapshot::new();
            for place in order {
                chain.merge(&agents[place]);
            }
            prop_assert_eq!(&chain, &whole);
            // The other grouping: ((0 + 1) + (2 + 3)).
            let [a, b, c, d] = order;
            let (mut left, mut right) = (agents[a].clone(), agents[c].clone());
            left.merge(&agents[b]);
            right.merge(&agents[d]);
            right.merge(&left);
            prop_assert_eq!(&right, &whole);
        }
    }

    #[test]
    fn merging_over_sites_keeps_everything() {
        let mut snapshot = Snapshot::new();
        for site in ["haifa", "tokyo"] {
            let labels = LabelSet::new(&[("scenario", "s"), ("site", site)]).unwrap();
            snapshot.apply(
                &SeriesKey::new(MetricId::SessionsStarted, &labels),
                &Change::Counter(3),
            );
        }
        let merged = snapshot.without_label("site");
        let labels = LabelSet::new(&[("scenario", "s")]).unwrap();
        let key = SeriesKey::new(MetricId::SessionsStarted, &labels);
        assert_eq!(merged.value(&key).and_then(Value::as_counter), Some(6));
        assert_eq!((merged.len(), snapshot.len()), (1, 2));
    }
}
