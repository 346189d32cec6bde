//! One side of a threshold: `1.5 * p95(stage_duration{stage="login"})`, or a value in the unit of the other side.

use std::fmt;

use super::model::{Agg, Matcher, Reading};
use super::nearest::nearest;
use super::problem::ProblemCode;
use super::quantity;
use super::threshold::Known;
use crate::metric::table::{Kind, METRICS, Metric, MetricId, RateBase, Unit};

pub(super) type Wrong = (ProblemCode, String, String);

pub(super) fn wrong(message: impl Into<String>, hint: impl Into<String>) -> Wrong {
    (ProblemCode::Threshold, message.into(), hint.into())
}

/// A side that reads a metric.
pub(super) struct Side {
    pub(super) reading: Reading,
    pub(super) metric: &'static Metric,
}

/// What a side measures; both sides of a threshold must measure the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    Seconds,
    Bytes,
    Share,
    Count,
    PerSecond,
    BytesPerSecond,
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seconds => "a duration",
            Self::Bytes => "a size",
            Self::Share => "a share",
            Self::Count => "a number",
            Self::PerSecond => "a number per second",
            Self::BytesPerSecond => "a size per second",
        })
    }
}

impl Side {
    pub(super) fn measure(&self) -> Measure {
        measure(self.reading.agg, self.metric)
    }
}

fn measure(agg: Agg, metric: &Metric) -> Measure {
    match (agg, metric.unit) {
        (Agg::Rate, _) => Measure::Share,
        (Agg::Count, _) if metric.kind == Kind::Trend => Measure::Count,
        (Agg::PerSecond, Unit::Bytes) => Measure::BytesPerSecond,
        (Agg::PerSecond, _) => Measure::PerSecond,
        (_, Unit::Seconds) => Measure::Seconds,
        (_, Unit::Bytes) => Measure::Bytes,
        (_, Unit::Share) => Measure::Share,
        (_, Unit::Count) => Measure::Count,
    }
}

/// Reads a side that reads a metric, and checks that it can be read.
pub(super) fn side(text: &str, known: &Known) -> Result<Side, Wrong> {
    let operand = parse_operand(text)?;
    let metric = find_metric(&operand.reading.metric)?;
    let Reading { agg, matchers, .. } = &operand.reading;
    check_agg(*agg, &operand.agg_text, metric)?;
    check_matchers(matchers, metric, known)?;
    check_ledger(&operand.reading, metric)?;
    Ok(Side {
        reading: operand.reading,
        metric,
    })
}

struct Parsed {
    reading: Reading,
    agg_text: String,
}

fn parse_operand(text: &str) -> Result<Parsed, Wrong> {
    let shape = || {
        wrong(
            format!("`{text}` is not an aggregate of a metric"),
            "write it like `count(sessions_failed)`",
        )
    };
    let open = text.find('(').ok_or_else(shape)?;
    let inner = text[open + 1..].strip_suffix(')').ok_or_else(shape)?;
    let (factor, agg_text) = match text[..open].split_once('*') {
        Some((factor, agg)) => {
            let factor: f64 = factor.trim().parse().map_err(|_| shape())?;
            (factor, agg.trim())
        }
        None => (1.0, text[..open].trim()),
    };
    if !factor.is_finite() {
        return Err(shape());
    }
    let (metric, matchers) = match inner.split_once('{') {
        Some((metric, rest)) => {
            let matchers = rest.trim_end().strip_suffix('}').ok_or_else(shape)?;
            (metric.trim(), parse_matchers(matchers)?)
        }
        None => (inner.trim(), Vec::new()),
    };
    Ok(Parsed {
        reading: Reading {
            factor,
            agg: parse_agg(agg_text)?,
            metric: metric.to_owned(),
            matchers,
        },
        agg_text: agg_text.to_owned(),
    })
}

