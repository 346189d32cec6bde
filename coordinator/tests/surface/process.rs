//! The command line as a process: what goes where, and what it exits with.
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The binary, in a folder of its own and without what the developer's shell sets.
pub(crate) fn testmesh(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testmesh"));
    command.args(arguments).stdin(Stdio::null());
    for variable in [
        "TESTMESH_COORDINATOR",
        "TESTMESH_LOG",
        "RUST_LOG",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "NO_COLOR",
    ] {
        command.env_remove(variable);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    testmesh(arguments).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A plan in a folder that lives as long as the first part.
pub(crate) fn plan(content: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.yaml");
    std::fs::write(&path, content).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

const GOOD: &str = "testmesh: v1
name: good
vars: { users: 2 }
targets:
  web: { http: 'http://127.0.0.1:9' }
scenarios:
  one:
    load: { virtual_users: '${vars.users}', for: 1s }
    stages:
      - name: get
        http: { target: web, get: / }
";

#[test]
fn help_goes_to_stdout_and_is_no_failure() {
    for (name, arguments) in [
        ("help", vec!["--help"]),
        ("help_run", vec!["run", "--help"]),
        ("help_check", vec!["check", "--help"]),
        ("help_runs", vec!["runs", "--help"]),
        ("help_serve", vec!["serve", "--help"]),
    ] {
        let output = testmesh(&arguments).env("COLUMNS", "100").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "");
        insta::assert_snapshot!(name, text(&output.stdout));
    }
}

#[test]
fn wrong_usage_is_talked_about_and_exits_with_2() {
    for arguments in [
        vec![],
        vec!["rum"],
        vec!["run"],
        vec!["run", "plan.yaml", "--agents", "0"],
        vec!["run", "plan.yaml", "--var", "users"],
        vec!["run", "plan.yaml", "--testbed=no-such-behavior"],
        vec!["agents", "list", "--coordinator", "ftp://host"],
    ] {
        let output = run(&arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn what_is_not_there_yet_says_so() {
    for arguments in [
        vec!["run", "plan.yaml", "--on", "kubernetes"],
        vec!["serve", "--store", "mongodb://host"],
        vec!["agents", "drain", "a"],
        vec!["runs", "compare", "a", "b"],
        vec!["deploy", "apply"],
        vec!["deploy", "status"],
        vec!["deploy", "delete"],
        vec!["certs", "init"],
        vec!["certs", "agent"],
        vec!["certs", "operator"],
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            text(&output.stderr).contains("does not run it yet"),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn the_schedule_of_a_plan_is_the_same_for_any_number_of_agents() {
    let yaml = "testmesh: v1\nname: x\ntargets: { web: { http: 'http://127.0.0.1:9' } }\nscenarios:\n  spike:\n    load: { arrivals: 20/s, for: 3s, max_sessions: 60, spread: poisson }\n    stages: [ { name: a, http: { target: web, get: / } } ]\n  later:\n    after: spike\n    load: { virtual_users: 3, for: 3s, ramp_up: 3s }\n    stages: [ { name: b, http: { target: web, get: / } } ]\n";
    let (folder, _) = plan(yaml);
    let file = folder.path().join("plan.yaml");
    let arrivals = |agents: &str| {
        let file = file.to_str().unwrap();
        let arguments = [
            "check",
            file,
            "--schedule",
            "--seed",
            "7",
            "--output",
            "json",
        ];
        let output = run(&[&arguments[..], &["--agents", agents]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
        let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(shown["problems"], serde_json::json!([]));
        let arrivals = shown["arrivals"].as_array().unwrap().clone();
        let agents: std::collections::BTreeSet<_> = arrivals
            .iter()
            .map(|one| one["agent"].as_str().unwrap().to_owned())
            .collect();
        let without: Vec<_> = arrivals
            .iter()
            .map(|one| {
                (
                    one["at"].clone(),
                    one["scenario"].clone(),
                    one["index"].clone(),
                )
            })
            .collect();
        (without, agents.len())
    };
    let (one, agents) = arrivals("1");
    assert_eq!(agents, 1);
    assert!(one.len() > 40, "{one:?}");
    assert_eq!(
        one.last().unwrap().0,
        5.0,
        "the later one begins at 3 s and ramps"
    );
    for (count, shown) in [("3", 3), ("50", 50)] {
        let (many, agents) = arrivals(count);
        assert_eq!(many, one);
        assert!(agents > shown / 2, "{agents} of {shown} have a part");
    }
    let too_many = run(&[
        "check",
        file.to_str().unwrap(),
        "--schedule",
        "--agents",
        "61",
    ]);
    assert_eq!(too_many.status.code(), Some(104));
    assert!(text(&too_many.stderr).contains("max_sessions"));
}

fn text_of(output: &std::process::Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn nobody_at_the_coordinators_address_is_102_with_a_way_out() {
    let (_folder, plan) = plan(GOOD);
    // Port 9 on loopback: nothing listens there, and the system says so at once.
    let nobody = "http://127.0.0.1:9";
    for arguments in [
        vec!["agents", "list", "--coordinator", nobody],
        vec!["runs", "list", "--coordinator", nobody],
        vec!["runs", "watch", "latest", "--coordinator", nobody],
        vec!["submit", &plan, "--coordinator", nobody],
        vec!["run", &plan, "--coordinator", nobody],
    ] {
        let output = run(&arguments);
        assert_eq!(
            output.status.code(),
            Some(102),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
        let talk = text(&output.stderr);
        assert!(
            talk.contains("no coordinator answers at http://127.0.0.1:9/")
                && talk.contains("hint:"),
            "{talk}"
        );
    }
}

#[test]
fn a_good_plan_checks_out() {
    let (_folder, plan) = plan(GOOD);
    let output = run(&["check", &plan]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).contains("good has no problems: 1 scenario"),
        "{}",
        text(&output.stdout)
    );
    let output = run(&["check", &plan, "--output", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json, serde_json::json!({ "problems": [] }));
}

#[test]
fn a_bad_plan_is_104_for_people_and_for_scripts() {
    let (_folder, path) = plan(
        &GOOD
            .replace("virtual_users:", "virtual_user:")
            .replace("get: /", "get: /, jsn: 1"),
    );
    let shown = |bytes: &[u8]| text(bytes).replace(&path, "plan.yaml");
    let output = run(&["check", &path]);
    assert_eq!(output.status.code(), Some(104));
    insta::assert_snapshot!("check_people", shown(&output.stdout));
    let output = run(&["check", &path, "--output", "json"]);
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(104), String::new())
    );
    insta::assert_snapshot!("check_scripts", shown(&output.stdout));
    let output = run(&["run", &path]);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(104), String::new())
    );
    assert!(
        text(&output.stderr).contains("nothing was started"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_plan_that_is_not_there_is_104() {
    let output = run(&["check", "no/such/plan.yaml", "--output", "json"]);
    assert_eq!(output.status.code(), Some(104));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["problems"][0]["code"], "file");
}

#[test]
fn vars_come_from_flags_and_from_the_environment_and_must_fit() {
    let (_folder, plan) = plan(GOOD);
    let check = |flags: &[&str], environment: &[(&str, &str)]| {
        let output = testmesh(&[&["check", &plan], flags].concat())
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        output.status.code()
    };
    assert_eq!(check(&["--var", "users=3"], &[]), Some(0));
    assert_eq!(check(&["--var", "users=many"], &[]), Some(104));
    assert_eq!(check(&["--var", "absent=1"], &[]), Some(104));
    assert_eq!(check(&[], &[("TESTMESH_VAR_USERS", "3")]), Some(0));
    assert_eq!(check(&[], &[("TESTMESH_VAR_USERS", "many")]), Some(104));
    assert_eq!(
        check(&["--var", "users=3"], &[("TESTMESH_VAR_USERS", "many")]),
        Some(0),
        "the flag wins"
    );
    assert_eq!(
        check(&[], &[("TESTMESH_VAR_ABSENT", "1")]),
        Some(0),
        "other tools have variables too"
    );
}

#[test]
fn the_schema_is_json() {
    let output = run(&["schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["properties"]["scenarios"].is_object());
}

/// A reader such as `head` goes away early.
#[test]
fn a_closed_stdout_is_no_panic() {
    for arguments in [&["schema"][..], &["--help"]] {
        let mut child = testmesh(arguments)
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
}

#[test]
fn a_full_disk_is_an_error() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let full = std::fs::OpenOptions::new().write(true).open(full).unwrap();
    let output = testmesh(&["schema"])
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("failed to write to stdout"),
        "{}",
        text(&output.stderr)
    );
}
