//! The mesh parted into processes: coordinator, agents and command line talk over loopback as they would over a network.

use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;
use testmesh_e2e::{Cli, Expected, Mesh, outcome, plan};

use crate::healthy::assert_rows_are_proven;

#[tokio::test]
async fn three_agents_apart_give_the_same_answer() -> Result<()> {
    let mesh = Mesh::builder().agents(3).testbed("").start().await?;
    let run = mesh
        .run(&plan("focus/live-view.yaml"))
        .var("users", "6")
        .var("for", "6s");
    let outcome = run.finish().await?;
    Expected::passed().check(&outcome);
    assert_rows_are_proven(&outcome);

    let list = Cli::new()
        .arg("runs")
        .arg("list")
        .env("TESTMESH_COORDINATOR", mesh.url());
    let list = list.finish().await?;
    assert!(list.stdout.contains("passed"), "{}", list.stdout);
    let agents = Cli::new()
        .arg("agents")
        .arg("list")
        .env("TESTMESH_COORDINATOR", mesh.url());
    let agents = agents.finish().await?;
    assert!(agents.stdout.contains("agent-2"), "{}", agents.stdout);
    Ok(())
}

#[tokio::test]
async fn a_fault_is_found_by_agents_apart() -> Result<()> {
    let mesh = Mesh::builder()
        .agents(2)
        .testbed("drop-row")
        .start()
        .await?;
    let run = mesh
        .run(&plan("focus/live-view.yaml"))
        .var("users", "4")
        .var("for", "6s");
    let expected = Expected::failed().because("rows_missing");
    expected
        .with("/integrity/missing", 1.0, 1e9)
        .check(&run.finish().await?);
    Ok(())
}

#[tokio::test]
async fn a_killed_agent_makes_its_sessions_lost_and_the_run_inconclusive() -> Result<()> {
    let mut mesh = Mesh::builder().agents(2).testbed("").start().await?;
    let out = TempDir::new()?;
    let run = mesh
        .run(&plan("focus/live-view.yaml"))
        .var("users", "4")
        .var("for", "15s");
    let mut process = run.start(Some(out.path()))?;
    process.line_with("12 streams open").await?;
    let victim = mesh.agents().remove(0);
    victim.signal("KILL").await?;
    let outcome = outcome(process, out).await?;
    Expected::inconclusive()
        .because("agent_lost")
        .with("/sessions/lost", 1.0, 1e9)
        .check(&outcome);
    Ok(())
}

#[tokio::test]
async fn no_coordinator_is_exit_102_with_a_way_out() -> Result<()> {
    let outcome = Cli::run(&plan("focus/live-view.yaml"))
        .arg("--coordinator")
        .arg("http://127.0.0.1:1")
        .finish()
        .await?;
    assert_eq!(outcome.code, Some(102), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("hint"), "{}", outcome.stderr);
    Ok(())
}

#[tokio::test]
async fn no_agents_is_exit_103() -> Result<()> {
    let mesh = Mesh::builder().testbed("").start().await?;
    let outcome = mesh.run(&plan("focus/live-view.yaml")).finish().await?;
    assert_eq!(outcome.code, Some(103), "{}", outcome.stderr);
    Ok(())
}

#[tokio::test]
async fn submit_watch_and_stop_work_from_other_terminals() -> Result<()> {
    let mesh = Mesh::builder().agents(1).testbed("").start().await?;
    let env = |cli: Cli| cli.env("TESTMESH_COORDINATOR", mesh.url());
    let submit = Cli::new().arg("submit").arg(plan("focus/live-view.yaml"));
    let submit = env(submit
        .var("focus", mesh.focus())
        .var("users", "2")
        .var("for", "120s"));
    let submitted = submit.finish().await?;
    assert_eq!(submitted.code, Some(0), "{}", submitted.stderr);
    let run = submitted
        .stdout
        .split_whitespace()
        .last()
        .unwrap_or_default()
        .to_owned();

    let mut watch = env(Cli::new().arg("runs").arg("watch").arg(&run)).start(None)?;
    watch.line_with("running").await?;
    let stop = env(Cli::new().arg("runs").arg("stop").arg(&run))
        .finish()
        .await?;
    assert_eq!(stop.code, Some(0), "{}", stop.stderr);
    let status = watch.ended(Duration::from_secs(60)).await?;
    assert_eq!(status.code(), Some(105), "{}", watch.stdout());
    let show = env(Cli::new().arg("runs").arg("show").arg(&run))
        .finish()
        .await?;
    assert!(show.stdout.contains("stopped"), "{}", show.stdout);
    Ok(())
}
