//! Scripted latencies come back over loopback: never shorter, and hardly longer.

use anyhow::Result;
use testmesh_e2e::{
    Cli, Expected,
    calibration::{Answers, Reading, Yardstick, loop_lateness, reading},
};

use crate::plan;

/// What may lie between the answer's time and half of the measurements, on a quiet machine.
const MEDIAN_ABOVE: f64 = 0.001;
/// The upper end of a histogram's bucket is above what it holds by no more than this share.
const BUCKET: f64 = 0.001;

#[track_caller]
fn check(measured: &Reading, scripted: f64, count: f64, widened: f64) {
    assert_eq!(measured.get("count"), count, "{measured:?}");
    for column in ["min", "mean", "p50", "p95", "p99", "max"] {
        let value = measured.get(column);
        assert!(
            value >= scripted,
            "{column} is below {scripted}: {measured:?}"
        );
    }
    let most = scripted * (1.0 + BUCKET) + MEDIAN_ABOVE + widened;
    let median = measured.get("p50");
    assert!(
        median < most,
        "a median of {median} for {scripted}, widened by {widened}: {measured:?}"
    );
}

#[tokio::test]
async fn alone_scripted_latencies_come_back_over_loopback() -> Result<()> {
    let server = Answers::start()?;
    let yardstick = Yardstick::start(server.address())?;
    let run = Cli::run(&plan("latency.yaml")).var("server", &server.url());
    let outcome = run.finish().await?;
    let widened = yardstick.stop()? + loop_lateness(&outcome);
    Expected::passed().check(&outcome);

    for answer in server.log("/after") {
        let went = answer.went.expect("every request was answered");
        assert!(went >= answer.due, "the server itself was early");
    }
    for millis in [0_u32, 5, 20, 100] {
        let stage = format!("after-{millis}");
        let labels = [
            ("scenario", "closed"),
            ("stage", &*stage),
            ("outcome", "passed"),
        ];
        let scripted = f64::from(millis) / 1_000.0;
        let duration = reading(&outcome, "stage_duration", &labels);
        check(&duration, scripted, 60.0, widened);
        let first_byte = reading(&outcome, "stage_first_byte", &labels[..2]);
        check(&first_byte, scripted, 60.0, widened);
    }
    // From the planned start: what the clock of the agent's loop adds is part of it.
    let response = reading(&outcome, "session_response", &[("scenario", "open")]);
    let lag = reading(&outcome, "schedule_lag", &[("scenario", "open")]).get("p50");
    check(&response, 0.05, 320.0, widened + lag);
    Ok(())
}
