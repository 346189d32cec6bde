//! Parts of a plan: one scenario, one session, and the transcript of it.

use anyhow::Result;
use testmesh_e2e::{Cli, Expected, Mesh, plan};

#[tokio::test]
async fn one_session_with_its_transcript() -> Result<()> {
    let run = Cli::run(&plan("focus/historic-playback.yaml"));
    let outcome = run
        .arg("--testbed")
        .arg("--once")
        .arg("--verbose")
        .finish()
        .await?;
    Expected::passed()
        .with("/sessions/started", 1.0, 1.0)
        .with("/integrity/unverified", 0.0, 0.0)
        .check(&outcome);
    let said = &outcome.stderr;
    for part in [
        "→ POST http://127.0.0.1:",
        "← HTTP/1.1 200 OK in ",
        "traceparent: 00-",
        "\"view_type\":",
        "→ pandadatastream.DataStreamService/StreamData at http://127.0.0.1:",
        "← message 1, ",
        "← status OK after 800 messages",
        "not yet:",
    ] {
        assert!(said.contains(part), "`{part}` was not said:\n{said}");
    }
    Ok(())
}

#[tokio::test]
async fn one_scenario_alone_on_a_mesh_apart() -> Result<()> {
    let mesh = Mesh::builder().agents(2).testbed("").start().await?;
    let run = mesh.run(&plan("focus/mixed-load.yaml"));
    let run = run.var("for", "2s").arg("--scenario").arg("channels");
    let outcome = run.finish().await?;
    Expected::passed()
        .with("/sessions/planned", 12.0, 12.0)
        .check(&outcome);
    assert_eq!(outcome.report["run"]["part"]["scenario"], "channels");
    assert!(
        outcome.stdout.contains("only scenario `channels`"),
        "{}",
        outcome.stdout
    );
    let scenarios = outcome.report["scenarios"].as_array().map(Vec::len);
    assert_eq!(scenarios, Some(1));
    let thresholds = outcome.report["thresholds"].to_string();
    assert!(
        thresholds.contains("channels") && !thresholds.contains("live-metadata"),
        "{thresholds}"
    );
    Ok(())
}

#[tokio::test]
async fn parts_that_are_not_there_are_wrong_usage() -> Result<()> {
    let mixed = || Cli::run(&plan("focus/mixed-load.yaml"));
    let unknown = mixed().arg("--scenario").arg("chanels").finish().await?;
    assert_eq!(unknown.code, Some(2), "{}", unknown.stderr);
    assert!(
        unknown.stderr.contains("did you mean `channels`?"),
        "{}",
        unknown.stderr
    );
    let alone = mixed().arg("--verbose").finish().await?;
    assert_eq!(alone.code, Some(2), "{}", alone.stderr);
    let elsewhere = mixed().arg("--once").arg("--verbose");
    let elsewhere = elsewhere
        .arg("--coordinator")
        .arg("http://127.0.0.1:1")
        .finish()
        .await?;
    assert_eq!(elsewhere.code, Some(2), "{}", elsewhere.stderr);
    assert!(elsewhere.stderr.contains("hint"), "{}", elsewhere.stderr);
    Ok(())
}
