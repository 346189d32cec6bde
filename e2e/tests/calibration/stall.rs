//! A server that stalls one second in ten shows it in `session_response`, as computed.

use std::time::Duration;

use anyhow::Result;
use testmesh_e2e::{
    Cli, Expected,
    calibration::{Answers, Freeze, quantile, reading},
};

use crate::plan;

/// How far the measured value may be from the computed one.
const BOUND: f64 = 0.02;
/// How late a server is that is not held up by anything.
const QUIET: f64 = 0.002;

const FREEZE: Freeze = Freeze {
    every: Duration::from_secs(10),
    first: Duration::from_secs(4),
    lasts: Duration::from_secs(1),
    catch_up: 0.25,
};

#[tokio::test]
async fn alone_a_second_in_ten_is_seen_as_computed() -> Result<()> {
    let server = Answers::freezing(FREEZE)?;
    let run = Cli::run(&plan("stall.yaml")).var("server", &server.url());
    let outcome = run.finish().await?;
    Expected::passed()
        .with("/sessions/planned", 20_000.0, 20_000.0)
        .with("/sessions/passed", 20_000.0, 20_000.0)
        .check(&outcome);

    let waited = server.log("/freezing").into_iter();
    let waited = waited.filter(|one| one.due > one.came);
    let mut late: Vec<f64> = waited
        .map(|one| {
            let went = one.went.expect("every request was answered");
            (went - one.due).as_secs_f64()
        })
        .collect();
    late.sort_unstable_by(f64::total_cmp);
    // A server that was held up itself was not what the computation says.
    let held_up = quantile(&late, 0.95);
    let widened = if held_up <= QUIET { 0.0 } else { held_up };

    let response = reading(&outcome, "session_response", &[("scenario", "even")]);
    let check = |what: &str, measured: f64, computed: f64| {
        let bound = computed * BOUND + widened;
        assert!(
            (measured - computed).abs() <= bound,
            "{what} is {measured}, computed {computed}, widened by {widened}: {response:?}"
        );
    };
    check("p95", response.get("p95"), FREEZE.quantile(0.95));
    check("p99", response.get("p99"), FREEZE.quantile(0.99));
    check("p999", response.get("p999"), FREEZE.quantile(0.999));
    // Everything takes what nothing waits for, too.
    check(
        "mean",
        response.get("mean"),
        FREEZE.mean() + response.get("p50"),
    );
    assert!(
        response.get("p50") < 0.02,
        "half of all never waited: {response:?}"
    );
    Ok(())
}
