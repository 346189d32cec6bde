//! Stages in numbers and shapes: the latency table, percentile curves and histograms.
use super::over_time::{PALETTE, name};
use super::plot::{Across, Line, Mark, Measure, Plot, Shape, percentile};
use super::scale::Scale;
use super::tables::stage_name;
use crate::report::format;
use crate::report::model::{Distribution, Extras, MetricRow, Report, Stage};
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Points of a percentile curve.
const CURVE_POINTS: u32 = 80;
/// Bars of a histogram.
const BARS: u32 = 56;
/// Histograms that are drawn; more are in `windows.bin`.
const HISTOGRAMS: usize = 24;
/// Histograms that are open from the start.
const OPEN_HISTOGRAMS: usize = 6;
/// Stages whose sites are compared in full.
const SITE_ROWS: usize = 400;

/// The table of stages with a range bar each, all on one logarithmic axis.
pub(super) fn table(report: &Report) -> Markup {
    let merged: Vec<_> = report
        .stages
        .iter()
        .filter(|stage| stage.site.is_none())
        .collect();
    let scale = common_scale(&merged);
    html! {
        @if merged.is_empty() { p.empty { "No stage ran." } } @else {
            div.wide { table {
                thead { tr {
                    th { "stage" } th.number { "runs" } th.number { "failed" } th.number { "p50" } th.number { "p95" }
                    th.number { "p99" } th.number { "max" } th.range-head { "p50 to p99, max" } th { "errors, status" }
                } }
                tbody { @for stage in merged.iter().copied() { (row(stage, scale)) } }
            } }
        }
        @if report.sites.len() > 1 && !merged.is_empty() { (by_site(report, scale)) }
    }
}

/// Curves and histograms of the stages' durations.
pub(super) fn shapes(report: &Report, extras: &Extras) -> Markup {
    let shapes: Vec<_> = extras
        .distributions
        .iter()
        .filter(|one| {
            matches!(
                one.metric.as_str(),
                "stage_duration" | "stream_first_message" | "stream_gap" | "stream_latency"
            )
        })
        .filter(|one| one.buckets.iter().any(|(_, count)| *count > 0))
        .collect();
    html! {
        @if shapes.is_empty() { p.empty { "No distribution was kept." } } @else {
            div.plots {
                @for (metric, title) in [("stage_duration", "Stage duration by percentile"), ("stream_first_message", "First message by percentile"),
                    ("stream_gap", "Gap between messages by percentile"), ("stream_latency", "Stream latency by percentile")] {
                    @let of: Vec<_> = shapes.iter().copied().filter(|one| one.metric == metric).collect();
                    @if !of.is_empty() { (curves(title, &of)) }
                }
            }
            div.plots { @for one in shapes.iter().take(OPEN_HISTOGRAMS) { (histogram(report, one)) } }
            @if shapes.len() > OPEN_HISTOGRAMS {
                details {
                    summary { (shapes.len() - OPEN_HISTOGRAMS) " more distributions" }
                    div.plots { @for one in shapes.iter().take(HISTOGRAMS).skip(OPEN_HISTOGRAMS) { (histogram(report, one)) } }
                    @if shapes.len() > HISTOGRAMS { p.empty { (shapes.len() - HISTOGRAMS) " more are in windows.bin." } }
                }
            }
        }
    }
}

fn common_scale(stages: &[&Stage]) -> Scale {
    let times = stages
        .iter()
        .flat_map(|stage| [stage.duration.p50, stage.duration.max]);
    let times: Vec<f64> = times.flatten().filter(|time| *time > 0.0).collect();
    Scale::around(
        times.iter().copied().fold(f64::INFINITY, f64::min),
        times.iter().copied().fold(0.0, f64::max),
    )
}

fn row(stage: &Stage, scale: Scale) -> Markup {
    let failed: u64 = stage.errors.values().sum();
    let duration = stage.duration;
    html! {
        tr {
            td.name title=(format!("{}/{}", stage.scenario, stage.stage)) { (stage_name(&stage.scenario, &stage.stage)) }
            td.number { (format::count(stage.runs)) }
            td.number.bad-text[failed > 0] { (format::count(failed)) }
            @for time in [duration.p50, duration.p95, duration.p99, duration.max] {
                td.number { (format::optional(time, format::seconds)) }
            }
            td.range { (range(stage, scale)) }
            td.chips { (chips(&stage.errors, "bad")) (chips(&stage.status, "plain")) }
        }
    }
}

