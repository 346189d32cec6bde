//! Plots over the run's time: sessions, streams, rows, what became of the rows, and latency of each stage.
use super::plot::{Across, Band, Line, Measure, Plot, Shape, Thin, clock, thin};
use crate::report::format;
use crate::report::model::{Labels, Report, Series};
use maud::{Markup, html};

/// Lines that one plot can tell apart.
const LINES: usize = 6;
/// Latency plots that are open from the start.
const OPEN_PLOTS: usize = 8;
/// Latency plots in all: the bound on the page's size.
const MOST_PLOTS: usize = 40;
/// The palette for lines that have no colour of their own.
pub(super) const PALETTE: [&str; LINES] = ["c0", "c1", "c2", "c3", "c4", "c5"];

/// A metric that becomes a line of a plot with a fixed colour.
type Fixed = (&'static str, &'static str, &'static str);

/// The plots of load and data.
pub(super) fn load(report: &Report) -> Markup {
    let sessions: [Fixed; 5] = [
        ("sessions_passed", "passed", "good"),
        ("sessions_failed", "failed", "bad"),
        ("sessions_dropped", "dropped", "doubtful"),
        ("sessions_lost", "lost", "c4"),
        ("sessions_interrupted", "interrupted", "c3"),
    ];
    let rows: [Fixed; 3] = [
        ("integrity_verified", "verified", "good"),
        ("integrity_unwitnessed", "unwitnessed", "c3"),
        ("integrity_unverified", "unverified", "doubtful"),
    ];
    // Apart from the good ones: a few bad rows would be a line along the bottom.
    let bad: [Fixed; 4] = [
        ("integrity_mismatched", "mismatched", "bad"),
        ("integrity_missing", "missing", "c4"),
        ("integrity_repeated", "repeated", "c1"),
        ("integrity_reordered", "reordered", "c2"),
    ];
    let any_bad = bad.iter().any(|(metric, ..)| {
        let mut values = merged(report, metric).flat_map(|series| series.values.values().flatten());
        values.any(|value| value.is_some_and(|value| value > 0.0))
    });
    html! {
        div.plots {
            (by_label(report, "sessions_active", "Sessions active", "", Value::Gauge))
            (fixed(report, "Sessions by outcome", "per second of their start", &sessions))
            @if has(report, "streams_open") { (by_label(report, "streams_open", "Streams open", "", Value::Gauge)) }
            @if has(report, "stream_rows") { (by_label(report, "stream_rows", "Rows received", "per second", Value::Rate(Measure::PerSecond))) }
            @if has(report, "stream_bytes") { (by_label(report, "stream_bytes", "Data received", "per second", Value::Rate(Measure::BytesPerSecond))) }
            @if has(report, "integrity_verified") { (fixed(report, "What became of the rows", "per second", &rows)) }
            @if any_bad { (fixed(report, "Bad rows", "per second", &bad)) }
        }
    }
}

/// One plot of percentiles over time per series of the metrics that latency is judged by.
pub(super) fn latency(report: &Report) -> Markup {
    let metrics = [
        ("stage_duration", ""),
        ("stream_first_message", "first message"),
        ("stream_gap", "gap between messages"),
        ("stream_latency", "stream latency"),
        ("session_duration", "whole session"),
    ];
    let plots: Vec<_> = metrics
        .iter()
        .flat_map(|(metric, what)| merged(report, metric).map(move |series| (series, *what)))
        .filter(|(series, _)| series.values.contains_key("p95"))
        .collect();
    let hidden = plots.len().saturating_sub(MOST_PLOTS);
    html! {
        @if plots.is_empty() { p.empty { "No stage was measured." } }
        div.plots { @for (series, what) in plots.iter().take(OPEN_PLOTS) { (percentiles(report, series, what)) } }
        @if plots.len() > OPEN_PLOTS {
            details {
                summary { (plots.len() - OPEN_PLOTS) " more" }
                div.plots {
                    @for (series, what) in plots.iter().take(MOST_PLOTS).skip(OPEN_PLOTS) { (percentiles(report, series, what)) }
                }
                @if hidden > 0 { p.empty { (hidden) " more series are in report.json." } }
            }
        }
    }
}

/// Which values of a series a plot shows.
#[derive(Clone, Copy)]
enum Value {
    /// What was proven within each second.
    Gauge,
    /// A counter per second.
    Rate(Measure),
}

fn merged<'a>(report: &'a Report, metric: &'a str) -> impl Iterator<Item = &'a Series> {
    report
        .series
        .iter()
        .filter(move |series| series.metric == metric && !series.labels.contains_key("site"))
}

fn has(report: &Report, metric: &str) -> bool {
    merged(report, metric).next().is_some()
}

/// How labels are called in a legend: the words that tell series apart.
pub(super) fn name(labels: &Labels) -> String {
    let mut words: Vec<&str> = ["scenario", "stage"]
        .iter()
        .filter_map(|key| labels.get(*key).map(String::as_str))
        .collect();
    if let Some(outcome) = labels.get("outcome").filter(|outcome| *outcome != "passed") {
        words.push(outcome);
    }
    for (key, value) in labels {
        if !matches!(key.as_str(), "scenario" | "stage" | "outcome") {
            words.push(value);
        }
    }
    if words.is_empty() {
        "all".to_owned()
    } else {
        words.join(" / ")
    }
}

/// Length of the windows of a series in seconds.
fn window(series: &Series) -> f64 {
    match series.at.as_slice() {
        [first, second, ..] if second > first => second - first,
        _ => 1.0,
    }
}

fn values(series: &Series, value: Value) -> Vec<Option<f64>> {
    match value {
        Value::Gauge => series.values.get("value").cloned().unwrap_or_default(),
        Value::Rate(_) => {
            let counts = series.values.get("count").cloned().unwrap_or_default();
            counts
                .into_iter()
                .map(|count| count.map(|count| count / window(series)))
                .collect()
        }
    }
}

fn bands(report: &Report) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    for phase in &report.phases {
        let known = bands
            .iter()
            .any(|band| band.name == phase.name && band.from <= phase.from && band.to >= phase.to);
        if !known && phase.to > phase.from && phase.from < report.run.duration {
            bands.push(Band {
                name: phase.name.clone(),
                from: phase.from,
                to: phase.to,
            });
        }
    }
    bands
}

