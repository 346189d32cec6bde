//! The first signal drains, the second aborts, and a reader that goes away hurts nobody.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use testmesh_e2e::{Cli, binary, outcome, plan};
use tokio::process::Command;

fn long_live_view() -> Cli {
    Cli::run(&plan("focus/live-view.yaml"))
        .var("users", "3")
        .var("for", "120s")
        .arg("--testbed")
}

#[tokio::test]
async fn the_first_signal_drains() -> Result<()> {
    let out = TempDir::new()?;
    let mut run = long_live_view().start(Some(out.path()))?;
    // All of them, or some row would have one witness only, which is a reason before this one.
    run.line_with("3 active").await?;
    run.signal("INT").await?;
    let outcome = outcome(run, out).await?;
    assert_eq!(
        outcome.code,
        Some(105),
        "{}\n{}",
        outcome.stdout,
        outcome.stderr
    );
    assert_eq!(outcome.report["verdict"], "inconclusive");
    assert_eq!(outcome.report["reasons"][0]["code"], "stopped");
    assert_eq!(
        outcome.report["sessions"]["interrupted"], 0,
        "sessions in flight end by themselves"
    );
    Ok(())
}

#[tokio::test]
async fn the_second_signal_aborts_and_still_reports() -> Result<()> {
    let out = TempDir::new()?;
    let mut run = long_live_view().start(Some(out.path()))?;
    run.line_with("running").await?;
    run.signal("INT").await?;
    run.line_with("draining").await?;
    run.signal("INT").await?;
    let outcome = outcome(run, out).await?;
    assert_eq!(
        outcome.code,
        Some(105),
        "{}\n{}",
        outcome.stdout,
        outcome.stderr
    );
    assert!(
        outcome.report["sessions"]["interrupted"].as_u64() > Some(0),
        "{}",
        outcome.stdout
    );
    Ok(())
}

#[tokio::test]
async fn a_closed_stdout_is_no_panic() -> Result<()> {
    let out = TempDir::new()?;
    let mut child = Command::new(binary("testmesh"))
        .args([
            "run",
            plan("focus/live-view.yaml").to_str().context("UTF-8")?,
        ])
        .args(["--testbed", "--var", "users=2", "--var", "for=3s", "--out"])
        .arg(out.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    drop(child.stdout.take());
    let ended = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await??;
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert_eq!(ended.status.code(), Some(0), "{stderr}");
    Ok(())
}
