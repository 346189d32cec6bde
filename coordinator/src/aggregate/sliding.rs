//! What sliding thresholds judge, by the second: for each side of each such threshold what it selects, and nothing else.
//!
//! A measurement belongs to the second in which its session or stage started, so it may come long after that second. So
//! seconds are kept until the run is judged, encoded like windows at rest, within a bound that a day of thirty thresholds
//! stays below. Beyond it nothing more is kept, and sliding thresholds have no data.
use super::totals::{Extremes, Selector};
use super::windows::Cell;
use crate::limits;
use crate::phase::{Class, Span};
use crate::verdict::{Criterion, Reading};
use std::collections::{BTreeMap, BTreeSet};
use testmesh_shared::metric::{Change, Histogram, Kind, MetricId, SeriesId, SeriesKey};

/// Seconds after which one is encoded: batches come a second or two late.
const FREEZE_AFTER: u32 = 10;
/// What a second takes without its measurements.
const SLOT_BYTES: usize = 48;

/// What one side of a threshold selects, by the second.
#[derive(Debug)]
pub struct Lane {
    metric: MetricId,
    selector: Selector,
    span: Span,
    base: Option<(MetricId, Selector, Span)>,
    cells: BTreeMap<u32, Cell>,
    levels: BTreeMap<u32, Extremes>,
    bases: BTreeMap<u32, u64>,
    hot: BTreeSet<u32>,
    newest: u32,
}

/// Both sides of one threshold.
#[derive(Debug)]
struct Track {
    criterion: usize,
    lanes: Vec<Lane>,
    /// The first second that has changed since spans were judged.
    changed: u32,
}

/// Where a series goes.
#[derive(Clone, Copy, Debug)]
struct Route {
    track: usize,
    lane: usize,
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Measured,
    Base,
}

/// All that sliding thresholds judge.
#[derive(Debug)]
pub struct Sliding {
    tracks: Vec<Track>,
    /// By the series' number.
    routes: Vec<Option<Vec<Route>>>,
    bytes: usize,
    bytes_max: usize,
    refused: u64,
}

impl Default for Sliding {
    fn default() -> Self {
        Self::new(&[], limits::MAX_SLIDING_BYTES)
    }
}

impl Sliding {
    /// Keeps what those of the criteria need that slide, in at most about this much memory.
    pub fn new(criteria: &[Criterion], bytes_max: usize) -> Self {
        let tracks = criteria.iter().enumerate();
        let tracks = tracks.filter(|(_, criterion)| criterion.over.is_some());
        Self {
            tracks: tracks
                .map(|(number, criterion)| Track {
                    criterion: number,
                    lanes: criterion.readings().map(Lane::new).collect(),
                    changed: 0,
                })
                .collect(),
            routes: Vec::new(),
            bytes: 0,
            bytes_max,
            refused: 0,
        }
    }

    /// Adds what a series gained in one second.
    pub fn add(
        &mut self,
        id: SeriesId,
        key: &SeriesKey,
        second: u32,
        class: Class,
        change: &Change<'_>,
    ) {
        if self.tracks.is_empty() {
            return;
        }
        if self.routes.len() <= id.index() {
            self.routes.resize(id.index() + 1, None);
        }
        let tracks = &self.tracks;
        let routes = self.routes[id.index()].get_or_insert_with(|| routes(tracks, key));
        for Route { track, lane, role } in routes {
            let track = &mut self.tracks[*track];
            let lane = &mut track.lanes[*lane];
            if !lane.takes(*role, class) {
                continue;
            }
            if self.bytes > self.bytes_max {
                self.refused += 1;
                continue;
            }
            let before = lane.bytes_at(second);
            match role {
                Role::Measured => lane.add(second, change),
                Role::Base => lane.add_base(second, change),
            }
            self.bytes = (self.bytes + lane.bytes_at(second)).saturating_sub(before);
            self.bytes = self.bytes.saturating_sub(lane.freeze());
            track.changed = track.changed.min(second);
        }
    }

