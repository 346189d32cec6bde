//! Counters and trends of one worker, by the second they belong to.
//!
//! Almost everything belongs to the current second: it has dense arrays and two comparisons decide. What belongs to an
//! older second (a stage that took a while and is kept where it started) goes to a map, a few entries per second.

use std::collections::HashMap;
use std::time::Duration;

use testmesh_shared::metric::Histogram;
use tokio::time::Instant;

use super::catalog::{CounterId, TrendId};
use super::recording::RunClock;

/// The measurements of one worker since the last cut.
#[derive(Debug)]
pub(crate) struct Frames {
    clock: RunClock,
    /// The current second is `[from, to)`; empty until the first measurement.
    from: Instant,
    to: Instant,
    second: u32,
    counters: Vec<u64>,
    trends: Vec<Option<Box<Histogram>>>,
    older_counters: HashMap<(u32, CounterId), u64>,
    older_trends: HashMap<(u32, TrendId), Box<Histogram>>,
    out_of_range: u64,
}

/// What [`Frames::take`] hands out: each value with its second and its slot.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) counters: HashMap<(u32, CounterId), u64>,
    pub(crate) trends: HashMap<(u32, TrendId), Box<Histogram>>,
    pub(crate) out_of_range: u64,
}

impl Frames {
    pub(crate) fn new(clock: RunClock, now: Instant) -> Self {
        Self {
            clock,
            from: now,
            to: now,
            second: 0,
            counters: Vec::new(),
            trends: Vec::new(),
            older_counters: HashMap::new(),
            older_trends: HashMap::new(),
            out_of_range: 0,
        }
    }

    /// Adds to a counter in the second that `at` belongs to.
    #[inline]
    pub(crate) fn count(&mut self, id: CounterId, at: Instant, by: u64) {
        if self.is_current(at) {
            match self.counters.get_mut(id.index()) {
                Some(value) => *value += by,
                None => self.grow_counters(id, by),
            }
        } else {
            *self
                .older_counters
                .entry((self.clock.second(at), id))
                .or_default() += by;
        }
    }

    /// Adds one duration to a trend in the second that `at` belongs to.
    #[inline]
    pub(crate) fn observe(&mut self, id: TrendId, at: Instant, value: Duration) {
        let recorded = if self.is_current(at) {
            match self.trends.get_mut(id.index()) {
                Some(Some(trend)) => trend.record_duration(value),
                _ => self.first_of_second(id).record_duration(value),
            }
        } else {
            let second = self.clock.second(at);
            self.older_trends
                .entry((second, id))
                .or_default()
                .record_duration(value)
        };
        if recorded.is_err() {
            self.out_of_range += 1;
        }
    }

    /// Takes everything measured so far and leaves nothing behind.
    pub(crate) fn take(&mut self) -> Taken {
        self.flush();
        Taken {
            counters: std::mem::take(&mut self.older_counters),
            trends: std::mem::take(&mut self.older_trends),
            out_of_range: std::mem::take(&mut self.out_of_range),
        }
    }

    /// Whether `at` lies in the current second; moves on to the next one if it lies beyond.
    #[inline]
    fn is_current(&mut self, at: Instant) -> bool {
        if at >= self.to {
            self.advance(at);
        }
        at >= self.from && at < self.to
    }

    #[cold]
    fn advance(&mut self, at: Instant) {
        self.flush();
        (self.second, self.from, self.to) = self.clock.bounds(at);
    }

    /// Moves the current second's values to the map.
    fn flush(&mut self) {
        for (index, value) in self.counters.iter_mut().enumerate() {
            if *value > 0 {
                let key = (self.second, CounterId::from_index(index));
                *self.older_counters.entry(key).or_default() += std::mem::take(value);
            }
        }
        for (index, slot) in self.trends.iter_mut().enumerate() {
            let Some(trend) = slot.take() else { continue };
            let key = (self.second, TrendId::from_index(index));
            match self.older_trends.get_mut(&key) {
                Some(older) => older.merge(&trend),
                None => {
                    self.older_trends.insert(key, trend);
                }
            }
        }
    }

    #[cold]
    fn grow_counters(&mut self, id: CounterId, by: u64) {
        self.counters.resize(id.index() + 1, 0);
        self.counters[id.index()] += by;
    }

    #[cold]
    fn first_of_second(&mut self, id: TrendId) -> &mut Histogram {
        if self.trends.len() <= id.index() {
            self.trends.resize_with(id.index() + 1, || None);
        }
        self.trends[id.index()].get_or_insert_default()
    }
}
