//! Sessions start as often as planned, and when planned.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use testmesh_e2e::{
    Cli, Expected,
    calibration::{Answers, quantile, reading},
};

use crate::plan;

const RATE: f64 = 1_000.0;
const BOUND: f64 = 0.005;

#[tokio::test]
async fn alone_the_achieved_rate_is_the_planned_one() -> Result<()> {
    let server = Answers::start()?;
    let run = Cli::run(&plan("rate.yaml")).var("server", &server.url());
    let outcome = run.finish().await?;
    Expected::passed()
        .with("/sessions/planned", 10_000.0, 10_000.0)
        .with("/sessions/started", 10_000.0, 10_000.0)
        .check(&outcome);
    let lag = reading(&outcome, "schedule_lag", &[("scenario", "even")]);
    assert_eq!(lag.get("count"), 10_000.0);

    // The server's own clock: how much later than a millisecond after the one before each request came, added up.
    let mut came = Vec::new();
    for one in server.log("/even") {
        let index = one.path.rsplit('/').next().context("a path has parts")?;
        came.push((index.parse::<u32>()?, one.came));
    }
    came.sort_unstable_by_key(|(index, _)| *index);
    let indices: Vec<u32> = came.iter().map(|(index, _)| *index).collect();
    assert_eq!(indices, (0..10_000).collect::<Vec<_>>(), "each came once");
    let first = came[0].1;
    let behind = |(index, at): &(u32, tokio::time::Instant)| {
        let planned = Duration::from_millis(u64::from(*index));
        // Those before the first one's own delay count as before it.
        at.saturating_duration_since(first).as_secs_f64() - planned.as_secs_f64()
    };
    let median = |of: &[(u32, tokio::time::Instant)]| {
        let mut behind: Vec<f64> = of.iter().map(behind).collect();
        behind.sort_unstable_by(f64::total_cmp);
        quantile(&behind, 0.5)
    };
    // Half of each second's requests are in time whatever the machine does: their drift is the clock's.
    let drift = median(&came[9_000..]) - median(&came[..1_000]);
    let achieved = RATE * 9.0 / (9.0 + drift);
    assert!(
        (achieved / RATE - 1.0).abs() < BOUND,
        "{achieved} a second, a drift of {drift} s"
    );
    Ok(())
}

/// The planned starts of a schedule: scenario's sessions by index, and when.
pub(crate) async fn schedule(plan_name: &str, args: &[&str]) -> Result<Vec<f64>> {
    let mut check = Cli::new().arg("check").arg(plan(plan_name));
    for arg in ["--schedule", "--output", "json"].iter().chain(args) {
        check = check.arg(arg);
    }
    let outcome = check.finish().await?;
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let shown: Value = serde_json::from_str(&outcome.stdout)?;
    let arrivals = shown["arrivals"]
        .as_array()
        .context("a schedule has arrivals")?;
    let mut starts = Vec::new();
    for arrival in arrivals {
        let index = arrival["index"]
            .as_u64()
            .context("an arrival has an index")?;
        starts.push((
            index,
            arrival["at"].as_f64().context("an arrival has a time")?,
        ));
    }
    starts.sort_unstable_by_key(|(index, _)| *index);
    let indices = starts.iter().map(|(index, _)| *index);
    let all: Vec<u64> = (0..).take(starts.len()).collect();
    assert_eq!(indices.collect::<Vec<_>>(), all, "each is planned once");
    Ok(starts.into_iter().map(|(_, at)| at).collect())
}

#[tokio::test]
async fn the_planned_starts_are_the_rate_to_the_nanosecond() -> Result<()> {
    for agents in ["1", "7"] {
        let starts = schedule("rate.yaml", &["--agents", agents, "--var", "rate=3000"]).await?;
        assert_eq!(starts.len(), 30_000);
        for (index, at) in (0_u32..).zip(starts) {
            let planned = f64::from(index) / 3_000.0;
            assert!(
                (at - planned).abs() <= 1e-9,
                "{index} at {at}, not at {planned}"
            );
        }
    }
    Ok(())
}
