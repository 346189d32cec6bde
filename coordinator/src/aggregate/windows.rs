//! Series over time, for plots and for comparison: counters and trends by window.
//!
//! Windows begin with one second each and are merged into coarser ones when they become too many or too large, so that a
//! run of a day costs no more than one of ten minutes. Windows that nobody adds to any more are kept encoded, which takes
//! a tenth of the memory. Gauges are not here: their seconds are in the totals.
use crate::limits;
use std::collections::BTreeMap;
use testmesh_shared::metric::{Change, Histogram, SeriesId, TrendDelta};

/// Lengths that windows can have, in seconds.
const RESOLUTIONS: [u32; 5] = [1, 10, 60, 600, 3_600];
/// Seconds after which a window is encoded: batches come a second or two late.
const FREEZE_AFTER: u32 = 10;

/// What one series gained in one window.
#[derive(Clone, Debug)]
pub enum Cell {
    /// A counter's gain.
    Counter(u64),
    /// A trend that is still added to.
    Hot(Box<Histogram>),
    /// A trend at rest.
    Frozen(Box<Frozen>),
}

/// An encoded histogram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// Measurements.
    pub count: u64,
    /// Exact sum in nanoseconds.
    pub sum_ns: u64,
    /// Least, in nanoseconds.
    pub min_ns: u64,
    /// Greatest, in nanoseconds.
    pub max_ns: u64,
    /// The buckets as on the wire.
    pub buckets: Box<[u8]>,
}

impl Frozen {
    /// Encodes a histogram.
    pub fn of(histogram: &Histogram) -> Self {
        Self {
            count: histogram.count(),
            sum_ns: u64::try_from(histogram.sum_ns()).unwrap_or(u64::MAX),
            min_ns: histogram.min_ns().unwrap_or(0),
            max_ns: histogram.max_ns().unwrap_or(0),
            buckets: histogram.encode_buckets().into_boxed_slice(),
        }
    }

    /// Adds it to a histogram.
    pub fn merge_into(&self, histogram: &mut Histogram) {
        // A histogram that was never added to is encoded as nothing, which is no delta.
        if let Ok(delta) = TrendDelta::new(self.sum_ns, self.min_ns, self.max_ns, &self.buckets) {
            histogram.merge_delta(&delta);
        }
    }
}

impl Cell {
    pub(super) fn bytes(&self) -> usize {
        size_of::<(u32, Self)>()
            + match self {
                Self::Counter(_) => 0,
                Self::Hot(histogram) => histogram.memory(),
                Self::Frozen(frozen) => size_of::<Frozen>() + frozen.buckets.len(),
            }
    }

    /// The trend of this window.
    pub fn merge_into(&self, histogram: &mut Histogram) {
        match self {
            Self::Counter(_) => {}
            Self::Hot(hot) => histogram.merge(hot),
            Self::Frozen(frozen) => frozen.merge_into(histogram),
        }
    }

    /// One that nothing was added to, for changes of this kind.
    pub(super) fn empty(change: &Change<'_>) -> Self {
        match change {
            Change::Trend(_) => Self::Hot(Box::default()),
            Change::Counter(_) | Change::Gauge(_) => Self::Counter(0),
        }
    }

    /// Adds a change of its kind.
    pub(super) fn gain(&mut self, change: &Change<'_>) {
        match (self.thawed(), change) {
            (Self::Counter(sum), Change::Counter(more)) => *sum = sum.saturating_add(*more),
            (Self::Hot(sum), Change::Trend(delta)) => sum.merge_delta(delta),
            (Self::Counter(_) | Self::Hot(_) | Self::Frozen(_), _) => {}
        }
    }

    /// Makes it ready to be added to.
    fn thawed(&mut self) -> &mut Self {
        if let Self::Frozen(frozen) = self {
            let mut histogram = Box::<Histogram>::default();
            frozen.merge_into(&mut histogram);
            *self = Self::Hot(histogram);
        }
        self
    }

