//! One plot: lines or bars over two axes, with a legend and the values for the read-out.
//!
//! The drawing is an SVG of 1,000 by 1,000 units that stretches with its box; strokes keep their width. Axis labels are
//! text of the page beside it. So a plot is sharp at any size, and nothing can run over its edge.
use super::scale::Scale;
use crate::report::format;
use maud::{Markup, PreEscaped, html};
use serde_json::json;
use std::fmt::Write as _;

/// Length of both axes in drawing units.
const SIDE: f64 = 1_000.0;
/// Points of a line that a plot can show; more are thinned, see [`Thin`].
pub(super) const MOST_POINTS: usize = 600;

/// What the values of the vertical axis measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// Durations.
    Seconds,
    /// Sizes per second.
    BytesPerSecond,
    /// Things.
    Count,
    /// Things per second.
    PerSecond,
}

impl Measure {
    fn show(self, value: f64) -> String {
        match self {
            Self::Seconds => format::seconds(value),
            Self::BytesPerSecond => format::bytes(value),
            Self::Count | Self::PerSecond => format::number(value),
        }
    }

    /// The name that the script knows its formatter by.
    fn key(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::BytesPerSecond => "bytes",
            Self::Count | Self::PerSecond => "number",
        }
    }

    /// What ticks should be round in: sizes are round in powers of 1,024.
    fn grain(self, most: f64) -> f64 {
        match self {
            Self::BytesPerSecond if most > 1.0 => 1_024f64.powf((most.log2() / 10.0).floor()),
            Self::Seconds | Self::BytesPerSecond | Self::Count | Self::PerSecond => 1.0,
        }
    }

    /// The axis of values up to `most`, with room above them for names.
    fn scale(self, most: f64) -> Scale {
        let grain = self.grain(most);
        let Scale::Linear { from, to } = Scale::from_zero(most * 1.06 / grain, 4.0) else {
            return Scale::from_zero(most, 4.0);
        };
        Scale::Linear {
            from: from * grain,
            to: to * grain,
        }
    }

    fn ticks(self, up: Scale) -> Vec<f64> {
        let Scale::Linear { from, to } = up else {
            return up.ticks(5.0);
        };
        let grain = self.grain(to);
        let ticks = Scale::Linear {
            from: from / grain,
            to: to / grain,
        }
        .ticks(5.0);
        ticks.into_iter().map(|tick| tick * grain).collect()
    }
}

/// What the horizontal axis is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Across {
    /// Seconds of the run, up to its duration: all such plots show one moment together.
    Time {
        /// Where the axis ends.
        until: f64,
    },
    /// Anything else, with its scale.
    Other(Scale),
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A stroke.
    Line,
    /// A stroke over a tinted area down to zero.
    Area,
    /// Bars as wide as the distance between points.
    Bars,
}

/// What becomes of neighbouring points where there are more than fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thin {
    /// The greatest stays: no spike of a percentile is lost.
    Max,
    /// The least stays: a gauge claims no more than was proven.
    Min,
    /// Their mean: a rate over the longer time.
    Mean,
}

/// One line of a plot.
pub(super) struct Line {
    /// For legend and read-out.
    pub(super) label: String,
    /// A class of the palette: `c0` to `c5`, `good`, `bad`, `doubtful`, `p50`, `p95`, `p99`.
    pub(super) colour: &'static str,
    /// How it is drawn.
    pub(super) shape: Shape,
    /// One value per `x`; gaps where nothing was measured.
    pub(super) values: Vec<Option<f64>>,
}

/// A named span behind the lines.
pub(super) struct Band {
    /// Shown at its top.
    pub(super) name: String,
    /// Start on the horizontal axis.
    pub(super) from: f64,
    /// End on the horizontal axis.
    pub(super) to: f64,
}

/// A vertical line with a name.
pub(super) struct Mark {
    /// Shown at its top.
    pub(super) name: String,
    /// Place on the horizontal axis.
    pub(super) at: f64,
}

/// Everything that a plot shows.
pub(super) struct Plot {
    /// Above it.
    pub(super) title: String,
    /// Beside the title, in small.
    pub(super) note: String,
    /// Of the vertical axis.
    pub(super) measure: Measure,
    /// The horizontal axis.
    pub(super) across: Across,
    /// Points on it, ascending.
    pub(super) x: Vec<f64>,
    /// How each point is called in the read-out; empty: as a time.
    pub(super) x_labels: Vec<String>,
    /// The vertical axis; absent: linear from zero.
    pub(super) up: Option<Scale>,
    /// The lines, the first at the back.
    pub(super) lines: Vec<Line>,
    /// Spans behind them.
    pub(super) bands: Vec<Band>,
    /// Vertical lines before them.
    pub(super) marks: Vec<Mark>,
}

