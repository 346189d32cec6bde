//! From the aggregate to what a report shows: rows per series and merged over sites, stages, values over time.
use super::aggregator::Aggregator;
use super::totals::{Summary, to_f64};
use super::windows::{Cell, Frozen};
use crate::phase::Span;
use crate::report::model::{
    Distribution, Labels, MetricKind, MetricRow, Percentiles, Series, Stage, StageDuration,
    WindowCell, WindowSeries, Windows,
};
use crate::verdict::ledger::Entry;
use std::collections::BTreeMap;
use testmesh_shared::metric::{Histogram, Kind, MetricId, SeriesId, SeriesKey, Unit};

/// Buckets of one distribution: as many as a plot has columns.
const MAX_BUCKETS: usize = 200;
/// Series over time in a report; those merged over sites come first.
const MAX_REPORT_SERIES: usize = 1_000;

/// What a report shows of the measurements.
#[derive(Clone, Debug, Default)]
pub struct Rollup {
    /// One row per series, and one per name and labels merged over sites.
    pub metrics: Vec<MetricRow>,
    /// One row per stage and site, and one per stage over all sites.
    pub stages: Vec<Stage>,
    /// Values over time.
    pub series: Vec<Series>,
    /// The shapes of trends.
    pub distributions: Vec<Distribution>,
    /// The merged series over time, sites apart.
    pub windows: Windows,
}

/// Series of one metric that are shown together, by the labels that they share.
type Groups = BTreeMap<(MetricId, Labels), Vec<SeriesId>>;

impl Rollup {
    /// Rolls an aggregate up.
    pub fn of(aggregator: &Aggregator, ledger: &[Entry]) -> Self {
        let per_site = aggregator.groups(&[]);
        let over_sites = aggregator.groups(&["site"]);
        let mut metrics = ledger_rows(ledger);
        metrics.extend(
            over_sites
                .iter()
                .chain(&per_site)
                .filter_map(|(group, ids)| aggregator.row(group, ids)),
        );
        let outcomes_merged = aggregator.groups(&["site", "outcome"]);
        let mut stages = aggregator.stages(&outcomes_merged);
        let sites = aggregator.groups(&["outcome"]);
        stages.extend(aggregator.stages(&sites));
        let mut series: Vec<_> = aggregator.over_time(&outcomes_merged);
        if aggregator.has_several_sites() {
            series.extend(aggregator.over_time(&sites));
        }
        series.truncate(MAX_REPORT_SERIES);
        let distributions = outcomes_merged
            .iter()
            .filter_map(|(group, ids)| aggregator.distribution(group, ids));
        Self {
            metrics,
            stages,
            series,
            distributions: distributions.collect(),
            windows: aggregator.all_windows(),
        }
    }
}

impl Aggregator {
    /// All series, grouped by their labels without these.
    fn groups(&self, without: &[&str]) -> Groups {
        let mut groups = Groups::new();
        for (id, key) in self.totals.keys() {
            let labels = key.labels().filter(|(name, _)| !without.contains(name));
            let labels: Labels = labels
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            groups.entry((key.metric(), labels)).or_default().push(id);
        }
        groups
    }

    fn has_several_sites(&self) -> bool {
        let agents = self.agents();
        agents.iter().any(|(_, site)| *site != agents[0].1)
    }

    fn row(&self, (metric, labels): &(MetricId, Labels), ids: &[SeriesId]) -> Option<MetricRow> {
        let summary = self.totals.summary(ids, Span::usual(*metric))?;
        let mut row = empty_row(*metric, labels.clone());
        match summary {
            Summary::Counter(count) => row.count = count,
            Summary::Gauge(extremes) => {
                if let Some(extremes) = extremes {
                    row.count = extremes.count;
                    (row.min, row.max, row.mean) = (
                        Some(extremes.min),
                        Some(extremes.max),
                        Some(extremes.mean()),
                    );
                }
            }
            Summary::Trend(trend) => {
                row.count = trend.count();
                row.sum = Some(nanos(u64::try_from(trend.sum_ns()).unwrap_or(u64::MAX)));
                row.min = trend.min_ns().map(nanos);
                row.max = trend.max_ns().map(nanos);
                row.mean = trend.mean_ns().map(|ns| ns / 1e9);
                row.percentiles = Percentiles {
                    p50: percentile(&trend, 50.0),
                    p90: percentile(&trend, 90.0),
                    p95: percentile(&trend, 95.0),
                    p99: percentile(&trend, 99.0),
                    p999: percentile(&trend, 99.9),
                };
            }
        }
        Some(row)
    }

