//! An agent that stands still once in a run is told apart from a server that does, though hardly a percentile shows either.

use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;
use testmesh_e2e::{
    Expected, Mesh, Outcome,
    calibration::{Answers, Freeze, reading},
    outcome,
};

use crate::plan;

/// How long somebody stands still, once.
const STANDS: Duration = Duration::from_secs(1);

/// The slowest request waited for it, and p99 knows of nothing.
fn is_seldom(outcome: &Outcome) {
    let asked = reading(outcome, "stage_duration", &[("stage", "ask")]);
    assert!(asked.get("max") >= STANDS.as_secs_f64() * 0.9, "{asked:?}");
    assert!(asked.get("p99") < 0.2, "{asked:?}");
}

#[tokio::test]
async fn alone_a_server_that_stands_still_once_breaks_the_threshold() -> Result<()> {
    let mesh = Mesh::builder().agents(1).start().await?;
    let server = Answers::freezing(Freeze {
        every: Duration::from_secs(3_600),
        first: Duration::from_secs(4),
        lasts: STANDS,
        catch_up: 0.1,
    })?;
    let run = mesh
        .run(&plan("standstill.yaml"))
        .var("server", &server.url())
        .var("path", "/freezing/");
    let outcome = run.finish().await?;
    is_seldom(&outcome);
    Expected::failed()
        .because("threshold_broken")
        .check(&outcome);
    Ok(())
}

#[tokio::test]
async fn alone_an_agent_that_stands_still_once_blames_nobody_but_itself() -> Result<()> {
    let mut mesh = Mesh::builder().agents(1).start().await?;
    let server = Answers::start()?;
    let run = mesh
        .run(&plan("standstill.yaml"))
        .var("server", &server.url());
    let out = TempDir::new()?;
    let mut process = run.start(Some(out.path()))?;
    process.line_with("running").await?;
    let agent = mesh.agents().remove(0);
    tokio::time::sleep(Duration::from_secs(4)).await;
    agent.signal("STOP").await?;
    tokio::time::sleep(STANDS).await;
    agent.signal("CONT").await?;
    let outcome = outcome(process, out).await?;
    is_seldom(&outcome);
    Expected::inconclusive()
        .because("generator_saturated")
        .check(&outcome);
    let lag = reading(&outcome, "agent_loop_lag", &[]);
    assert!(lag.get("p99") < 0.2, "its lag alone tells nothing: {lag:?}");
    Ok(())
}
