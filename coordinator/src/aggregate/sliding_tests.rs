//! Sliding spans against a model that adds every span up anew.
use super::*;
use crate::aggregate::totals::to_f64;
use crate::phase::Phases;
use crate::verdict::Operand;
use proptest::prelude::*;
use testmesh_shared::metric::{Interner, LabelSet, TrendDelta};
use testmesh_shared::plan::model::{Agg, Op};

fn criterion(agg: Agg, metric: MetricId, over: u32) -> Criterion {
    Criterion {
        text: String::new(),
        left: Reading {
            agg,
            metric,
            selector: Selector::all(),
            factor: 1.0,
        },
        op: Op::Less,
        right: Operand::Value(0.0),
        aborts: false,
        after: std::time::Duration::ZERO,
        over: Some(over),
    }
}

/// Adds a measurement of a second; `value` in nanoseconds for trends.
fn add(sliding: &mut Sliding, interner: &mut Interner, metric: MetricId, second: u32, value: u64) {
    let labels = LabelSet::new(&[("scenario", "s")]).unwrap();
    let id = interner.intern(metric, &labels).unwrap();
    let key = interner.key(id);
    let class = Phases::default().class(Some("s"), second);
    match metric.metric().kind {
        Kind::Counter => sliding.add(id, key, second, class, &Change::Counter(value)),
        Kind::Gauge => sliding.add(id, key, second, class, &Change::Gauge(to_f64(value))),
        Kind::Trend => {
            let mut one = Histogram::new();
            one.record(value).unwrap();
            let buckets = one.encode_buckets();
            let delta = TrendDelta::new(value, value, value, &buckets).unwrap();
            sliding.add(id, key, second, class, &Change::Trend(delta));
        }
    }
}

proptest! {
    /// Every span has what its seconds have, in whatever order they came.
    #[test]
    fn sliding_spans_equal_sums_of_seconds(
        happened in proptest::collection::vec((0..40_u32, 1..5_000_000_000_u64), 0..120),
        over in 1..12_u32,
        (from, length) in (0..20_u32, 0..30_u32),
    ) {
        let metrics = [MetricId::StageErrors, MetricId::StageDuration, MetricId::StreamsOpen];
        let mut interner = Interner::new();
        let mut sliding = Sliding::new(
            &[
                criterion(Agg::Rate, metrics[0], over),
                criterion(Agg::Max, metrics[1], over),
                criterion(Agg::Max, metrics[2], over),
            ],
            usize::MAX / 2,
        );
        for &(second, value) in &happened {
            for metric in metrics {
                add(&mut sliding, &mut interner, metric, second, value);
            }
        }
        let ends = from.max(over - 1)..from.max(over - 1) + length;
        let windows = |criterion: usize| sliding.lanes(criterion)[0].windows(over, ends.clone());
        let all = windows(0).zip(windows(1)).zip(windows(2));
        let mut seen = 0;
        for (end, ((errors, durations), levels)) in ends.clone().zip(all) {
            seen += 1;
            let inside: Vec<_> = happened.iter().filter(|(second, _)| *second <= end && second + over > end).collect();
            prop_assert_eq!(errors.count, inside.iter().map(|(_, value)| value).sum::<u64>());
            // Errors are divided by the runs of their stage.
            prop_assert_eq!(errors.base, u64::try_from(inside.len()).unwrap());
            let mut model = Histogram::new();
            inside.iter().for_each(|(_, value)| model.record(*value).unwrap());
            prop_assert_eq!(durations.trend.iter().collect::<Vec<_>>(), model.iter().collect::<Vec<_>>());
            prop_assert_eq!((durations.trend.min_ns(), durations.trend.max_ns(), durations.trend.sum_ns()), (model.min_ns(), model.max_ns(), model.sum_ns()));
            let mut by_second: BTreeMap<u32, f64> = BTreeMap::new();
            inside.iter().for_each(|(second, value)| *by_second.entry(*second).or_default() += to_f64(*value));
            let greatest = by_second.values().copied().reduce(f64::max);
            prop_assert_eq!(levels.levels.map(|levels| levels.max), greatest);
            prop_assert_eq!(levels.levels.map_or(0, |levels| levels.count), u64::try_from(by_second.len()).unwrap());
        }
        prop_assert_eq!(seen, length);
    }
}

#[test]
fn what_does_not_fit_is_refused_and_told() {
    let mut interner = Interner::new();
    let mut sliding = Sliding::new(&[criterion(Agg::Max, MetricId::StreamGap, 10)], 16 * 1024);
    for second in 0..10_000 {
        add(
            &mut sliding,
            &mut interner,
            MetricId::StreamGap,
            second,
            1_000,
        );
    }
    assert!(!sliding.is_complete());
    assert!(sliding.bytes < 64 * 1024, "{}", sliding.bytes);
    // Nothing slides, nothing is kept.
    let mut criterion = criterion(Agg::Max, MetricId::StreamGap, 10);
    criterion.over = None;
    let mut sliding = Sliding::new(&[criterion], 16 * 1024);
    add(&mut sliding, &mut interner, MetricId::StreamGap, 0, 1_000);
    assert!(sliding.is_complete() && sliding.lanes(0).is_empty() && sliding.bytes == 0);
}

#[test]
fn a_day_of_thirty_thresholds_fits() {
    let mut interner = Interner::new();
    let one = [criterion(Agg::Percentile(95.0), MetricId::StreamGap, 10)];
    let mut sliding = Sliding::new(&one, limits::MAX_SLIDING_BYTES);
    for second in 0..3_600 {
        for step in 0..40_u64 {
            let value = 1_000_000 + step * 25_000;
            add(
                &mut sliding,
                &mut interner,
                MetricId::StreamGap,
                second,
                value,
            );
        }
    }
    // Only the latest seconds are not encoded.
    let day = sliding.bytes * 24;
    assert!(
        day * 10 < limits::MAX_SLIDING_BYTES,
        "{day} bytes for a day"
    );
}

#[test]
fn what_changed_is_judged_again() {
    let mut interner = Interner::new();
    let mut sliding = Sliding::new(
        &[criterion(Agg::Max, MetricId::StreamGap, 10)],
        usize::MAX / 2,
    );
    assert_eq!(sliding.changed(0), 0);
    sliding.judged(30);
    assert_eq!(sliding.changed(0), 30);
    // A stage that began long ago has ended.
    add(&mut sliding, &mut interner, MetricId::StreamGap, 12, 1_000);
    add(&mut sliding, &mut interner, MetricId::StreamGap, 31, 1_000);
    assert_eq!(sliding.changed(0), 12);
}