fn parse_agg(text: &str) -> Result<Agg, Wrong> {
    const WORDS: [&str; 8] = [
        "count",
        "sum",
        "rate",
        "per_second",
        "min",
        "max",
        "mean",
        "p95",
    ];
    let percentile = || {
        let digits = text.strip_prefix('p')?;
        let number: f64 = digits
            .parse()
            .ok()
            .filter(|number| *number > 0.0 && *number <= 100.0)?;
        digits
            .starts_with(|c: char| c.is_ascii_digit())
            .then_some(Agg::Percentile(number))
    };
    match text {
        "count" => Ok(Agg::Count),
        "sum" => Ok(Agg::Sum),
        "rate" => Ok(Agg::Rate),
        "per_second" => Ok(Agg::PerSecond),
        "min" => Ok(Agg::Min),
        "max" => Ok(Agg::Max),
        "mean" => Ok(Agg::Mean),
        _ => percentile().ok_or_else(|| {
            let hint = match text {
                "avg" | "average" => "did you mean `mean`?".to_owned(),
                "median" | "med" => "did you mean `p50`?".to_owned(),
                _ => nearest(text, WORDS).map_or_else(
                    || format!("there are {}, and any other percentile", WORDS.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                ),
            };
            wrong(format!("there is no aggregate `{text}`"), hint)
        }),
    }
}

fn parse_matchers(text: &str) -> Result<Vec<Matcher>, Wrong> {
    let mut matchers = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let shape = || {
            wrong(
                format!("`{text}` selects no series"),
                "write it like `{stage=\"login\", site!=\"haifa\"}`",
            )
        };
        let label_end = rest.find(['=', '!']).ok_or_else(shape)?;
        let label = rest[..label_end].trim();
        let (equal, value) = match rest[label_end..].strip_prefix("!=") {
            Some(value) => (false, value),
            None => (true, rest[label_end..].strip_prefix('=').ok_or_else(shape)?),
        };
        let value = value.trim_start().strip_prefix('"').ok_or_else(shape)?;
        let end = value.find('"').ok_or_else(shape)?;
        matchers.push(Matcher {
            label: label.to_owned(),
            equal,
            value: value[..end].to_owned(),
        });
        rest = value[end + 1..].trim_start();
        rest = match rest.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if rest.is_empty() => rest,
            None => return Err(shape()),
        };
    }
    Ok(matchers)
}

fn find_metric(name: &str) -> Result<&'static Metric, Wrong> {
    METRICS
        .iter()
        .find(|metric| metric.name == name)
        .ok_or_else(|| {
            let names = METRICS.iter().map(|metric| metric.name);
            let hint = nearest(name, names).map_or_else(
                || "`docs/metrics.md` lists all metrics".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            wrong(format!("there is no metric `{name}`"), hint)
        })
}

fn check_agg(agg: Agg, text: &str, metric: &Metric) -> Result<(), Wrong> {
    let (kind, fits, hint) = match metric.kind {
        Kind::Counter => {
            let fits = matches!(agg, Agg::Count | Agg::Sum | Agg::PerSecond | Agg::Rate);
            (
                "a counter",
                fits,
                "counters have `count`, `rate` and `per_second`",
            )
        }
        Kind::Gauge => {
            let fits = matches!(agg, Agg::Min | Agg::Max | Agg::Mean);
            ("a gauge", fits, "gauges have `min`, `max` and `mean`")
        }
        Kind::Trend => {
            let fits = !matches!(agg, Agg::Rate);
            (
                "a trend",
                fits,
                "trends have `count`, `sum`, `min`, `max`, `mean` and percentiles like `p95`",
            )
        }
    };
    if !fits {
        return Err(wrong(
            format!("`{}` is {kind}, which has no `{text}`", metric.name),
            hint,
        ));
    }
    if agg == Agg::Rate && metric.rate_base.is_none() {
        let hint = "use `count` or `per_second`";
        return Err(wrong(
            format!("`rate({})` has nothing to divide by", metric.name),
            hint,
        ));
    }
    Ok(())
}