/// From p50 to p99 as a bar, p95 as a notch, max as a dot.
fn range(stage: &Stage, scale: Scale) -> Markup {
    let place = |time: Option<f64>| time.map(|time| scale.place(time) * 100.0);
    let duration = stage.duration;
    html! {
        div.track {
            @if let (Some(from), Some(to)) = (place(duration.p50), place(duration.p99)) {
                span.bar style=(format!("left:{from:.2}%;width:{:.2}%", (to - from).max(0.6))) {}
            }
            @if let Some(at) = place(duration.p95) { span.notch style=(format!("left:{at:.2}%")) {} }
            @if let Some(at) = place(duration.max) { span.dot style=(format!("left:{at:.2}%")) {} }
        }
    }
}

fn chips(counts: &BTreeMap<String, u64>, class: &str) -> Markup {
    html! { @for (key, count) in counts { span class=(format!("chip {class}")) { (key) " " b { (format::count(*count)) } } " " } }
}

fn by_site(report: &Report, scale: Scale) -> Markup {
    let stages: Vec<_> = report
        .stages
        .iter()
        .filter(|stage| stage.site.is_some())
        .collect();
    html! {
        details {
            summary { "By site" }
            div.wide { table {
                thead { tr {
                    th { "stage" } th { "site" } th.number { "runs" } th.number { "p50" } th.number { "p95" } th.number { "p99" }
                    th.number { "max" } th.range-head { "p50 to p99, max" }
                } }
                tbody { @for stage in stages.iter().take(SITE_ROWS) {
                    @let d = stage.duration;
                    tr {
                        td.name title=(format!("{}/{}", stage.scenario, stage.stage)) { (stage_name(&stage.scenario, &stage.stage)) }
                        td.name { (stage.site.as_deref().unwrap_or_default()) }
                        td.number { (format::count(stage.runs)) }
                        @for time in [d.p50, d.p95, d.p99, d.max] { td.number { (format::optional(time, format::seconds)) } }
                        td.range { (range(stage, scale)) }
                    }
                } }
            } }
        }
    }
}

fn total(shape: &Distribution) -> u64 {
    shape.buckets.iter().map(|(_, count)| count).sum()
}

/// The value below which `share` of the measurements lie.
fn quantile(shape: &Distribution, share: f64) -> Option<f64> {
    let wanted = share * format::as_f64(total(shape));
    let mut seen = 0;
    let mut last = None;
    for (bound, count) in &shape.buckets {
        seen += count;
        last = Some(*bound);
        if format::as_f64(seen) >= wanted {
            break;
        }
    }
    last
}

/// One curve per stage: how long the share of runs on the axis took at most. More nines are shown the more was measured.
fn curves(title: &str, shapes: &[&Distribution]) -> Markup {
    let most = shapes
        .iter()
        .map(|shape| total(shape))
        .max()
        .unwrap_or(1)
        .max(10);
    let nines = format::as_f64(most).log10().clamp(1.0, 5.0);
    let across = Scale::Nines { nines };
    let x: Vec<f64> = (0..=CURVE_POINTS)
        .map(|index| across.value(f64::from(index) / f64::from(CURVE_POINTS)))
        .collect();
    let lines: Vec<_> = shapes
        .iter()
        .zip(PALETTE)
        .map(|(shape, colour)| {
            let finest = 1.0 - 1.0 / format::as_f64(total(shape).max(1));
            let values = x.iter().map(|share| {
                if *share <= finest + 1e-9 || *share == 0.0 {
                    quantile(shape, *share)
                } else {
                    None
                }
            });
            Line {
                label: name(&shape.labels),
                colour,
                shape: Shape::Line,
                values: values.collect(),
            }
        })
        .collect();
    let times = || {
        lines
            .iter()
            .flat_map(|line| line.values.iter().flatten())
            .copied()
            .filter(|time| *time > 0.0)
    };
    let up = Scale::around(
        times().fold(f64::INFINITY, f64::min),
        times().fold(0.0, f64::max),
    );
    let left_out = shapes.len().saturating_sub(lines.len());
    let note = if left_out > 0 {
        format!("logarithmic · {left_out} more below")
    } else {
        "logarithmic".to_owned()
    };
    let x_labels = x.iter().map(|share| percentile(*share)).collect();
    let across = Across::Other(across);
    let (bands, marks) = (Vec::new(), Vec::new());
    Plot {
        title: title.to_owned(),
        note,
        measure: Measure::Seconds,
        across,
        x,
        x_labels,
        up: Some(up),
        lines,
        bands,
        marks,
    }
    .render()
}