impl Plot {
    /// Draws the plot as a figure.
    pub(super) fn render(&self) -> Markup {
        let across = match self.across {
            Across::Time { until } => Scale::Linear {
                from: 0.0,
                to: until.max(1e-3),
            },
            Across::Other(scale) => scale,
        };
        let most = self
            .lines
            .iter()
            .flat_map(|line| line.values.iter().flatten())
            .copied()
            .fold(0.0, f64::max);
        let up = self.up.unwrap_or_else(|| self.measure.scale(most));
        let empty = self
            .lines
            .iter()
            .all(|line| line.values.iter().all(Option::is_none));
        let time = matches!(self.across, Across::Time { .. });
        html! {
            figure.plot {
                figcaption {
                    span.title title=(self.title) { (self.title) }
                    @if !self.note.is_empty() { span.note { (self.note) } }
                    @if self.lines.len() > 1 {
                        ul.legend {
                            @for line in &self.lines { li class=(line.colour) title=(line.label) { (format::shorten(&line.label, 36)) } }
                        }
                    }
                }
                div.area {
                    (self.vertical_labels(up))
                    div.canvas data-time[time] tabindex=[(!empty).then_some("0")] {
                        svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" aria-label=(self.title) {
                            (PreEscaped(self.drawing(across, up)))
                        }
                        @for band in &self.bands {
                            span.band-name style=(left(across.place(band.from))) { (band.name) }
                        }
                        @for mark in &self.marks {
                            span.mark-name.flip[across.place(mark.at) > 0.85] style=(left(across.place(mark.at))) { (mark.name) }
                        }
                        @if empty { p.nothing { "nothing was measured" } }
                    }
                    (self.horizontal_labels(across))
                }
                @if !empty { script type="application/json" { (PreEscaped(self.read_out(across))) } }
            }
        }
    }

    fn vertical_labels(&self, up: Scale) -> Markup {
        html! {
            div.y-axis {
                @for tick in self.measure.ticks(up) {
                    span style=(format!("bottom:{:.2}%", up.place(tick) * 100.0)) { (self.measure.show(tick)) }
                }
            }
        }
    }

    fn horizontal_labels(&self, across: Scale) -> Markup {
        html! {
            div.x-axis {
                @for (tick, text) in self.horizontal_ticks(across) {
                    @let place = across.place(tick);
                    span.last[place > 0.96].first[place < 0.02] style=(left(place)) { (text) }
                }
            }
        }
    }

    fn horizontal_ticks(&self, across: Scale) -> Vec<(f64, String)> {
        match (self.across, across) {
            (Across::Time { until }, _) => across
                .time_ticks(6.0)
                .into_iter()
                .map(|tick| (tick, clock(tick, until)))
                .collect(),
            (Across::Other(_), Scale::Nines { .. }) => across
                .ticks(6.0)
                .into_iter()
                .map(|tick| (tick, percentile(tick)))
                .collect(),
            (Across::Other(_), _) => across
                .ticks(6.0)
                .into_iter()
                .map(|tick| (tick, format::seconds(tick)))
                .collect(),
        }
    }

    /// The inside of the SVG. It holds numbers and class names only, so nothing in it needs escaping.
    fn drawing(&self, across: Scale, up: Scale) -> String {
        let mut out = String::new();
        for band in &self.bands {
            let (from, to) = (across.place(band.from) * SIDE, across.place(band.to) * SIDE);
            let _ = write!(
                out,
                r#"<rect class="band" x="{from:.1}" y="0" width="{:.1}" height="1000"/>"#,
                (to - from).max(0.0)
            );
        }
        for tick in self.measure.ticks(up) {
            let y = down(up, tick);
            let _ = write!(out, r#"<path class="grid" d="M0 {y:.1}H1000"/>"#);
        }
        for line in &self.lines {
            let points: Vec<_> = self
                .x
                .iter()
                .zip(&line.values)
                .map(|(x, value)| (across.place(*x) * SIDE, value.map(|v| down(up, v))))
                .collect();
            match line.shape {
                Shape::Bars => bars(&mut out, line.colour, &points),
                Shape::Line => stroke(&mut out, line.colour, &points),
                Shape::Area => {
                    area(&mut out, line.colour, &points);
                    stroke(&mut out, line.colour, &points);
                }
            }
        }
        for mark in &self.marks {
            let x = across.place(mark.at) * SIDE;
            let _ = write!(out, r#"<path class="mark" d="M{x:.1} 0V1000"/>"#);
        }
        out
    }

    /// What the script needs to read values out. `<` is escaped, so that no label can end the element.
    fn read_out(&self, across: Scale) -> String {
        let until = if let Across::Time { until } = self.across {
            until
        } else {
            0.0
        };
        let labels: Vec<_> = if self.x_labels.is_empty() {
            self.x.iter().map(|x| clock(*x, until)).collect()
        } else {
            self.x_labels.clone()
        };
        let places: Vec<_> = self
            .x
            .iter()
            .map(|x| (across.place(*x) * 1e4).round() / 1e4)
            .collect();
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|line| {
                let values: Vec<_> = line.values.iter().map(|value| value.map(short)).collect();
                json!({ "label": line.label, "colour": line.colour, "values": values })
            })
            .collect();
        let data =
            json!({ "unit": self.measure.key(), "at": places, "labels": labels, "lines": lines });
        data.to_string().replace('<', "\\u003c")
    }
}