    /// Whether everything was kept.
    pub fn is_complete(&self) -> bool {
        self.refused == 0
    }

    /// The sides of the threshold with that number.
    pub fn lanes(&self, criterion: usize) -> &[Lane] {
        let mut tracks = self.tracks.iter();
        let track = tracks.find(|track| track.criterion == criterion);
        track.map_or(&[], |track| &track.lanes)
    }

    /// The first second that has changed since the spans of that threshold were judged: those that end before are as they were.
    pub fn changed(&self, criterion: usize) -> u32 {
        let mut tracks = self.tracks.iter();
        let track = tracks.find(|track| track.criterion == criterion);
        track.map_or(0, |track| track.changed)
    }

    /// All spans that end before this second have been judged.
    pub fn judged(&mut self, until: u32) {
        self.tracks
            .iter_mut()
            .for_each(|track| track.changed = until);
    }
}

fn routes(tracks: &[Track], key: &SeriesKey) -> Vec<Route> {
    let mut routes = Vec::new();
    for (track, one) in tracks.iter().enumerate() {
        for (lane, side) in one.lanes.iter().enumerate() {
            let mut go = |role| routes.push(Route { track, lane, role });
            if side.metric == key.metric() && side.selector.takes(key) {
                go(Role::Measured);
            }
            if let Some((metric, selector, _)) = &side.base
                && *metric == key.metric()
                && selector.takes(key)
            {
                go(Role::Base);
            }
        }
    }
    routes
}

impl Lane {
    fn new(reading: &Reading) -> Self {
        let base = reading.base();
        Self {
            metric: reading.metric,
            selector: reading.selector.clone(),
            span: reading.span(),
            base: base.map(|(_, metric, selector, span)| (metric, selector, span)),
            cells: BTreeMap::new(),
            levels: BTreeMap::new(),
            bases: BTreeMap::new(),
            hot: BTreeSet::new(),
            newest: 0,
        }
    }

    fn takes(&self, role: Role, class: Class) -> bool {
        match (role, &self.base) {
            (Role::Measured, _) => self.span.takes(class),
            (Role::Base, Some((_, _, span))) => span.takes(class),
            (Role::Base, None) => false,
        }
    }

    fn add(&mut self, second: u32, change: &Change<'_>) {
        self.newest = self.newest.max(second);
        match change {
            Change::Gauge(value) => {
                let of_agent = self.metric.metric().is_of_agent();
                let level = Extremes::one(*value);
                let known = self.levels.get(&second).copied();
                let sum = known.map_or(level, |known| match of_agent {
                    true => known.and(level),
                    false => Extremes::one(known.max + value),
                });
                self.levels.insert(second, sum);
            }
            Change::Counter(_) | Change::Trend(_) => {
                let cell = self
                    .cells
                    .entry(second)
                    .or_insert_with(|| Cell::empty(change));
                cell.gain(change);
                if matches!(cell, Cell::Hot(_)) {
                    self.hot.insert(second);
                }
            }
        }
    }

    fn add_base(&mut self, second: u32, change: &Change<'_>) {
        let more = match change {
            Change::Counter(more) => *more,
            Change::Trend(delta) => delta.count(),
            Change::Gauge(_) => 0,
        };
        let base = self.bases.entry(second).or_default();
        *base = base.saturating_add(more);
    }

    fn bytes_at(&self, second: u32) -> usize {
        let cell = self.cells.get(&second).map_or(0, Cell::bytes);
        let slots = usize::from(self.levels.contains_key(&second))
            + usize::from(self.bases.contains_key(&second));
        cell + slots * SLOT_BYTES
    }

