//! A healthy server passes, however the mesh is cut.

use anyhow::Result;
use testmesh_e2e::{Cli, Expected, Outcome, plan};

/// The short form of the live view: every user has at least one whole session.
fn short_live_view() -> Cli {
    Cli::run(&plan("focus/live-view.yaml"))
        .var("users", "6")
        .var("for", "6s")
        .arg("--testbed")
}

fn count(outcome: &Outcome, name: &str) -> u64 {
    outcome.report["integrity"][name]
        .as_u64()
        .unwrap_or_else(|| panic!("the report counts {name}"))
}

/// Rows were seen and proven, and nearly all of them by several sessions.
pub(crate) fn assert_rows_are_proven(outcome: &Outcome) {
    let (rows, verified) = (count(outcome, "rows"), count(outcome, "verified"));
    let (unwitnessed, unverified) = (count(outcome, "unwitnessed"), count(outcome, "unverified"));
    assert!(verified > 0, "no row was verified");
    assert_eq!(unverified, 0, "a truth could not be read");
    assert!(
        unwitnessed * 20 < rows,
        "{unwitnessed} of {rows} rows had one witness only"
    );
    assert_eq!(rows, verified + unwitnessed + count(outcome, "mismatched"));
}

#[tokio::test]
async fn live_view_passes_and_proves_its_rows() -> Result<()> {
    let outcome = short_live_view().finish().await?;
    Expected::passed().check(&outcome);
    assert_rows_are_proven(&outcome);
    Ok(())
}

#[tokio::test]
async fn five_agents_in_one_process_give_the_same_answer() -> Result<()> {
    let outcome = short_live_view().arg("--agents").arg("5").finish().await?;
    Expected::passed().check(&outcome);
    assert_rows_are_proven(&outcome);
    assert_eq!(outcome.report["agents"].as_array().map(Vec::len), Some(5));
    Ok(())
}

#[tokio::test]
async fn historic_playback_equals_its_manifest() -> Result<()> {
    let outcome = Cli::run(&plan("focus/historic-playback.yaml"))
        .var("sessions", "4")
        .arg("--testbed")
        .finish()
        .await?;
    let rows = f64::from(4 * 3 * 800);
    Expected::passed()
        .with("/integrity/verified", rows, rows)
        .with("/integrity/unwitnessed", 0.0, 0.0)
        .with("/integrity/unverified", 0.0, 0.0)
        .check(&outcome);
    Ok(())
}

#[tokio::test]
async fn api_contract_holds() -> Result<()> {
    let outcome = Cli::run(&plan("focus/api-contract.yaml"))
        .arg("--testbed")
        .finish()
        .await?;
    Expected::passed().check(&outcome);
    // The testbed has other ports each time, and the seed is the same: that of the digest which the report shows.
    let run = &outcome.report["run"];
    let digest = run["plan_digest"].as_str().unwrap_or_default();
    let seed = digest.get(..16).map(|start| u64::from_str_radix(start, 16));
    assert_eq!(seed.transpose()?, run["seed"].as_u64());
    Ok(())
}

#[tokio::test]
async fn two_hundred_jobs_hold_six_hundred_streams_open() -> Result<()> {
    let outcome = Cli::run(&plan("focus/jobs-200.yaml"))
        .arg("--testbed")
        .finish()
        .await?;
    Expected::passed()
        .with("/sessions/passed", 200.0, 200.0)
        .with("/integrity/streams", 600.0, 600.0)
        .with("/integrity/unverified", 0.0, 0.0)
        .check(&outcome);
    assert_rows_are_proven(&outcome);
    Ok(())
}