/// Thins `x` and its lines together to at most [`MOST_POINTS`].
pub(super) fn thin(x: &[f64], lines: &mut [(&mut Vec<Option<f64>>, Thin)]) -> Vec<f64> {
    if x.len() <= MOST_POINTS {
        return x.to_vec();
    }
    let size = x.len().div_ceil(MOST_POINTS);
    for (values, how) in lines {
        **values = values
            .chunks(size)
            .map(|chunk| thin_one(chunk, *how))
            .collect();
    }
    x.chunks(size).map(|chunk| chunk[0]).collect()
}

fn thin_one(chunk: &[Option<f64>], how: Thin) -> Option<f64> {
    let measured = chunk.iter().flatten().copied();
    match how {
        Thin::Max => measured.reduce(f64::max),
        Thin::Min => measured.reduce(f64::min),
        Thin::Mean => {
            let (sum, count) =
                measured.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
            (count > 0.0).then(|| sum / count)
        }
    }
}

/// The name of a percentile with all its nines: `p99.99`.
pub(super) fn percentile(share: f64) -> String {
    format!("p{}", (share * 1e5).round() / 1e3)
}

/// A time of the run: seconds in short runs, minutes and seconds in long ones.
pub(super) fn clock(seconds: f64, until: f64) -> String {
    let sub_second = (seconds.fract() * 10.0).round() / 10.0;
    if until <= 120.0 {
        return if sub_second == 0.0 {
            format!("{seconds:.0} s")
        } else {
            format!("{seconds:.1} s")
        };
    }
    let whole: u64 = format!("{:.0}", seconds.max(0.0).floor())
        .parse()
        .unwrap_or(0);
    if until < 7_200.0 {
        format!("{}:{:02}", whole / 60, whole % 60)
    } else {
        format!(
            "{}:{:02}:{:02}",
            whole / 3_600,
            whole % 3_600 / 60,
            whole % 60
        )
    }
}

fn left(place: f64) -> String {
    format!("left:{:.2}%", place * 100.0)
}

fn down(up: Scale, value: f64) -> f64 {
    (1.0 - up.place(value)) * SIDE
}

/// Six significant digits: as exact as a read-out, and half the size.
fn short(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10f64.powf(5.0 - value.abs().log10().floor());
    (value * scale).round() / scale
}

/// Runs of points without a gap.
fn runs(points: &[(f64, Option<f64>)]) -> Vec<Vec<(f64, f64)>> {
    let mut runs = vec![Vec::new()];
    for (x, y) in points {
        match (y, runs.last_mut()) {
            (Some(y), Some(run)) => run.push((*x, *y)),
            _ => runs.push(Vec::new()),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

fn trace(run: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (index, (x, y)) in run.iter().enumerate() {
        let _ = write!(path, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
    }
    path
}

fn stroke(out: &mut String, colour: &str, points: &[(f64, Option<f64>)]) {
    for run in runs(points) {
        // A point alone is a line of no length, whose round caps make a dot.
        let (class, tail) = if run.len() == 1 {
            ("dot", "h0")
        } else {
            ("line", "")
        };
        let _ = write!(
            out,
            r#"<path class="{class} {colour}" d="{}{tail}"/>"#,
            trace(&run)
        );
    }
}

fn area(out: &mut String, colour: &str, points: &[(f64, Option<f64>)]) {
    for run in runs(points).iter().filter(|run| run.len() > 1) {
        let (first, last) = (run[0].0, run[run.len() - 1].0);
        let _ = write!(
            out,
            r#"<path class="fill {colour}" d="{}L{last:.1} 1000L{first:.1} 1000Z"/>"#,
            trace(run)
        );
    }
}

fn bars(out: &mut String, colour: &str, points: &[(f64, Option<f64>)]) {
    let width = if points.len() > 1 {
        (points[1].0 - points[0].0).abs()
    } else {
        SIDE / 60.0
    };
    for (x, y) in points {
        if let Some(y) = y.filter(|y| *y < SIDE) {
            let (x, width, height) = (x - width * 0.45, width * 0.9, (SIDE - y).max(6.0));
            let _ = write!(
                out,
                r#"<rect class="bar {colour}" x="{x:.1}" y="{:.1}" width="{width:.1}" height="{height:.1}"/>"#,
                SIDE - height
            );
        }
    }
}
