//! Faults: what they do is seen in their phases only, their ends are measured, and they end whatever happens to the mesh.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, time};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::TempDir;
use testmesh_e2e::{Cli, Expected, Mesh, Outcome, outcome};

/// An address that is free now.
fn free_address() -> Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.to_string())
}

fn written(folder: &TempDir, text: &str) -> Result<PathBuf> {
    let path = folder.path().join("plan.yaml");
    fs::write(&path, text)?;
    Ok(path)
}

/// Requests that reach the server through a proxy.
fn through_a_proxy(seconds: u32, rest: &str) -> String {
    format!(
        "testmesh: v1
name: through-a-proxy
vars: {{ focus: http://127.0.0.1:8080, front: '127.0.0.1:1' }}
targets: {{ focus: {{ http: \"http://${{vars.front}}\" }} }}
scenarios:
  ask:
    load: {{ arrivals: 20/s, for: {seconds}s, max_sessions: 100 }}
    graceful_stop: 5s
    stages:
      - {{ name: ack, http: {{ target: focus, get: /ack }}, timeout: 2s }}
{rest}"
    )
}

fn fault<'o>(outcome: &'o Outcome, name: &str) -> &'o Value {
    let faults = outcome.report["faults"].as_array();
    let found = faults.and_then(|all| all.iter().find(|fault| fault["name"] == name));
    found.unwrap_or_else(|| panic!("no fault {name}:\n{}\n{}", outcome.stdout, outcome.stderr))
}

fn phase(outcome: &Outcome, name: &str) -> (f64, f64) {
    let phases = outcome.report["phases"].as_array();
    let found = phases.and_then(|all| all.iter().find(|phase| phase["name"] == name));
    let found = found.unwrap_or_else(|| panic!("no phase {name}:\n{}", outcome.stdout));
    (
        found["from"].as_f64().expect("a phase begins"),
        found["to"].as_f64().expect("a phase ends"),
    )
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

#[tokio::test]
async fn requests_fail_only_in_the_phase_and_the_recovery_is_measured() -> Result<()> {
    let folder = TempDir::new()?;
    let text = through_a_proxy(
        11,
        "proxies:
  front: { listen: \"${vars.front}\", to: \"${vars.focus}\" }
faults:
  away: { at: 3s, for: 1500ms, do: { proxy: { name: front, cut: true } } }
  slow: { at: 7s, for: 2s, do: { proxy: { name: front, delay: 150ms } } }
thresholds:
  - rate(sessions_failed{phase=\"away\"}) > 50%
  - count(sessions_failed{phase!=\"away\"}) == 0
  - max(fault_recovery{fault=\"away\"}) < 1s
  - count(sessions_started{phase=\"away.recovery\"}) > 0
  - p50(stage_duration{stage=\"ack\",phase=\"slow\"}) > 300ms
  - p95(stage_duration{stage=\"ack\",phase!=\"slow\"}) < 300ms
",
    );
    let plan = written(&folder, &text)?;
    let run = Cli::run(&plan)
        .arg("--testbed")
        .var("front", &free_address()?);
    let outcome = run.finish().await?;
    Expected::passed()
        .with("/sessions/failed", 20.0, 60.0)
        .check(&outcome);
    for (name, from, long) in [("away", 3.0, 1.5), ("slow", 7.0, 2.0)] {
        let fault = fault(&outcome, name);
        assert_eq!(fault["outcome"], "reverted", "{fault}");
        assert_eq!(fault["reverted_by"], "local-1", "{fault}");
        let (started, ended) = (number(&fault["started_at"]), number(&fault["ended_at"]));
        assert!((from..from + 0.5).contains(&started), "{fault}");
        assert!((long..long + 0.5).contains(&(ended - started)), "{fault}");
        assert!(number(&fault["recovery"]) < 1.0, "{fault}");
        // The phase begins no later and ends no sooner than the fault.
        let (begins, ends) = phase(&outcome, name);
        assert!(
            begins <= started && ends >= ended,
            "{begins} {ends} {fault}"
        );
        let (over, recovered) = phase(&outcome, &format!("{name}.recovery"));
        assert!(over >= ends && recovered >= over, "{over} {recovered}");
    }
    let detail = fault(&outcome, "away")["detail"]
        .as_str()
        .unwrap_or_default();
    assert!(detail.contains("connections taken"), "{detail}");
    assert!(outcome.stdout.contains("away: 3"), "{}", outcome.stdout);
    Ok(())
}

#[tokio::test]
async fn a_fault_that_never_ends_well_is_told() -> Result<()> {
    let folder = TempDir::new()?;
    // It lasts until the end, so nothing can start after it; the other one waits for what never comes.
    let text = through_a_proxy(
        4,
        "proxies:
  front: { listen: \"${vars.front}\", to: \"${vars.focus}\" }
faults:
  away: { at: 1s, for: 1m, do: { proxy: { name: front, cut: true } } }
thresholds:
  - count(sessions_failed{phase!=\"away\"}) == 0
  - max(fault_recovery{fault=\"away\"}) < 1s
",
    );
    let plan = written(&folder, &text)?;
    let run = Cli::run(&plan)
        .arg("--testbed")
        .var("front", &free_address()?);
    let outcome = run.finish().await?;
    Expected::inconclusive().because("no_data").check(&outcome);
    assert_eq!(fault(&outcome, "away")["outcome"], "reverted");
    let findings = outcome.report["findings"].to_string();
    assert!(findings.contains("not_recovered"), "{findings}");
    Ok(())
}

/// Live views, which a stage of a fault makes fail.
const FIBER: &str = "testmesh: v1
name: fiber
vars: { focus: http://127.0.0.1:8080 }
targets: { focus: { http: \"${vars.focus}\" } }
faults:
  fiber:
    after: { scenario: live, stage: configure, delay: 1s }
    for: 1m
    do:
      stage: { name: waits, http: { target: focus, put: /_testbed/behaviors, json: { behaviors: [waiting-for-fiber] } } }
      revert: { name: flows, http: { target: focus, put: /_testbed/behaviors, json: { behaviors: [] } } }
scenarios:
  live:
    load: { arrivals: 4/s, for: 28s, max_sessions: 20 }
    graceful_stop: 5s
    stages:
      - name: configure
        http:
          target: focus
          post: /configure
          json:
            view_type: 0
            displayTimeAxisDuration: 10
            nfftSelection: 1024
            displayInfo: { height: 200 }
            channels: { min: 1, max: 50 }
            frequencyRange: { min: 0, max: 500 }
            start_time: null
            end_time: null
thresholds:
  - count(sessions_failed{phase!=\"fiber\"}) == 0
  - count(stage_errors{scenario=\"faults\"}) == 0
";

#[tokio::test]
async fn another_agent_puts_right_what_a_killed_one_broke() -> Result<()> {
    let folder = TempDir::new()?;
    let plan = written(&folder, FIBER)?;
    let mut mesh = Mesh::builder().agents(2).testbed("").start().await?;
    let out = TempDir::new()?;
    let process = mesh.run(&plan).start(Some(out.path()))?;
    let mut victim = mesh.agents().remove(0);
    victim.line_with("Injected").await?;
    // The coordinator has heard it too by then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    victim.signal("KILL").await?;
    let outcome = outcome(process, out).await?;
    Expected::inconclusive()
        .because("agent_lost")
        .because("fault_failed")
        .check(&outcome);
    let fault = fault(&outcome, "fiber");
    assert_eq!(fault["reverted_by"], "agent-1", "{fault}");
    assert_eq!(fault["outcome"], "failed", "{fault}");
    assert!(number(&fault["recovery"]) < 2.0, "{fault}");
    Ok(())
}

#[tokio::test]
async fn a_proxy_whose_agent_was_killed_passes_everything_on_again() -> Result<()> {
    let folder = TempDir::new()?;
    let text = through_a_proxy(
        34,
        "proxies:
  front: { on: { site: haifa }, listen: \"${vars.front}\", to: \"${vars.focus}\" }
faults:
  away: { at: 3s, for: 1m, do: { proxy: { name: front, reset: true } } }
thresholds:
  - count(sessions_failed{phase!=\"away\",site=\"tokyo\"}) == 0
  - count(sessions_passed{phase!=\"away\",site=\"tokyo\"}) > 20
",
    );
    let plan = written(&folder, &text)?;
    let mesh = Mesh::builder().agent_at("tokyo").agent_at("haifa");
    let mut mesh = mesh.testbed("").start().await?;
    let out = TempDir::new()?;
    let run = mesh.run(&plan).var("front", &free_address()?);
    let process = run.start(Some(out.path()))?;
    let mut victim = mesh.agents().remove(1);
    victim.line_with("Injected").await?;
    // The coordinator has heard it too by then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    victim.signal("KILL").await?;
    let outcome = outcome(process, out).await?;
    Expected::inconclusive()
        .because("agent_lost")
        .because("fault_failed")
        .check(&outcome);
    let fault = fault(&outcome, "away");
    assert_eq!(fault["reverted_by"], "lease", "{fault}");
    // 15 s from its last renewal, which may have been sent until the agent was given up some 10 s after its end, and 2 s for
    // that to be under way.
    let (began, ended) = phase(&outcome, "away");
    assert!((16.0..32.0).contains(&(ended - began)), "{began} {ended}");
    assert!(number(&fault["recovery"]) < 2.0, "{fault}");
    for threshold in outcome.report["thresholds"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let text = threshold["expr"].as_str().unwrap_or_default();
        if text.contains("tokyo") {
            assert_eq!(threshold["outcome"], "passed", "{threshold}");
        }
    }
    Ok(())
}

/// A command that leaves marks.
fn commands(folder: &Path, length: &str) -> String {
    let mark = folder.join("mark");
    let mark = mark.display();
    format!(
        "testmesh: v1
name: commands
scenarios:
  nap:
    load: {{ virtual_users: 1, for: 4s }}
    stages: [ {{ name: nap, wait: {{ for: 50ms }} }} ]
faults:
  mark:
    at: 1s
    for: {length}
    do:
      command: [/bin/sh, -c, 'echo broken >> {mark}']
      revert: [/bin/sh, -c, 'echo whole >> {mark}']
thresholds:
  - max(fault_recovery{{fault=\"mark\"}}) < 1s
"
    )
}

#[tokio::test]
async fn commands_run_only_where_they_are_allowed() -> Result<()> {
    let folder = TempDir::new()?;
    let plan = written(&folder, &commands(folder.path(), "1s"))?;
    let refused = Cli::run(&plan).finish().await?;
    assert_eq!(
        refused.code,
        Some(103),
        "{}{}",
        refused.stdout,
        refused.stderr
    );
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(said.contains("--allow-commands"), "{said}");
    let mark = folder.path().join("mark");
    assert!(!mark.exists());
    let run = Cli::run(&plan).arg("--allow-commands").finish().await?;
    Expected::passed().check(&run);
    assert_eq!(fs::read_to_string(mark)?, "broken\nwhole\n");
    Ok(())
}

#[tokio::test]
async fn a_stop_puts_everything_right() -> Result<()> {
    let folder = TempDir::new()?;
    let plan = written(&folder, &commands(folder.path(), "1m"))?;
    let mark = folder.path().join("mark");
    for signals in 1..=2 {
        let _ = fs::remove_file(&mark);
        let out = TempDir::new()?;
        let run = Cli::run(&plan).arg("--allow-commands");
        let process = run.start(Some(out.path()))?;
        appears(&mark).await?;
        for _ in 0..signals {
            process.signal("INT").await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let outcome = outcome(process, out).await?;
        assert_eq!(
            outcome.code,
            Some(105),
            "{}{}",
            outcome.stdout,
            outcome.stderr
        );
        assert_eq!(fs::read_to_string(&mark)?, "broken\nwhole\n");
        assert_eq!(fault(&outcome, "mark")["outcome"], "reverted");
    }
    Ok(())
}

async fn appears(file: &Path) -> Result<()> {
    let appeared = async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let within = time::Duration::from_secs(60);
    let appeared = tokio::time::timeout(within, appeared).await;
    appeared.context("the fault was not injected in time")
}