    /// Encodes what nobody adds to any more, and says how much memory that frees.
    fn freeze(&mut self) -> usize {
        let mut freed: usize = 0;
        while let Some(second) = self.hot.first().copied()
            && second + FREEZE_AFTER < self.newest
        {
            self.hot.remove(&second);
            if let Some(cell) = self.cells.get_mut(&second) {
                let before = cell.bytes();
                cell.freeze();
                freed += before.saturating_sub(cell.bytes());
            }
        }
        freed
    }

    /// The spans of so many seconds that end in these seconds, one after another. The first must end with its length at
    /// least.
    pub fn windows(&self, over: u32, ends: std::ops::Range<u32>) -> LaneWindows<'_> {
        LaneWindows {
            lane: self,
            over,
            ends,
            count: None,
            base: 0,
            suffixes: Vec::new(),
            prefix: Histogram::new(),
        }
    }

    fn count_at(&self, second: u32) -> u128 {
        match self.cells.get(&second) {
            Some(Cell::Counter(count)) => u128::from(*count),
            _ => 0,
        }
    }

    fn base_at(&self, second: u32) -> u128 {
        self.bases.get(&second).copied().map_or(0, u128::from)
    }
}

/// What one side selects in one span.
#[derive(Clone, Debug, Default)]
pub struct WindowSample {
    /// A counter's gain.
    pub count: u64,
    /// A trend's measurements.
    pub trend: Histogram,
    /// A gauge's levels.
    pub levels: Option<Extremes>,
    /// What `rate` divides by.
    pub base: u64,
}

/// Spans of one lane. Each costs a few merges, however long it is: seconds are merged backwards into suffixes of blocks as
/// long as a span, and a span is a suffix of one block and a prefix of the next.
#[derive(Debug)]
pub struct LaneWindows<'a> {
    lane: &'a Lane,
    over: u32,
    ends: std::ops::Range<u32>,
    /// Of the span before.
    count: Option<u128>,
    base: u128,
    /// The next one last.
    suffixes: Vec<Histogram>,
    prefix: Histogram,
}

impl LaneWindows<'_> {
    fn trend(&mut self, start: u32, end: u32) -> Histogram {
        if self.lane.metric.metric().kind != Kind::Trend {
            return Histogram::new();
        }
        let cells = &self.lane.cells;
        if self.suffixes.is_empty() {
            let mut suffix = Histogram::new();
            for second in (start..=end).rev() {
                if let Some(cell) = cells.get(&second) {
                    cell.merge_into(&mut suffix);
                }
                self.suffixes.push(suffix.clone());
            }
            self.prefix = Histogram::new();
        } else if let Some(cell) = cells.get(&end) {
            cell.merge_into(&mut self.prefix);
        }
        let mut trend = self.suffixes.pop().unwrap_or_default();
        trend.merge(&self.prefix);
        trend
    }

    fn counts(&mut self, start: u32, end: u32) -> (u64, u64) {
        let lane = self.lane;
        let (count, base) = match self.count {
            Some(count) => {
                let gone = start - 1;
                (
                    count + lane.count_at(end) - lane.count_at(gone),
                    self.base + lane.base_at(end) - lane.base_at(gone),
                )
            }
            None => (
                (start..=end).map(|second| lane.count_at(second)).sum(),
                (start..=end).map(|second| lane.base_at(second)).sum(),
            ),
        };
        (self.count, self.base) = (Some(count), base);
        let bounded = |sum: u128| u64::try_from(sum).unwrap_or(u64::MAX);
        (bounded(count), bounded(base))
    }
}

impl Iterator for LaneWindows<'_> {
    type Item = WindowSample;

    fn next(&mut self) -> Option<WindowSample> {
        let end = self.ends.next()?;
        let start = (end + 1).saturating_sub(self.over);
        let (count, base) = self.counts(start, end);
        let levels = self.lane.levels.range(start..=end);
        Some(WindowSample {
            count,
            trend: self.trend(start, end),
            levels: levels.map(|(_, level)| *level).reduce(Extremes::and),
            base,
        })
    }
}

#[cfg(test)]
#[path = "sliding_tests.rs"]
mod tests;