/// Where the time axes of all plots end: behind the last window.
fn until(report: &Report) -> f64 {
    let ends = report
        .series
        .iter()
        .filter_map(|series| Some(series.at.last()? + window(series)));
    ends.fold(report.run.duration, f64::max).max(1.0)
}

/// Brings lines over different times onto one axis: series have holes only at their ends.
fn align(parts: Vec<(&Series, Vec<Option<f64>>)>) -> (Vec<f64>, Vec<Vec<Option<f64>>>) {
    let mut x: Vec<f64> = parts
        .iter()
        .flat_map(|(series, _)| series.at.iter().copied())
        .collect();
    x.sort_by(f64::total_cmp);
    x.dedup_by(|a, b| (*a - *b).abs() < 1e-6);
    let lines = parts
        .into_iter()
        .map(|(series, values)| {
            let mut known = series.at.iter().copied().zip(values).peekable();
            x.iter()
                .map(|at| {
                    let here = known.next_if(|(known, _)| (known - at).abs() < 1e-6);
                    here.and_then(|(_, value)| value)
                })
                .collect()
        })
        .collect();
    (x, lines)
}

fn plot(
    report: &Report,
    title: String,
    note: &str,
    measure: Measure,
    x: Vec<f64>,
    lines: Vec<Line>,
) -> Markup {
    let until = until(report);
    let across = Across::Time { until };
    let bands = bands(report);
    // A point stands in the middle of its window, and is called by its start.
    let half = if x.len() > 1 {
        (x[1] - x[0]) / 2.0
    } else {
        0.5
    };
    let x_labels = x.iter().map(|at| clock(*at, until)).collect();
    let x = x.into_iter().map(|at| at + half).collect();
    Plot {
        title,
        note: note.to_owned(),
        measure,
        across,
        x,
        x_labels,
        up: None,
        lines,
        bands,
        marks: vec![],
    }
    .render()
}