    fn add(&mut self, other: &Self) {
        match (self.thawed(), other) {
            (Self::Counter(sum), Self::Counter(more)) => *sum = sum.saturating_add(*more),
            (Self::Hot(sum), more) => more.merge_into(sum),
            (Self::Counter(_) | Self::Frozen(_), _) => {}
        }
    }

    pub(super) fn freeze(&mut self) {
        if let Self::Hot(hot) = self {
            *self = Self::Frozen(Box::new(Frozen::of(hot)));
        }
    }
}

/// All windows of one run.
#[derive(Debug)]
pub struct Windows {
    resolution: usize,
    newest: u32,
    bytes: usize,
    bytes_max: usize,
    /// By the series' number, then by the window's first second.
    series: Vec<BTreeMap<u32, Cell>>,
    /// Windows with cells that are still hot, and whose.
    hot: BTreeMap<u32, Vec<usize>>,
}

impl Default for Windows {
    fn default() -> Self {
        Self::new(limits::MAX_WINDOW_BYTES)
    }
}

impl Windows {
    /// Empty windows that take at most about this much memory.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            resolution: 0,
            newest: 0,
            bytes: 0,
            bytes_max,
            series: Vec::new(),
            hot: BTreeMap::new(),
        }
    }

    /// The length of a window in seconds.
    pub fn resolution(&self) -> u32 {
        RESOLUTIONS[self.resolution]
    }

    /// Adds what a series gained in one second. Gauges are ignored.
    pub fn add(&mut self, id: SeriesId, second: u32, change: &Change<'_>) {
        if matches!(change, Change::Gauge(_)) {
            return;
        }
        if second > self.newest {
            self.newest = second;
            self.freeze_before(second.saturating_sub(FREEZE_AFTER));
        }
        if self.series.len() <= id.index() {
            self.series.resize_with(id.index() + 1, BTreeMap::new);
        }
        let window = second - second % self.resolution();
        let (cell, before) = match self.series[id.index()].entry(window) {
            std::collections::btree_map::Entry::Occupied(slot) => {
                let cell = slot.into_mut();
                let before = cell.bytes();
                (cell, before)
            }
            std::collections::btree_map::Entry::Vacant(slot) => {
                (slot.insert(Cell::empty(change)), 0)
            }
        };
        let was_hot = before > 0 && matches!(cell, Cell::Hot(_));
        cell.gain(change);
        self.bytes = (self.bytes + cell.bytes()).saturating_sub(before);
        if !was_hot && matches!(cell, Cell::Hot(_)) {
            self.hot.entry(window).or_default().push(id.index());
        }
        self.coarsen_while_too_large();
    }

    /// The windows of one series, by their first second.
    pub fn of(&self, id: SeriesId) -> impl Iterator<Item = (u32, &Cell)> {
        self.series
            .get(id.index())
            .into_iter()
            .flatten()
            .map(|(window, cell)| (*window, cell))
    }

    fn freeze_before(&mut self, second: u32) {
        let resolution = self.resolution();
        while let Some(entry) = self
            .hot
            .first_entry()
            .filter(|entry| entry.key() + resolution <= second)
        {
            let (window, ids) = entry.remove_entry();
            for id in ids {
                if let Some(cell) = self.series[id].get_mut(&window) {
                    let before = cell.bytes();
                    cell.freeze();
                    self.bytes = (self.bytes + cell.bytes()).saturating_sub(before);
                }
            }
        }
    }

    fn coarsen_while_too_large(&mut self) {
        let too_many = |windows: &Self| {
            let count =
                usize::try_from(windows.newest / windows.resolution()).unwrap_or(usize::MAX);
            count > limits::MAX_WINDOWS || windows.bytes > windows.bytes_max
        };
        while too_many(self) && self.resolution + 1 < RESOLUTIONS.len() {
            self.resolution += 1;
            self.coarsen();
        }
    }

    fn coarsen(&mut self) {
        let resolution = self.resolution();
        self.bytes = 0;
        self.hot.clear();
        for cells in &mut self.series {
            let mut coarse: BTreeMap<u32, Cell> = BTreeMap::new();
            for (second, cell) in std::mem::take(cells) {
                match coarse.entry(second - second % resolution) {
                    std::collections::btree_map::Entry::Occupied(mut slot) => {
                        slot.get_mut().add(&cell)
                    }
                    std::collections::btree_map::Entry::Vacant(slot) => {
                        slot.insert(cell);
                    }
                }
            }
            // Whatever is added to again thaws; a coarse window is at rest most of its time.
            coarse.values_mut().for_each(Cell::freeze);
            self.bytes += coarse.values().map(Cell::bytes).sum::<usize>();
            *cells = coarse;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testmesh_shared::metric::{Interner, LabelSet, MetricId};

    fn trend(windows: &mut Windows, id: SeriesId, second: u32, ns: u64) {
        let mut histogram = Histogram::new();
        histogram.record(ns).unwrap();
        let buckets = histogram.encode_buckets();
        let delta = TrendDelta::new(ns, ns, ns, &buckets).unwrap();
        windows.add(id, second, &Change::Trend(delta));
    }

    fn ids() -> (SeriesId, SeriesId) {
        let mut interner = Interner::new();
        let counter = interner
            .intern(MetricId::StreamRows, &LabelSet::EMPTY)
            .unwrap();
        (
            counter,
            interner
                .intern(MetricId::StreamGap, &LabelSet::EMPTY)
                .unwrap(),
        )
    }

    fn merged(windows: &Windows, id: SeriesId) -> Histogram {
        let mut all = Histogram::new();
        windows
            .of(id)
            .for_each(|(_, cell)| cell.merge_into(&mut all));
        all
    }

    #[test]
    fn a_long_run_has_coarse_windows_and_loses_nothing() {
        let (counter, gap) = ids();
        let mut windows = Windows::default();
        for second in 0..7_000_u32 {
            windows.add(counter, second, &Change::Counter(1));
            trend(&mut windows, gap, second, u64::from(second + 1) * 1_000);
        }
        assert_eq!(windows.resolution(), 60);
        assert!(windows.of(counter).count() <= limits::MAX_WINDOWS);
        let sum: u64 = windows
            .of(counter)
            .map(|(_, cell)| if let Cell::Counter(n) = cell { *n } else { 0 })
            .sum();
        assert_eq!(sum, 7_000);
        let all = merged(&windows, gap);
        assert_eq!(
            (all.count(), all.min_ns(), all.max_ns()),
            (7_000, Some(1_000), Some(7_000_000))
        );
    }

    #[test]
    fn what_comes_late_still_finds_its_window() {
        let (_, gap) = ids();
        let mut windows = Windows::default();
        trend(&mut windows, gap, 3, 1_000);
        trend(&mut windows, gap, 100, 1_000);
        assert!(
            windows
                .of(gap)
                .any(|(second, cell)| second == 3 && matches!(cell, Cell::Frozen(_)))
        );
        trend(&mut windows, gap, 3, 2_000);
        let at_three = windows.of(gap).find(|(second, _)| *second == 3).unwrap().1;
        let mut histogram = Histogram::new();
        at_three.merge_into(&mut histogram);
        assert_eq!(histogram.count(), 2);
        assert_eq!(merged(&windows, gap).count(), 3);
    }

    #[test]
    fn short_memory_makes_windows_coarse_early() {
        let (_, gap) = ids();
        let mut windows = Windows::new(40 * 1024);
        for second in 0..200 {
            for ns in [1_000, 1_000_000, 1_000_000_000] {
                trend(&mut windows, gap, second, ns);
            }
        }
        assert!(windows.resolution() > 1);
        assert_eq!(merged(&windows, gap).count(), 600);
    }
}