    fn stages(&self, groups: &Groups) -> Vec<Stage> {
        let durations = groups
            .iter()
            .filter(|((metric, _), _)| *metric == MetricId::StageDuration);
        let stage = |((_, labels), ids): (&(MetricId, Labels), &Vec<SeriesId>)| {
            let all = self.trend_of(ids, Span::ALL);
            let judged = self.trend_of(ids, Span::JUDGED);
            // A run that ended in its warm-up has nothing else to show.
            let shown = if judged.is_empty() { &all } else { &judged };
            Stage {
                scenario: labels.get("scenario").cloned().unwrap_or_default(),
                stage: labels.get("stage").cloned().unwrap_or_default(),
                site: labels.get("site").cloned(),
                runs: all.count(),
                errors: self.by_label(MetricId::StageErrors, "error", labels),
                status: self.by_label(MetricId::StageStatus, "status", labels),
                duration: StageDuration {
                    p50: percentile(shown, 50.0),
                    p95: percentile(shown, 95.0),
                    p99: percentile(shown, 99.0),
                    max: shown.max_ns().map(nanos),
                },
            }
        };
        durations.map(stage).collect()
    }

    /// Counters that carry these labels and one more, by the value of that one.
    fn by_label(&self, metric: MetricId, label: &str, labels: &Labels) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        let fits = |key: &SeriesKey| {
            labels
                .iter()
                .all(|(name, value)| key.label(name) == Some(value.as_str()))
        };
        for (id, key) in self
            .totals
            .keys()
            .filter(|(_, key)| key.metric() == metric && fits(key))
        {
            if let (Some(value), Some(Summary::Counter(count))) =
                (key.label(label), self.totals.summary(&[id], Span::ALL))
            {
                let sum: &mut u64 = counts.entry(value.to_owned()).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        counts
    }

    fn trend_of(&self, ids: &[SeriesId], span: Span) -> Histogram {
        match self.totals.summary(ids, span) {
            Some(Summary::Trend(trend)) => *trend,
            _ => Histogram::new(),
        }
    }

    fn over_time(&self, groups: &Groups) -> Vec<Series> {
        let shown = groups
            .iter()
            .filter(|((metric, _), _)| !metric.metric().is_of_agent());
        let series = |((metric, labels), ids): (&(MetricId, Labels), &Vec<SeriesId>)| {
            let (at, values) = match metric.metric().kind {
                Kind::Counter => self.counts_over_time(ids),
                Kind::Trend => self.trends_over_time(ids),
                Kind::Gauge => self.levels_over_time(ids),
            };
            Series {
                metric: metric.name().to_owned(),
                labels: labels.clone(),
                at,
                values,
            }
        };
        shown
            .map(series)
            .filter(|series| !series.at.is_empty())
            .collect()
    }

    fn counts_over_time(&self, ids: &[SeriesId]) -> OverTime {
        let mut windows: BTreeMap<u32, u64> = BTreeMap::new();
        for (at, cell) in ids.iter().flat_map(|id| self.windows.of(*id)) {
            if let Cell::Counter(count) = cell {
                let sum = windows.entry(at).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
        let resolution = self.windows.resolution();
        let value = |at: u32| Some(to_f64(windows.get(&at).copied().unwrap_or(0)));
        columns(resolution, windows.keys().copied(), &["count"], |at| {
            vec![value(at)]
        })
    }

    fn trends_over_time(&self, ids: &[SeriesId]) -> OverTime {
        let mut windows: BTreeMap<u32, Box<Histogram>> = BTreeMap::new();
        for (at, cell) in ids.iter().flat_map(|id| self.windows.of(*id)) {
            cell.merge_into(windows.entry(at).or_default());
        }
        columns(
            self.windows.resolution(),
            windows.keys().copied(),
            &["count", "p50", "p95", "p99", "max"],
            |at| {
                let Some(trend) = windows.get(&at) else {
                    return vec![Some(0.0), None, None, None, None];
                };
                let [p50, p95, p99] = [50.0, 95.0, 99.0].map(|percent| percentile(trend, percent));
                vec![
                    Some(to_f64(trend.count())),
                    p50,
                    p95,
                    p99,
                    trend.max_ns().map(nanos),
                ]
            },
        )
    }

    /// The greatest proven level of each window.
    fn levels_over_time(&self, ids: &[SeriesId]) -> OverTime {
        let resolution = self.windows.resolution();
        let mut windows: BTreeMap<u32, f64> = BTreeMap::new();
        for (second, level) in self.totals.seconds(ids, Span::ALL) {
            let greatest = windows.entry(second - second % resolution).or_insert(level);
            *greatest = greatest.max(level);
        }
        columns(resolution, windows.keys().copied(), &["value"], |at| {
            vec![windows.get(&at).copied()]
        })
    }

    fn distribution(
        &self,
        (metric, labels): &(MetricId, Labels),
        ids: &[SeriesId],
    ) -> Option<Distribution> {
        if metric.metric().kind != Kind::Trend {
            return None;
        }
        let trend = self.trend_of(ids, Span::ALL);
        let full: Vec<_> = trend.iter().collect();
        let per_bucket = full.len().div_ceil(MAX_BUCKETS).max(1);
        let merged = full.chunks(per_bucket).map(|chunk| {
            let upper = chunk.last().map_or(0, |(upper, _)| *upper);
            let counts = chunk.iter().map(|(_, count)| *count);
            (nanos(upper), counts.fold(0, u64::saturating_add))
        });
        Some(Distribution {
            metric: metric.name().to_owned(),
            labels: labels.clone(),
            buckets: merged.collect(),
        })
    }

    fn all_windows(&self) -> Windows {
        let series = self
            .totals
            .keys()
            .filter(|(_, key)| !key.metric().metric().is_of_agent())
            .map(|(id, key)| {
                let kind = key.metric().metric().kind;
                let cells = match kind {
                    Kind::Gauge => self.levels_over_time(&[id]).into_cells(),
                    Kind::Counter | Kind::Trend => self
                        .windows
                        .of(id)
                        .map(|(at, cell)| (at, window_cell(cell)))
                        .collect(),
                };
                let labels = key
                    .labels()
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect();
                WindowSeries {
                    metric: key.metric().name().to_owned(),
                    labels,
                    kind: metric_kind(kind),
                    cells,
                }
            });
        Windows {
            resolution_s: self.windows.resolution(),
            series: series.collect(),
        }
    }
}

/// Starts of windows, and named values for each.
type OverTime = (Vec<f64>, BTreeMap<String, Vec<Option<f64>>>);

/// Lays windows out without gaps from the start of the run to the last one.
fn columns(
    resolution: u32,
    windows: impl Iterator<Item = u32>,
    names: &[&str],
    values: impl Fn(u32) -> Vec<Option<f64>>,
) -> OverTime {
    let Some(last) = windows.max() else {
        return OverTime::default();
    };
    let mut columns: Vec<Vec<Option<f64>>> = vec![Vec::new(); names.len()];
    let mut starts = Vec::new();
    for at in (0..=last / resolution).map(|window| window * resolution) {
        starts.push(f64::from(at));
        for (column, value) in columns.iter_mut().zip(values(at)) {
            column.push(value);
        }
    }
    (
        starts,
        names
            .iter()
            .map(|name| (*name).to_owned())
            .zip(columns)
            .collect(),
    )
}

/// The cells of a gauge's windows.
trait IntoCells {
    fn into_cells(self) -> Vec<(u32, WindowCell)>;
}

impl IntoCells for OverTime {
    fn into_cells(self) -> Vec<(u32, WindowCell)> {
        let (starts, mut values) = self;
        let values = values.remove("value").unwrap_or_default();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "starts are whole seconds of a run"
        )]
        let cells = starts
            .into_iter()
            .zip(values)
            .filter_map(|(at, value)| Some((at as u32, WindowCell::Gauge(value?))));
        cells.collect()
    }
}

fn window_cell(cell: &Cell) -> WindowCell {
    let trend = |frozen: &Frozen| WindowCell::Trend {
        count: frozen.count,
        sum_ns: frozen.sum_ns,
        min_ns: frozen.min_ns,
        max_ns: frozen.max_ns,
        buckets: frozen.buckets.to_vec(),
    };
    match cell {
        Cell::Counter(count) => WindowCell::Counter(*count),
        Cell::Hot(histogram) => trend(&Frozen::of(histogram)),
        Cell::Frozen(frozen) => trend(frozen),
    }
}

fn empty_row(metric: MetricId, labels: Labels) -> MetricRow {
    let line = metric.metric();
    MetricRow {
        name: line.name.to_owned(),
        kind: metric_kind(line.kind),
        unit: unit_name(line.unit).to_owned(),
        labels,
        count: 0,
        sum: None,
        min: None,
        max: None,
        mean: None,
        percentiles: Percentiles::default(),
    }
}

/// The word of the report's contract.
fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "seconds",
        Unit::Bytes => "bytes",
        Unit::Count => "count",
        Unit::Share => "ratio",
    }
}

