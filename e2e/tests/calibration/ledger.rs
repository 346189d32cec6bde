//! The ledger balances, whatever becomes of sessions: the server's own count of who came says so too.

use anyhow::Result;
use tempfile::TempDir;
use testmesh_e2e::{
    Expected, Mesh, Outcome,
    calibration::{Answers, reading},
    outcome,
};

use crate::plan;

fn sessions(outcome: &Outcome, name: &str) -> u64 {
    outcome.report["sessions"][name]
        .as_u64()
        .unwrap_or_else(|| panic!("the ledger counts {name}"))
}

fn came(server: &Answers) -> u64 {
    u64::try_from(server.log("/after").len()).expect("few requests came")
}

/// What holds of every run. That the two sums are kept, [`Expected::check`] says.
fn accounted_for(outcome: &Outcome, planned: u64) {
    assert_eq!(sessions(outcome, "planned"), planned);
    let timeouts = [
        ("scenario", "mixed"),
        ("stage", "ask"),
        ("error", "timeout"),
    ];
    let timeouts = reading(outcome, "stage_errors", &timeouts).get("count");
    let failed = reading(outcome, "sessions_failed", &[("scenario", "mixed")]).get("count");
    assert_eq!(timeouts, failed, "what failed had no answer in time");
}

#[tokio::test]
async fn every_session_that_timed_out_or_found_no_place_is_counted() -> Result<()> {
    let server = Answers::start()?;
    let mesh = Mesh::builder().agents(3).start().await?;
    let run = mesh.run(&plan("mixed.yaml")).var("for", "6s");
    let outcome = run.var("server", &server.url()).finish().await?;
    Expected::passed()
        .with("/sessions/failed", 1.0, 150.0)
        .with("/sessions/dropped", 1.0, 600.0)
        .with("/sessions/unstarted", 0.0, 0.0)
        .with("/sessions/lost", 0.0, 0.0)
        .check(&outcome);
    accounted_for(&outcome, 600);
    assert_eq!(sessions(&outcome, "started"), came(&server));
    Ok(())
}

#[tokio::test]
async fn a_stop_in_mid_run_leaves_no_session_out() -> Result<()> {
    let server = Answers::start()?;
    let mesh = Mesh::builder().agents(3).start().await?;
    let out = TempDir::new()?;
    let run = mesh.run(&plan("mixed.yaml")).var("server", &server.url());
    let mut process = run.start(Some(out.path()))?;
    process.line_with("running").await?;
    while came(&server) < 200 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    process.signal("INT").await?;
    let outcome = outcome(process, out).await?;
    Expected::stopped()
        .with("/sessions/interrupted", 1.0, 20.0)
        .with("/sessions/unstarted", 1.0, 6_000.0)
        .with("/sessions/lost", 0.0, 0.0)
        .check(&outcome);
    accounted_for(&outcome, 6_000);
    assert_eq!(sessions(&outcome, "started"), came(&server));
    Ok(())
}

#[tokio::test]
async fn a_killed_agent_takes_no_session_with_it_in_silence() -> Result<()> {
    let server = Answers::start()?;
    let mut mesh = Mesh::builder().agents(2).start().await?;
    let out = TempDir::new()?;
    let run = mesh
        .run(&plan("mixed.yaml"))
        .var("server", &server.url())
        .var("for", "8s")
        .var("places", "200");
    let process = run.start(Some(out.path()))?;
    while came(&server) < 300 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let victim = mesh.agents().remove(0);
    victim.signal("KILL").await?;
    let outcome = outcome(process, out).await?;
    Expected::inconclusive()
        .because("agent_lost")
        .with("/sessions/dropped", 0.0, 0.0)
        // Those that the end of the run found in flight.
        .with("/sessions/interrupted", 0.0, 25.0)
        // Half of 100 a second, a quarter for 400 ms and the rest for 200 ms, are in flight; and of the last seconds nobody
        // can tell what became of them.
        .with("/sessions/lost", 1.0, 150.0)
        .check(&outcome);
    accounted_for(&outcome, 800);
    // What the agent started and could not tell any more is not proven: at most the second before it died, and its way.
    let (started, came) = (sessions(&outcome, "started"), came(&server));
    assert!(
        started <= came && came <= started + 125,
        "{came} came, {started} were started"
    );
    Ok(())
}
