//! The catalog of a run's series on one agent: names and labels on one side, small dense numbers on the other.
//!
//! Shared by all workers of a run, so that their numbers agree and merging is indexing. Its lock is taken when a worker
//! meets a series for the first time, never per measurement. The number of series is bounded; what lies beyond shares
//! slot 0, whose content is thrown away, and is counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use testmesh_shared::metric::{LabelSet, MetricId};

/// Name and labels of one series. The labels are sorted by name; `site` is the agent's and not among them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    /// The metric.
    pub metric: MetricId,
    /// Label names and values, sorted by name.
    pub labels: Vec<(&'static str, Arc<str>)>,
}

impl SeriesKey {
    /// Names a series; the labels may come in any order.
    pub fn new(metric: MetricId, labels: &[(&'static str, &str)]) -> Self {
        let mut labels: Vec<_> = labels
            .iter()
            .map(|&(name, value)| (name, Arc::from(value)))
            .collect();
        labels.sort_unstable();
        Self { metric, labels }
    }

    /// The labels in the form that batches take.
    pub fn label_set(&self) -> LabelSet<'_> {
        let pairs: Vec<(&str, &str)> = self
            .labels
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        LabelSet::new(&pairs).expect("the recorder's own labels are few, each once")
    }
}

macro_rules! slot {
    ($name:ident, $what:literal) => {
        #[doc = concat!("The slot of one ", $what, " in every worker's arrays.")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u32);

        impl $name {
            /// Where series beyond the bound end up; its content is never shipped.
            pub(crate) const DISCARD: Self = Self(0);

            /// The index into a dense array.
            pub(crate) fn index(self) -> usize {
                usize::try_from(self.0).expect("a series number is far below usize::MAX")
            }

            pub(crate) fn from_index(index: usize) -> Self {
                Self(
                    u32::try_from(index)
                        .expect("the number of series is bounded far below u32::MAX"),
                )
            }
        }
    };
}

slot!(CounterId, "counter");
slot!(TrendId, "trend");
slot!(GaugeId, "gauge");

/// All series of one run on one agent.
#[derive(Debug)]
pub struct Catalog {
    bound: usize,
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    counters: Table,
    trends: Table,
    gauges: Table,
    refused: u64,
}

/// Slot `i + 1` holds `keys[i]`; slot 0 is the discard slot.
#[derive(Debug, Default)]
struct Table {
    slots: HashMap<SeriesKey, usize>,
    keys: Vec<SeriesKey>,
}

impl Table {
    fn find_or_add(&mut self, key: SeriesKey, full: bool) -> Option<usize> {
        if let Some(&slot) = self.slots.get(&key) {
            return Some(slot);
        }
        if full {
            return None;
        }
        self.keys.push(key.clone());
        self.slots.insert(key, self.keys.len());
        Some(self.keys.len())
    }

    fn key(&self, slot: usize) -> Option<SeriesKey> {
        slot.checked_sub(1)
            .and_then(|at| self.keys.get(at))
            .cloned()
    }
}

impl Catalog {
    /// An empty catalog of at most `bound` series.
    pub fn new(bound: usize) -> Self {
        Self {
            bound,
            tables: Mutex::default(),
        }
    }

    /// The slot of a counter, given out at its first use.
    pub fn counter(&self, key: SeriesKey) -> CounterId {
        let mut tables = self.lock();
        let full = tables.full(self.bound);
        match tables.counters.find_or_add(key, full) {
            Some(slot) => CounterId::from_index(slot),
            None => {
                tables.refused += 1;
                CounterId::DISCARD
            }
        }
    }

    /// The slot of a trend, given out at its first use.
    pub fn trend(&self, key: SeriesKey) -> TrendId {
        let mut tables = self.lock();
        let full = tables.full(self.bound);
        match tables.trends.find_or_add(key, full) {
            Some(slot) => TrendId::from_index(slot),
            None => {
                tables.refused += 1;
                TrendId::DISCARD
            }
        }
    }

    /// The slot of a gauge, given out at its first use.
    pub fn gauge(&self, key: SeriesKey) -> GaugeId {
        let mut tables = self.lock();
        let full = tables.full(self.bound);
        match tables.gauges.find_or_add(key, full) {
            Some(slot) => GaugeId::from_index(slot),
            None => {
                tables.refused += 1;
                GaugeId::DISCARD
            }
        }
    }

    /// What a counter's slot stands for; none for the discard slot.
    pub fn counter_key(&self, id: CounterId) -> Option<SeriesKey> {
        self.lock().counters.key(id.index())
    }

    /// What a trend's slot stands for; none for the discard slot.
    pub fn trend_key(&self, id: TrendId) -> Option<SeriesKey> {
        self.lock().trends.key(id.index())
    }

    /// What a gauge's slot stands for; none for the discard slot.
    pub fn gauge_key(&self, id: GaugeId) -> Option<SeriesKey> {
        self.lock().gauges.key(id.index())
    }

    /// How many requests for a series the bound turned away since the last call.
    pub fn take_refused(&self) -> u64 {
        std::mem::take(&mut self.lock().refused)
    }

    /// Nothing is left half-done under this lock, so a panic elsewhere does not spoil the tables.
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn full(&self, bound: usize) -> bool {
        self.counters.keys.len() + self.trends.keys.len() + self.gauges.keys.len() >= bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_labels_in_any_order_share_a_slot() {
        let catalog = Catalog::new(10);
        let one = catalog.counter(SeriesKey::new(
            MetricId::StagePolls,
            &[("a", "1"), ("b", "2")],
        ));
        let two = catalog.counter(SeriesKey::new(
            MetricId::StagePolls,
            &[("b", "2"), ("a", "1")],
        ));
        assert_eq!(one, two);
        assert_eq!(
            catalog.counter_key(one).unwrap().metric,
            MetricId::StagePolls
        );
    }

    #[test]
    fn beyond_the_bound_series_share_the_discard_slot_and_are_counted() {
        let catalog = Catalog::new(1);
        let kept = catalog.trend(SeriesKey::new(MetricId::StageDuration, &[]));
        let refused = catalog.counter(SeriesKey::new(MetricId::StageErrors, &[]));
        assert_ne!(kept, TrendId::DISCARD);
        assert_eq!(refused, CounterId::DISCARD);
        assert_eq!(catalog.counter_key(refused), None);
        assert_eq!((catalog.take_refused(), catalog.take_refused()), (1, 0));
    }
}
