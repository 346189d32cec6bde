//! Each fault of the data fails the plans that must catch it, with its own counter and its own reason, and nothing else.

use anyhow::Result;
use testmesh_e2e::{Cli, Expected, plan};

use crate::healthy::short_live_view;

const MANY: f64 = 1e9;

fn with_behavior(cli: &Cli, behavior: &str) -> Cli {
    // The last --testbed wins, so a short form can be taken as it is.
    cli.clone().arg(format!("--testbed={behavior}"))
}

fn live_view(behavior: &str) -> Cli {
    with_behavior(
        &Cli::run(&plan("focus/live-view.yaml"))
            .var("users", "6")
            .var("for", "6s"),
        behavior,
    )
}

fn historic(behavior: &str) -> Cli {
    with_behavior(
        &Cli::run(&plan("focus/historic-playback.yaml")).var("sessions", "2"),
        behavior,
    )
}

/// What one row fault must come to: its reason, and which counter shows it.
fn row_fault(reason: &str, counter: &str) -> Expected {
    Expected::failed()
        .because(reason)
        .with(&format!("/integrity/{counter}"), 1.0, MANY)
}

macro_rules! row_faults {
    ($($test:ident: $behavior:literal => $reason:literal in $counter:literal;)*) => {$(
        mod $test {
            use super::*;

            #[tokio::test]
            async fn fails_live_view() -> Result<()> {
                row_fault($reason, $counter).check(&live_view($behavior).finish().await?);
                Ok(())
            }

            #[tokio::test]
            async fn fails_historic_playback() -> Result<()> {
                row_fault($reason, $counter).check(&historic($behavior).finish().await?);
                Ok(())
            }
        }
    )*};
}

row_faults! {
    flip_bit: "flip-bit" => "rows_mismatched" in "mismatched";
    drop_row: "drop-row" => "rows_missing" in "missing";
    repeat_row: "repeat-row" => "rows_repeated" in "repeated";
    swap_rows: "swap-rows" => "rows_reordered" in "reordered";
    truncate_row: "truncate-row" => "rows_mismatched" in "mismatched";
    wrong_stream: "wrong-stream" => "rows_mismatched" in "mismatched";
}

#[tokio::test]
async fn early_end_fails_both_plans() -> Result<()> {
    // Live, `stop` says how long a stream must be; a historic stream has no other end than its own, but a manifest.
    let expected = Expected::failed().because("ended_early");
    expected.check(&live_view("early-end").finish().await?);
    expected.check(&historic("early-end").finish().await?);
    Ok(())
}

#[tokio::test]
async fn a_stall_fails_both_plans() -> Result<()> {
    let expected = Expected::failed().because("threshold_broken");
    expected.check(&live_view("stall").finish().await?);
    expected.check(&historic("stall").finish().await?);
    Ok(())
}

#[tokio::test]
async fn a_slow_stage_fails_both_plans() -> Result<()> {
    let expected = Expected::failed().because("threshold_broken");
    expected.check(&live_view("slow-stage").finish().await?);
    expected.check(&historic("slow-stage").finish().await?);
    Ok(())
}

#[tokio::test]
async fn a_slow_stage_breaks_the_limit_of_jobs_200() -> Result<()> {
    // So few users hold no six hundred streams open, which is another threshold.
    let few = Cli::run(&plan("focus/jobs-200.yaml"))
        .var("users", "10")
        .var("for", "2s");
    let outcome = with_behavior(&few, "slow-stage").finish().await?;
    let thresholds = outcome.report["thresholds"].as_array();
    let configure = thresholds
        .into_iter()
        .flatten()
        .find(|threshold| threshold["expr"].to_string().contains("configure"));
    assert_eq!(
        configure.map(|threshold| &threshold["outcome"]),
        Some(&"failed".into())
    );
    Ok(())
}

#[tokio::test]
async fn a_fault_is_found_by_five_agents_as_by_one() -> Result<()> {
    let outcome = live_view("flip-bit")
        .arg("--agents")
        .arg("5")
        .finish()
        .await?;
    row_fault("rows_mismatched", "mismatched").check(&outcome);
    let disagreements = outcome.report["integrity"]["disagreements"].as_array();
    assert!(
        disagreements.is_some_and(|rows| !rows.is_empty()),
        "no disagreement is shown"
    );
    drop(short_live_view());
    Ok(())
}
