//! The laws of recording: however measurements are spread over workers and cuts, their merged whole is the same.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use testmesh_shared::metric::MetricId;
use tokio::time::Instant;

use super::{
    Catalog, Delta, Merge, Recorder, RunClock, SessionView, StageMeter, StageNotes, StageSeries,
};
use crate::driver::{Meter, RowKey};
use crate::limits;

/// One measurement, and what happens around it.
#[derive(Clone, Debug)]
struct Event {
    worker: usize,
    /// Since the one before, over all workers.
    after: Duration,
    /// The stage had been going on for so long.
    age: Duration,
    session: u64,
    row: i64,
    cut: bool,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = (
        0_usize..3,
        0_u64..900,
        0_u64..4_000,
        0_u64..6,
        0_i64..5,
        any::<bool>(),
    );
    let event = event.prop_map(|(worker, after, age, session, row, cut)| Event {
        worker,
        after: Duration::from_millis(after),
        age: Duration::from_millis(age),
        // A session never leaves its worker.
        session: session * 3 + worker as u64,
        row,
        cut,
    });
    proptest::collection::vec(event, 1..80)
}

struct Worker {
    recorder: Recorder,
    series: Rc<StageSeries>,
    group: Rc<str>,
    views: RefCell<HashMap<u64, Rc<SessionView>>>,
}

impl Worker {
    fn new(catalog: &Arc<Catalog>, start: Instant) -> Self {
        let clock = RunClock::new();
        clock.start_at(start);
        let recorder = Recorder::new(clock, Arc::clone(catalog));
        let series = StageSeries::new(&recorder, &Arc::from("s"), &Arc::from("a"));
        Self {
            recorder,
            series,
            group: Rc::from("g"),
            views: RefCell::default(),
        }
    }

    fn measure(&self, event: &Event, now: Instant) {
        let started = now - event.age;
        self.series.duration(started, event.age, None);
        let mut views = self.views.borrow_mut();
        let notes = StageNotes::new(views.entry(event.session).or_default());
        let meter = StageMeter::new(&self.series, started, &notes);
        meter.messages(now, 1, 1, 200);
        meter.gap(now, event.after, 1);
        let key = RowKey::Number(event.row);
        meter.agree_row(&self.group, &key, 7, event.session);
    }
}

/// Counters, trends (count, sum, least, greatest, buckets) and rows of a delta, in a form that compares.
type Content = (
    BTreeMap<String, u64>,
    BTreeMap<String, (u64, u128, Vec<u8>)>,
    BTreeMap<i64, (u32, u64)>,
);

fn content(catalog: &Catalog, deltas: &[Delta]) -> Content {
    let (mut counters, mut trends, mut rows) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut whole: BTreeMap<String, testmesh_shared::metric::Histogram> = BTreeMap::new();
    for delta in deltas {
        for ((second, id), value) in &delta.counters {
            let name = format!("{second} {:?}", catalog.counter_key(*id).unwrap());
            *counters.entry(name).or_default() += value;
        }
        for ((second, id), trend) in &delta.trends {
            let name = format!("{second} {:?}", catalog.trend_key(*id).unwrap());
            whole.entry(name).or_default().merge(trend);
        }
        for seen in delta.rows.values() {
            for ((key, _), seen) in seen {
                let RowKey::Number(key) = key else { continue };
                let (sessions, count): &mut (u32, u64) = rows.entry(*key).or_default();
                *sessions += seen.sessions;
                *count += seen.rows;
            }
        }
    }
    for (name, trend) in whole {
        trends.insert(
            name,
            (trend.count(), trend.sum_ns(), trend.encode_buckets()),
        );
    }
    (counters, trends, rows)
}

proptest! {
    #[test]
    fn however_it_is_spread_the_merged_whole_is_the_same(events in events()) {
        let start = Instant::now() + Duration::from_secs(3_600);
        let catalog = Arc::new(Catalog::new(limits::SERIES));
        let workers: Vec<_> = (0..3).map(|_| Worker::new(&catalog, start)).collect();
        let pooled = Worker::new(&catalog, start);
        let (mut merge, mut shipped, mut now) = (Merge::new(3), Vec::new(), start + Duration::from_secs(4));
        for event in &events {
            now += event.after;
            workers[event.worker].measure(event, now);
            pooled.measure(event, now);
            if event.cut {
                prop_assert!(merge.add(event.worker, workers[event.worker].recorder.cut(now)).is_empty());
                shipped.push(merge.take());
            }
        }
        for (number, worker) in workers.iter().enumerate() {
            prop_assert!(merge.add(number, worker.recorder.cut(now)).is_empty());
        }
        shipped.push(merge.take());
        let whole = [pooled.recorder.cut(now)];
        prop_assert_eq!(content(&catalog, &shipped), content(&catalog, &whole));
    }

    #[test]
    fn minima_of_workers_are_summed_and_each_second_is_shipped_once(
        opens in proptest::collection::vec((0_usize..2, 0_u64..1_000, any::<bool>()), 1..60),
    ) {
        let start = Instant::now();
        let catalog = Arc::new(Catalog::new(limits::SERIES));
        let workers: Vec<_> = (0..2).map(|_| Worker::new(&catalog, start)).collect();
        let gauge = workers[0].recorder.gauge(MetricId::SessionsActive, &[]);
        let mut merge = Merge::new(2);
        let (mut now, mut seen, mut open) = (start, BTreeMap::new(), [0_u64; 2]);
        for (worker, after, opens) in opens {
            now += Duration::from_millis(after);
            if opens {
                workers[worker].recorder.open(gauge, now);
                open[worker] += 1;
            } else if open[worker] > 0 {
                workers[worker].recorder.close(gauge, now);
                open[worker] -= 1;
            }
            prop_assert!(merge.add(worker, workers[worker].recorder.cut(now)).is_empty());
            for (second, _, least) in merge.take().gauges {
                prop_assert!(seen.insert(second, least).is_none(), "second {} came twice", second);
                prop_assert!(second < merge.reached());
            }
        }
        let last = now + Duration::from_secs(2);
        for (number, worker) in workers.iter().enumerate() {
            prop_assert!(merge.add(number, worker.recorder.cut(last)).is_empty());
        }
        let end = (last - start).as_secs();
        for (second, _, least) in merge.take().gauges {
            prop_assert!(seen.insert(second, least).is_none());
            if u64::from(second) + 1 == end {
                prop_assert_eq!(least, open.iter().sum::<u64>(), "nothing happened in the last second");
            }
        }
    }
}
