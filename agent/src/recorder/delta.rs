//! What a worker measured since its last cut, as plain data, and the sum over workers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use testmesh_shared::metric::Histogram;

use super::catalog::{CounterId, GaugeId, TrendId};
use super::finding::{Finding, Findings, Pictures};
use super::recording::Recorder;
use super::slow::{SlowSession, Slowest};
use super::witness::{GroupKey, Merged, Rows, SeenStream};
use crate::limits;

/// What one worker measured since its last cut.
#[derive(Debug, Default)]
pub struct Delta {
    /// The second of the run in which it was cut.
    pub second: u32,
    pub(crate) counters: HashMap<(u32, CounterId), u64>,
    pub(crate) trends: HashMap<(u32, TrendId), Box<Histogram>>,
    /// Minima of seconds that are over.
    pub(crate) gauges: Vec<(u32, GaugeId, u64)>,
    pub(crate) rows: HashMap<GroupKey, Rows>,
    pub(crate) streams: Vec<SeenStream>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) slowest: Vec<SlowSession>,
    /// Sessions in flight now, by scenario.
    pub(crate) in_flight: HashMap<Arc<str>, u64>,
    pub(crate) losses: HashMap<&'static str, u64>,
}

impl Delta {
    /// Whether nothing was measured and nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.counters.is_empty()
            && self.trends.is_empty()
            && self.gauges.is_empty()
            && self.rows.is_empty()
            && self.streams.is_empty()
            && self.findings.is_empty()
            && self.slowest.is_empty()
            && self.losses.is_empty()
            && self.in_flight.values().all(|sessions| *sessions == 0)
    }

    /// The sum of a counter over its labels and seconds, for tests.
    pub fn counter(&self, recorder: &Recorder, metric: &str) -> u64 {
        let named = |id| {
            recorder
                .catalog()
                .counter_key(id)
                .is_some_and(|key| key.metric.name() == metric)
        };
        self.counters
            .iter()
            .filter(|((_, id), _)| named(*id))
            .map(|(_, value)| value)
            .sum()
    }

    /// How many durations a trend holds, over its labels and seconds, for tests.
    pub fn observed(&self, recorder: &Recorder, metric: &str) -> u64 {
        let named = |id| {
            recorder
                .catalog()
                .trend_key(id)
                .is_some_and(|key| key.metric.name() == metric)
        };
        self.trends
            .iter()
            .filter(|((_, id), _)| named(*id))
            .map(|(_, trend)| trend.count())
            .sum()
    }
}

/// Adds up the deltas of all workers of an agent.
///
/// Counters, trends and rows add. A gauge's second is complete when every worker has passed it.
#[derive(Debug)]
pub struct Merge {
    sum: Delta,
    seen: Merged,
    /// Seconds that not every worker has passed yet: least values so far, summed.
    pending: BTreeMap<(u32, GaugeId), u64>,
    /// The second each worker has reached.
    reached: Vec<u32>,
    in_flight: Vec<HashMap<Arc<str>, u64>>,
    findings: Findings,
    pictures: Pictures,
    slowest: Slowest,
}

impl Merge {
    /// Nothing, from so many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            sum: Delta::default(),
            seen: Merged::default(),
            pending: BTreeMap::new(),
            reached: vec![0; workers],
            in_flight: vec![HashMap::new(); workers],
            findings: Findings::default(),
            pictures: Pictures::default(),
            slowest: Slowest::new(limits::SLOWEST),
        }
    }

    /// Adds a delta of one worker. Its deltas come in the order in which they were cut. Returns rows that there is no room
    /// for until the sum is taken: they cannot be compared.
    #[must_use]
    pub fn add(&mut self, worker: usize, delta: Delta) -> Vec<(GroupKey, u64)> {
        let sum = &mut self.sum;
        sum.second = sum.second.max(delta.second);
        for (key, value) in delta.counters {
            *sum.counters.entry(key).or_default() += value;
        }
        for (key, trend) in delta.trends {
            match sum.trends.get_mut(&key) {
                Some(known) => known.merge(&trend),
                None => {
                    sum.trends.insert(key, trend);
                }
            }
        }
        let mut lost = Vec::new();
        self.seen.add(delta.rows, delta.streams, |group, rows| {
            if rows > 0 {
                lost.push((group.clone(), rows));
            }
        });
        for (what, count) in delta.losses {
            *sum.losses.entry(what).or_default() += count;
        }
        for (second, id, least) in delta.gauges {
            *self.pending.entry((second, id)).or_default() += least;
        }
        delta
            .findings
            .into_iter()
            .for_each(|finding| self.findings.add(finding));
        delta
            .slowest
            .into_iter()
            .for_each(|session| self.slowest.enter(session));
        self.reached[worker] = delta.second;
        self.in_flight[worker] = delta.in_flight;
        lost
    }

    /// Adds to a counter, as a worker would have.
    pub fn count(&mut self, id: CounterId, second: u32, by: u64) {
        *self.sum.counters.entry((second, id)).or_default() += by;
    }

    /// Adds to a loss, as a worker would have.
    pub fn loss(&mut self, what: &'static str, count: u64) {
        *self.sum.losses.entry(what).or_default() += count;
    }

    /// The least second that every worker has reached.
    pub fn reached(&self) -> u32 {
        self.reached.iter().copied().min().unwrap_or_default()
    }

    /// Nothing more will come for a while: gauges of every second that any worker has passed are complete.
    pub fn complete_gauges(&mut self) {
        let last = self.reached.iter().copied().max().unwrap_or_default();
        self.reached.fill(last);
    }

    /// Whether there are so many rows that the sum should be taken now.
    pub fn is_large(&self) -> bool {
        self.seen.is_large()
    }

    /// Takes the sum so far; gauges of seconds that are not complete stay.
    pub fn take(&mut self) -> Delta {
        let mut taken = std::mem::take(&mut self.sum);
        self.sum.second = taken.second;
        let seen = std::mem::take(&mut self.seen);
        (taken.rows, taken.streams) = (seen.rows, seen.streams);
        let rest = self.pending.split_off(&(self.reached(), GaugeId::DISCARD));
        let complete = std::mem::replace(&mut self.pending, rest);
        taken.gauges = complete
            .into_iter()
            .map(|((second, id), least)| (second, id, least))
            .collect();
        let (mut findings, lost) = self.findings.take();
        let unseen = self.pictures.bound(&mut findings);
        taken.findings = findings;
        for (what, lost) in [("findings", lost), ("screenshots", unseen)] {
            if lost > 0 {
                *taken.losses.entry(what).or_default() += lost;
            }
        }
        taken.slowest = self.slowest.take();
        for worker in &self.in_flight {
            for (scenario, count) in worker {
                *taken.in_flight.entry(Arc::clone(scenario)).or_default() += count;
            }
        }
        taken
    }
}