/// What the ledger alone knows, as rows like all others. Of these, only lost sessions have a site.
fn ledger_rows(ledger: &[Entry]) -> Vec<MetricRow> {
    let rows = ledger.iter().flat_map(|entry| {
        let sessions = entry.sessions;
        let known = [
            (MetricId::SessionsPlanned, None, sessions.planned),
            (MetricId::SessionsUnstarted, None, sessions.unstarted),
            (MetricId::SessionsLost, None, sessions.lost),
        ];
        let by_site = entry.lost_by_site.iter();
        let by_site = by_site.map(|(site, lost)| (MetricId::SessionsLost, Some(site), *lost));
        let row = |(metric, site, count): (_, Option<&String>, _)| {
            let site = site.map(|site| ("site".to_owned(), site.clone()));
            let scenario = ("scenario".to_owned(), entry.scenario.clone());
            let labels = site.into_iter().chain([scenario]).collect();
            MetricRow {
                count,
                ..empty_row(metric, labels)
            }
        };
        known.into_iter().chain(by_site).map(row)
    });
    rows.collect()
}

fn metric_kind(kind: Kind) -> MetricKind {
    match kind {
        Kind::Counter => MetricKind::Counter,
        Kind::Gauge => MetricKind::Gauge,
        Kind::Trend => MetricKind::Trend,
    }
}

fn percentile(trend: &Histogram, percent: f64) -> Option<f64> {
    trend.percentile(percent).map(nanos)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "durations of a run are far below 2^53 microseconds"
)]
fn nanos(ns: u64) -> f64 {
    ns as f64 / 1e9
}
