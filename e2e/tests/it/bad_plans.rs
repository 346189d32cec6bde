//! A plan with a mistake is refused before anything starts: exit 104, every problem with its place.

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::Result;
use tempfile::TempDir;
use testmesh_e2e::Cli;

fn plan_with(text: &str) -> Result<(TempDir, PathBuf)> {
    let folder = TempDir::new()?;
    let path = folder.path().join("plan.yaml");
    fs::write(&path, text)?;
    Ok((folder, path))
}

/// Both `check` and `run` refuse the plan, and say each of `messages`.
async fn refused(text: &str, messages: &[&str]) -> Result<()> {
    let (_folder, path) = plan_with(text)?;
    for command in ["check", "run"] {
        let outcome = Cli::new().arg(command).arg(&path).finish().await?;
        assert_eq!(
            outcome.code,
            Some(104),
            "{}\n{}",
            outcome.stdout,
            outcome.stderr
        );
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        for message in messages {
            assert!(said.contains(message), "`{message}` is not in:\n{said}");
        }
        assert!(said.contains("plan.yaml"), "no place is named:\n{said}");
    }
    Ok(())
}

const HEAD: &str = "testmesh: v1\nname: x\ntargets:\n  web: { http: \"http://127.0.0.1:1\" }\n";

#[tokio::test]
async fn all_problems_are_told_at_once() -> Result<()> {
    let text = format!(
        "{HEAD}scenarios:\n  a:\n    laod: once\n    load: once\n    stages:\n      - name: get\n        http: {{ target: web, get: /, jsn: 1 }}\n        expect: [ \"staus == 200\" ]\n"
    );
    refused(&text, &["laod", "jsn", "staus"]).await
}

#[tokio::test]
async fn an_unknown_metric_is_named() -> Result<()> {
    let text = format!(
        "{HEAD}scenarios:\n  a:\n    load: once\n    stages:\n      - name: get\n        http: {{ target: web, get: / }}\nthresholds:\n  - p95(stage_duraton) < 1s\n"
    );
    refused(&text, &["stage_duraton", "stage_duration"]).await
}

#[tokio::test]
async fn a_later_feature_says_not_yet() -> Result<()> {
    let text = format!(
        "{HEAD}scenarios:\n  a:\n    load: {{ capacity: 1 }}\n    stages:\n      - {{ name: wait, wait: {{ for: 1ms }} }}\n"
    );
    refused(&text, &["not_yet"]).await
}

#[tokio::test]
async fn a_bomb_of_aliases_is_refused_quickly() -> Result<()> {
    let mut text = String::from("a: &a [x, x]\n");
    for (name, last) in ('b'..='i').zip('a'..='h') {
        let eight = [format!("*{last}").as_str(); 8].join(", ");
        writeln!(text, "{name}: &{name} [{eight}]")?;
    }
    refused(&text, &["anchor"]).await
}

#[tokio::test]
async fn a_plan_of_a_hundred_megabytes_is_refused() -> Result<()> {
    let text = "# padding padding padding padding padding padding padding\n"
        .repeat(100 * 1024 * 1024 / 58);
    refused(&text, &["4194304"]).await
}

#[tokio::test]
async fn deep_nesting_is_refused() -> Result<()> {
    refused(&"[".repeat(100_000), &["deep"]).await
}

#[tokio::test]
async fn check_prints_problems_as_json() -> Result<()> {
    let (_folder, path) = plan_with("testmesh: v1\nnam: x\n")?;
    let check = Cli::new()
        .arg("check")
        .arg(&path)
        .arg("--output")
        .arg("json");
    let outcome = check.finish().await?;
    assert_eq!(outcome.code, Some(104), "{}", outcome.stderr);
    let problems: serde_json::Value = serde_json::from_str(&outcome.stdout)?;
    let first = &problems["problems"][0];
    for key in ["file", "line", "column", "code", "message", "hint"] {
        assert!(first.get(key).is_some(), "no {key} in {first}");
    }
    Ok(())
}
