//! Runs as a user sees them: a mesh in one process, from the plan to the exit code.
use super::process::{plan, testmesh, text};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

/// A plan that needs no server.
const WAITING: &str = "testmesh: v1
name: waiting
scenarios:
  one:
    load: { virtual_users: 2, sessions: 4 }
    graceful_stop: 20s
    stages:
      - name: pause
        wait: { for: 50ms }
";

fn run(content: &str, flags: &[&str]) -> (Output, tempfile::TempDir) {
    let (folder, plan) = plan(content);
    let out = folder.path().join("out");
    let arguments = [&["run", &plan, "--out", out.to_str().unwrap()], flags].concat();
    (testmesh(&arguments).output().unwrap(), folder)
}

#[track_caller]
fn check(content: &str, flags: &[&str], code: i32, verdict: &str) -> tempfile::TempDir {
    let (output, folder) = run(content, flags);
    let (data, talk) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{data}\n{talk}");
    let last = data.lines().last().unwrap_or_default();
    assert!(
        last.starts_with(verdict),
        "the last line is `{last}`\n{data}\n{talk}"
    );
    folder
}

#[test]
fn a_passing_run_leaves_its_report() {
    let folder = check(WAITING, &[], 0, "passed (exit code 0)");
    for file in testmesh_coordinator::report::render::FILES {
        assert!(
            folder
                .path()
                .join("out")
                .join(file)
                .metadata()
                .unwrap()
                .len()
                > 0,
            "{file}"
        );
    }
    let json = std::fs::read(folder.path().join("out/report.json")).unwrap();
    let report = testmesh_coordinator::report::json::parse(&json).unwrap();
    assert_eq!((report.sessions.planned, report.sessions.passed), (4, 4));
}

#[test]
fn a_broken_threshold_is_100() {
    let plan = format!("{WAITING}thresholds: [ 'p50(stage_duration{{stage=\"pause\"}}) < 1ms' ]\n");
    check(&plan, &[], 100, "failed (exit code 100): threshold_broken");
}

#[test]
fn more_agents_change_nothing() {
    check(WAITING, &["--agents", "3"], 0, "passed");
}

#[test]
fn a_site_without_an_agent_is_103() {
    let plan = WAITING.replace(
        "    graceful_stop",
        "    sites: { haifa: 1, tokyo: 1 }\n    graceful_stop",
    );
    let (output, _folder) = run(&plan, &[]);
    assert_eq!(output.status.code(), Some(103), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("haifa, tokyo"),
        "{}",
        text(&output.stderr)
    );
    let folder = check(&plan, &["--agents", "3"], 0, "passed");
    let json = std::fs::read(folder.path().join("out/report.json")).unwrap();
    let report = testmesh_coordinator::report::json::parse(&json).unwrap();
    let sites: Vec<_> = report
        .sites
        .iter()
        .map(|site| (site.name.as_str(), site.agents))
        .collect();
    assert_eq!(sites, [("haifa", 2), ("tokyo", 1)]);
}

#[test]
fn a_report_that_cannot_be_written_is_an_error_after_the_verdict() {
    let (folder, plan) = plan(WAITING);
    let out = folder.path().join("plan.yaml").join("below-a-file");
    let output = testmesh(&["run", &plan, "--out", out.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout)
            .lines()
            .last()
            .unwrap()
            .starts_with("passed"),
        "{}",
        text(&output.stdout)
    );
    assert!(
        text(&output.stderr).contains("failed to write"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_reader_that_goes_away_changes_no_exit_code() {
    let (folder, plan) = plan(WAITING);
    let out = folder.path().join("out");
    let mut command = testmesh(&["run", &plan, "--out", out.to_str().unwrap()]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut talk = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut talk)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{talk}");
    assert!(!talk.contains("panicked"), "{talk}");
}

/// Runs sessions that last for `pause`, and sends an interrupt after each of `signs` that is heard.
#[track_caller]
fn interrupted(pause: &str, signs: &[&str]) {
    let (folder, plan) = plan(
        &WAITING
            .replace("50ms", pause)
            .replace("sessions: 4", "for: 60s"),
    );
    let out = folder.path().join("out");
    let mut command = testmesh(&["run", &plan, "--out", out.to_str().unwrap()]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap());
    let mut heard = String::new();
    for sign in signs {
        let before = heard.len();
        while !heard[before..].contains(sign) {
            assert!(
                talk.read_line(&mut heard).unwrap() > 0,
                "no `{sign}` in\n{heard}"
            );
        }
        let pid = child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &pid])
                .status()
                .unwrap()
                .success()
        );
    }
    talk.read_to_string(&mut heard).unwrap();
    let mut data = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut data)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(105), "{data}\n{heard}");
    assert!(
        data.lines()
            .last()
            .unwrap()
            .starts_with("inconclusive (exit code 105): stopped"),
        "{data}"
    );
}

#[test]
fn the_first_interrupt_lets_sessions_finish() {
    interrupted("300ms", &["running"]);
}

#[test]
fn the_second_interrupt_cuts_them() {
    interrupted("60s", &["running", "stopping:"]);
}