fn check_matchers(matchers: &[Matcher], metric: &Metric, known: &Known) -> Result<(), Wrong> {
    for Matcher { label, value, .. } in matchers {
        let labels = ["scenario", "site", "phase"]
            .iter()
            .chain(metric.labels)
            .copied();
        if !labels.clone().any(|known| known == label) {
            let hint = nearest(label, labels.clone()).map_or_else(
                || format!("it has {}", labels.collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(wrong(
                format!("`{}` has no label `{label}`", metric.name),
                hint,
            ));
        }
        let values: Vec<&str> = match label.as_str() {
            "scenario" if !known.scenarios.is_empty() => known
                .scenarios
                .iter()
                .map(String::as_str)
                .chain(["setup", "teardown"])
                .chain((!known.faults.is_empty()).then_some("faults"))
                .collect(),
            "stage" if !known.stages.is_empty() => {
                known.stages.iter().map(String::as_str).collect()
            }
            "site" if !known.sites.is_empty() => known.sites.iter().map(String::as_str).collect(),
            "phase" => {
                let named = known.phases.iter().map(String::as_str);
                ["warm_up"].into_iter().chain(named).collect()
            }
            "fault" => known.faults.iter().map(String::as_str).collect(),
            "error" => crate::ErrorKind::ALL
                .iter()
                .map(|kind| kind.as_str())
                .collect(),
            _ => continue,
        };
        if !values.contains(&value.as_str()) {
            let hint = nearest(value, values.iter().copied()).map_or_else(
                || match values.as_slice() {
                    [] => format!("the plan has no {label}"),
                    values => format!("there are {}", values.join(", ")),
                },
                |near| format!("did you mean `{near}`?"),
            );
            return Err((
                ProblemCode::UnknownName,
                format!("there is no {label} `{value}`"),
                hint,
            ));
        }
    }
    Ok(())
}

/// Some numbers of the ledger are known for whole scenarios only: of a session that never began nobody can say at which
/// site or in which phase it would have.
fn check_ledger(reading: &Reading, metric: &Metric) -> Result<(), Wrong> {
    let of_planned = reading.agg == Agg::Rate && metric.rate_base == Some(RateBase::Planned);
    let (unknown, what): (&[&str], _) = match metric.id {
        MetricId::SessionsPlanned | MetricId::SessionsUnstarted => {
            (&["site", "phase"], format!("`{}` is known", metric.name))
        }
        MetricId::SessionsLost => (&["phase"], format!("`{}` is known", metric.name)),
        _ if of_planned => (
            &["site", "phase"],
            format!("`rate({})` divides by sessions_planned, known", metric.name),
        ),
        _ => return Ok(()),
    };
    let matchers = &reading.matchers;
    match matchers
        .iter()
        .find(|matcher| unknown.contains(&matcher.label.as_str()))
    {
        None => Ok(()),
        Some(Matcher { label, .. }) => Err(wrong(
            format!("{what} for whole scenarios only, not by `{label}`"),
            format!("leave `{label}` out, or count `sessions_started` or `sessions_failed`"),
        )),
    }
}

/// A value in the unit that the aggregate of the other side is in.
pub(super) fn value(text: &str, agg: Agg, metric: &Metric) -> Result<f64, Wrong> {
    if text.is_empty() {
        return Err(wrong(
            "there is no value behind the comparison",
            "write it like `< 500ms`",
        ));
    }
    let number = || text.parse::<f64>().ok().filter(|value| value.is_finite());
    let plain = |what: &str| {
        number().ok_or_else(|| {
            wrong(
                format!("`{text}` is not a number"),
                format!("{what} is a plain number"),
            )
        })
    };
    match measure(agg, metric) {
        Measure::Share if agg == Agg::Rate => quantity::share(text)
            .map_err(|reason| wrong(format!("`{text}` {reason}"), "a rate is written like `1%`")),
        Measure::Share => quantity::share(text).map_err(|reason| {
            let hint = "a share is written like `90%`";
            wrong(format!("`{text}` {reason}"), hint)
        }),
        Measure::Count => plain("a count"),
        Measure::PerSecond => plain("a number per second"),
        Measure::Seconds => {
            let duration = quantity::duration(text).map(|limit| limit.as_secs_f64());
            duration.map_err(|reason| {
                let hint = "a duration is written like `500ms`";
                wrong(format!("`{text}` {reason}"), hint)
            })
        }
        Measure::Bytes | Measure::BytesPerSecond => {
            #[expect(
                clippy::cast_precision_loss,
                reason = "limits are far below 2^53 bytes"
            )]
            let size = quantity::size(text).map(|limit| limit as f64);
            size.map_err(|reason| {
                let hint = "a size is written like `4MiB`";
                wrong(format!("`{text}` {reason}"), hint)
            })
        }
    }
}