/// One line per series of a metric, the largest first, as many as can be told apart.
fn by_label(report: &Report, metric: &str, title: &str, note: &str, value: Value) -> Markup {
    let mut parts: Vec<_> = merged(report, metric)
        .map(|series| (series, values(series, value)))
        .collect();
    let total = |values: &[Option<f64>]| values.iter().flatten().sum::<f64>();
    parts.sort_by(|a, b| total(&b.1).total_cmp(&total(&a.1)));
    let left_out = parts.len().saturating_sub(LINES);
    parts.truncate(LINES);
    let names: Vec<_> = parts
        .iter()
        .map(|(series, _)| name(&series.labels))
        .collect();
    let (x, mut aligned) = align(parts);
    let (measure, how) = match value {
        Value::Gauge => (Measure::Count, Thin::Min),
        Value::Rate(measure) => (measure, Thin::Mean),
    };
    let x = thin(
        &x,
        &mut aligned
            .iter_mut()
            .map(|values| (values, how))
            .collect::<Vec<_>>(),
    );
    let shape = if names.len() == 1 {
        Shape::Area
    } else {
        Shape::Line
    };
    let lines = names.into_iter().zip(aligned).zip(PALETTE);
    let lines = lines
        .map(|((label, values), colour)| Line {
            label,
            colour,
            shape,
            values,
        })
        .collect();
    let mut note = note.to_owned();
    if left_out > 0 {
        let which = format!("the largest {LINES} of {}", LINES + left_out);
        note = if note.is_empty() {
            which
        } else {
            format!("{note} · {which}")
        };
    }
    plot(report, title.to_owned(), &note, measure, x, lines)
}

/// One line per metric, its series added up: counters only.
fn fixed(report: &Report, title: &str, note: &str, metrics: &[Fixed]) -> Markup {
    let mut known = Vec::new();
    for (metric, label, colour) in metrics {
        let parts: Vec<_> = merged(report, metric)
            .map(|series| (series, values(series, Value::Rate(Measure::PerSecond))))
            .collect();
        let (x, aligned) = align(parts);
        let sum: Vec<_> = (0..x.len())
            .map(|index| {
                let here = aligned.iter().filter_map(|values| values[index]);
                here.fold(None, |sum: Option<f64>, value| {
                    Some(sum.unwrap_or(0.0) + value)
                })
            })
            .collect();
        // What never happened needs no line, except for the good: that it was counted at all is worth seeing.
        if *colour == "good" || sum.iter().flatten().any(|value| *value > 0.0) {
            let values = [("count".to_owned(), sum)].into();
            known.push((
                Series {
                    metric: (*metric).to_owned(),
                    labels: Labels::new(),
                    at: x,
                    values,
                },
                *label,
                *colour,
            ));
        }
    }
    let parts = known
        .iter()
        .map(|(series, ..)| (series, series.values["count"].clone()))
        .collect();
    let (x, mut aligned) = align(parts);
    let x = thin(
        &x,
        &mut aligned
            .iter_mut()
            .map(|values| (values, Thin::Mean))
            .collect::<Vec<_>>(),
    );
    let one = known.len() == 1;
    let lines = known
        .iter()
        .zip(aligned)
        .map(|((_, label, colour), values)| {
            let shape = if one { Shape::Area } else { Shape::Line };
            Line {
                label: (*label).to_owned(),
                colour,
                shape,
                values,
            }
        });
    let lines = lines.collect::<Vec<_>>();
    let note = if one && !x.is_empty() {
        format!("{note} · all {}", lines[0].label)
    } else {
        note.to_owned()
    };
    plot(
        report,
        title.to_owned(),
        &note,
        Measure::PerSecond,
        x,
        lines,
    )
}

fn percentiles(report: &Report, series: &Series, what: &str) -> Markup {
    let take = |key: &str| series.values.get(key).cloned().unwrap_or_default();
    let (mut p50, mut p95, mut p99) = (take("p50"), take("p95"), take("p99"));
    let x = thin(
        &series.at,
        &mut [
            (&mut p50, Thin::Max),
            (&mut p95, Thin::Max),
            (&mut p99, Thin::Max),
        ],
    );
    let lines = [
        ("p99", p99, Shape::Area),
        ("p95", p95, Shape::Area),
        ("p50", p50, Shape::Line),
    ]
    .into_iter()
    .map(|(key, values, shape)| Line {
        label: key.to_owned(),
        colour: key,
        shape,
        values,
    })
    .collect();
    let runs: f64 = take("count").iter().flatten().sum();
    let runs = format!("{} measured", format::number(runs));
    let note = if what.is_empty() {
        runs
    } else {
        format!("{what} · {runs}")
    };
    plot(
        report,
        name(&series.labels),
        &note,
        Measure::Seconds,
        x,
        lines,
    )
}