/// The number of measurements in equal steps of a logarithmic axis, with the percentiles of the table marked.
fn histogram(report: &Report, shape: &Distribution) -> Markup {
    let bounds = || {
        shape
            .buckets
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(bound, _)| bound.max(1e-6))
    };
    let scale = Scale::around(
        bounds().fold(f64::INFINITY, f64::min) * 0.97,
        bounds().fold(0.0, f64::max) * 1.03,
    );
    let counts = spread(shape, scale);
    let edge = |index: u32| scale.value(f64::from(index) / f64::from(BARS));
    let x: Vec<f64> = (0..BARS)
        .map(|index| scale.value((f64::from(index) + 0.5) / f64::from(BARS)))
        .collect();
    let x_labels = (0..BARS)
        .map(|i| {
            format!(
                "{} to {}",
                format::seconds(edge(i)),
                format::seconds(edge(i + 1))
            )
        })
        .collect();
    let values = counts.into_iter().map(Some).collect();
    let what = shape.metric.replace('_', " ");
    let lines = vec![Line {
        label: "measurements".to_owned(),
        colour: "c0",
        shape: Shape::Bars,
        values,
    }];
    Plot {
        title: name(&shape.labels),
        note: format!("{what} · {} measured", format::count(total(shape))),
        measure: Measure::Count,
        across: Across::Other(scale),
        x,
        x_labels,
        up: None,
        lines,
        bands: Vec::new(),
        marks: marks(report, shape),
    }
    .render()
}

/// Divides each bucket's count among the bars that it reaches over. Buckets are not told where they begin: as wide as is
/// usual among them, and never below the one before.
fn spread(shape: &Distribution, scale: Scale) -> Vec<f64> {
    let ratios = shape
        .buckets
        .windows(2)
        .map(|pair| pair[1].0 / pair[0].0.max(1e-9));
    let mut ratios: Vec<f64> = ratios
        .filter(|ratio| ratio.is_finite() && *ratio > 1.0)
        .collect();
    ratios.sort_by(f64::total_cmp);
    let usual = ratios.get(ratios.len() / 2).copied().unwrap_or(1.001);
    let mut before: f64 = 0.0;
    let mut bars = vec![0.0; usize::try_from(BARS).unwrap_or(1)];
    for (bound, count) in &shape.buckets {
        let end = scale.place(*bound) * f64::from(BARS);
        let begin = scale.place(before.max(bound / usual)) * f64::from(BARS);
        before = *bound;
        // A bucket that is narrow against the bars belongs to one of them, and its count stays whole.
        let begin = if end - begin < 0.5 {
            (end - 1e-6).floor().max(0.0)
        } else {
            begin
        };
        let end = if end - begin < 0.5 { begin + 0.5 } else { end };
        for (bar, left) in bars.iter_mut().zip(0..BARS) {
            let overlap = end.min(f64::from(left + 1)) - begin.max(f64::from(left));
            *bar += format::as_f64(*count) * (overlap / (end - begin)).max(0.0);
        }
    }
    bars
}

/// The percentiles of the table, or what the buckets say where the table has them apart by other labels.
fn marks(report: &Report, shape: &Distribution) -> Vec<Mark> {
    let same = |row: &&MetricRow| row.name == shape.metric && row.labels == shape.labels;
    let row = report.metrics.iter().find(same);
    let exact = row.map(|row| row.percentiles).unwrap_or_default();
    let marks = [("p50", exact.p50, 0.5), ("p99", exact.p99, 0.99)];
    let mark = |(name, exact, share): (&str, Option<f64>, f64)| {
        let at = exact.or_else(|| quantile(shape, share))?;
        Some(Mark {
            name: name.to_owned(),
            at,
        })
    };
    marks.into_iter().filter_map(mark).collect()
}
