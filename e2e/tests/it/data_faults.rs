//! What the matrix does not say of the faults of the data: that a mesh of many agents finds them as one agent does.

use anyhow::Result;
use testmesh_e2e::{Expected, matrix::Form};

#[tokio::test]
async fn a_fault_is_found_by_five_agents_as_by_one() -> Result<()> {
    let live_view = Form::of("live-view").run("flip-bit").var("users", "6");
    let outcome = live_view.arg("--agents").arg("5").finish().await?;
    Expected::failed()
        .because("rows_mismatched")
        .with("/integrity/mismatched", 1.0, 1e9)
        .check(&outcome);
    let disagreements = outcome.report["integrity"]["disagreements"].as_array();
    assert!(
        disagreements.is_some_and(|rows| !rows.is_empty()),
        "no disagreement is shown"
    );
    Ok(())
}
