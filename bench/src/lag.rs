//! Schedule lag of the open model: how late sessions of an empty stage start at a high rate.

use anyhow::{Context as _, Result};
use testmesh_coordinator::report::json;
use testmesh_shared::metric::MetricId;
use xtask::process::say;

use crate::cpu;
use crate::figures::{Figures, Line, Must, Quantity, TESTMESH};
use crate::programs::Testmesh;
use crate::slope::Effort;

/// Sessions in a second.
const ARRIVALS: u64 = 2_000;

/// Runs the benchmark.
pub(crate) fn run(effort: &Effort) -> Result<Figures> {
    let seconds = if effort.quick { 2 } else { 20 };
    let testmesh = Testmesh::build()?;
    let vars = [
        ("arrivals", ARRIVALS.to_string()),
        ("seconds", format!("{seconds}s")),
    ];
    let mut lines = ["p50", "p99", "p99.9", "greatest"].map(|which| Line {
        client: if which == "p99" {
            TESTMESH.to_owned()
        } else {
            format!("{TESTMESH}, {which}")
        },
        does: format!("{which} of a run"),
        work: (ARRIVALS * seconds).to_string(),
        values: Vec::new(),
    });
    for round in 1..=effort.rounds {
        cpu::of(&mut testmesh.run("lag.yaml", &vars))?;
        let lags = lags(&std::fs::read(testmesh.report())?)?;
        say(&format!(
            "round {round}: p50, p99, p99.9, greatest: {lags:.3?} ms"
        ));
        for (line, lag) in lines.iter_mut().zip(lags) {
            line.values.push(lag);
        }
    }
    Ok(Figures {
        title: format!("Schedule lag at {ARRIVALS} arrivals a second"),
        quantity: Quantity {
            what: "lag",
            unit: "ms",
            work: "sessions",
            digits: 2,
        },
        lines: lines.into(),
        musts: vec![Must::AtMost(5.0)],
    })
}

/// Median, 99th and 99.9th percentile and greatest lag of a report, in milliseconds.
fn lags(report: &[u8]) -> Result<[f64; 4]> {
    let report = json::parse(report)?;
    let name = MetricId::ScheduleLag.name();
    let row = report.metrics.iter().find(|row| row.name == name);
    let row = row.with_context(|| format!("the report has no {name}"))?;
    let all = [
        row.percentiles.p50,
        row.percentiles.p99,
        row.percentiles.p999,
        row.max,
    ];
    let mut lags = [f64::NAN; 4];
    for (lag, seconds) in lags.iter_mut().zip(all) {
        *lag = 1e3 * seconds.with_context(|| format!("{name} was not measured"))?;
    }
    Ok(lags)
}
