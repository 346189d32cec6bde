//! A slow reader is told apart from a slow sender: the gaps are the same, the verdict is not.

use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;
use testmesh_e2e::{
    Expected, Mesh, Outcome,
    calibration::{Emission, Streams, Then, reading},
    outcome,
};

use crate::plan;

/// How long the agent stands still each time, and how long it runs between.
const STANDS: Duration = Duration::from_millis(450);
const RUNS: Duration = Duration::from_millis(150);

/// Messages every so often, for six seconds.
fn every(gap: Duration) -> Result<Streams> {
    let count = u32::try_from(6_000 / gap.as_millis())?;
    Streams::timed(Emission {
        at: (1..=count).map(|number| gap * number).collect(),
        then: Then::End,
    })
}

fn long_gaps(outcome: &Outcome) -> f64 {
    reading(outcome, "stream_gap", &[("scenario", "watch")]).get("p99")
}

#[tokio::test]
async fn alone_a_slow_sender_breaks_the_threshold() -> Result<()> {
    let mesh = Mesh::builder().agents(1).start().await?;
    let server = every(STANDS)?;
    let run = mesh.run(&plan("reader.yaml")).var("server", &server.url());
    let outcome = run.finish().await?;
    Expected::failed()
        .because("threshold_broken")
        .check(&outcome);
    assert!(long_gaps(&outcome) >= STANDS.as_secs_f64() * 0.95);
    Ok(())
}

#[tokio::test]
async fn alone_a_slow_reader_blames_nobody_but_itself() -> Result<()> {
    let mut mesh = Mesh::builder().agents(1).start().await?;
    let server = every(Duration::from_millis(20))?;
    let run = mesh.run(&plan("reader.yaml")).var("server", &server.url());
    let out = TempDir::new()?;
    let mut process = run.start(Some(out.path()))?;
    process.line_with("running").await?;
    let agent = mesh.agents().remove(0);
    // The agent of the mesh is a process of its own, held still again and again as an overloaded machine would.
    let outcome = {
        let finished = outcome(process, out);
        tokio::pin!(finished);
        loop {
            agent.signal("STOP").await?;
            tokio::time::sleep(STANDS).await;
            agent.signal("CONT").await?;
            tokio::select! {
                finished = &mut finished => break finished?,
                () = tokio::time::sleep(RUNS) => {}
            }
        }
    };
    Expected::inconclusive()
        .because("generator_saturated")
        .check(&outcome);
    assert!(
        long_gaps(&outcome) > 0.25,
        "its gaps were as long as a slow sender's"
    );
    let tainted = &outcome.report["thresholds"][0]["tainted_by"];
    assert_eq!(tainted[0], "generator_saturated", "{tainted}");
    Ok(())
}
