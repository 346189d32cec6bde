//! Every example of the generated documents does what it says.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;
use tempfile::TempDir;
use testmesh_e2e::real::named;
use testmesh_e2e::{Cli, Expected, Mesh, Process, binary};

use crate::apiserver::ApiServer;

fn root() -> &'static Path {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the crate lies in the workspace")
}

/// The code blocks of a document in this language, in their order, each with the line before it.
fn blocks(document: &str, language: &str) -> Result<Vec<(String, String)>> {
    let text = fs::read_to_string(root().join("docs").join(document))?;
    let (mut blocks, mut before) = (Vec::new(), "");
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.strip_prefix("```") == Some(language) {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((before.to_owned(), block.join("\n") + "\n"));
        } else if !line.is_empty() {
            before = line;
        }
    }
    anyhow::ensure!(!blocks.is_empty(), "{document} has no {language}");
    Ok(blocks)
}

/// A folder with what the examples name: the repository's plans, and the files that a document shows.
fn folder(document: &str) -> Result<TempDir> {
    let folder = TempDir::new()?;
    symlink(root().join("plans"), folder.path().join("plans"))?;
    symlink(
        root().join("plans/focus/protos"),
        folder.path().join("protos"),
    )?;
    if let Ok(files) = blocks(document, "csv") {
        for (before, text) in files {
            let name = before
                .split('`')
                .nth(1)
                .context("a file has a name before it")?;
            fs::write(folder.path().join(name), text)?;
        }
    }
    Ok(folder)
}

/// Whether an example needs a program that is not there, which is a failure in CI.
#[expect(
    clippy::print_stderr,
    reason = "the lint knows tests by their attribute alone, and this is called by them"
)]
fn needs_missing(text: &str, key: &str, variable: &str) -> bool {
    let missing = text.contains(key) && std::env::var_os(variable).is_none();
    assert!(
        !missing || std::env::var_os("CI").is_none(),
        "{variable} is not set: `cargo xtask test` installs what it names"
    );
    if missing {
        eprintln!("an example is not run: {variable} is not set");
    }
    missing
}

/// The variables of an example that name services, with where they are; none if one of them is not there.
fn services(text: &str) -> Option<Vec<(&'static str, String)>> {
    let known = [
        (" mongodb: ", "mongodb", "TESTMESH_MONGODB_URI"),
        (" amqp: ", "amqp", "TESTMESH_AMQP_URI"),
        (" amqp: ", "api", "TESTMESH_RABBITMQ_API"),
    ];
    let needed = known.into_iter().filter(|(key, ..)| text.contains(key));
    needed
        .map(|(_, name, variable)| Some((name, named(variable)?)))
        .collect()
}

/// A cluster with one job's pod, which runs, and its service.
async fn cluster() -> ApiServer {
    let server = ApiServer::start().await;
    let app = "grpc-job-1";
    server.pod("grpc-job-1-abcde", app, "Running");
    server.log("grpc-job-1-abcde", "main", "listening\n");
    let service = json!({ "metadata": { "labels": { "app": app } } });
    server.put("v1/services", "panda", "grpc-service-1", service);
    server
}

#[tokio::test]
async fn plans_of_the_plan_reference_pass() -> Result<()> {
    let folder = folder("plan-reference.md")?;
    for (at, (_, text)) in blocks("plan-reference.md", "yaml")?.into_iter().enumerate() {
        if needs_missing(&text, "browser:", "TESTMESH_CHROMIUM") {
            continue;
        }
        let Some(services) = services(&text) else {
            continue;
        };
        let cluster = cluster().await;
        let plan = folder.path().join(format!("example-{at}.yaml"));
        fs::write(&plan, &text)?;
        let mut run = Cli::run(&plan).arg("--testbed");
        for (name, address) in services {
            run = run.var(name, &address);
        }
        if text.contains(" kubernetes: ") {
            run = run.var("cluster", &format!("http://{}", cluster.address));
        }
        let outcome = run.finish().await?;
        assert_eq!(
            outcome.code,
            Some(0),
            "{text}\n{}{}",
            outcome.stdout,
            outcome.stderr
        );
        Expected::passed().check(&outcome);
    }
    Ok(())
}

#[tokio::test]
async fn thresholds_of_the_metrics_are_judged() -> Result<()> {
    let folder = TempDir::new()?;
    for (_, thresholds) in blocks("metrics.md", "yaml")? {
        let text = format!(
            "testmesh: v1\nname: documented\nvars: {{ focus: 'http://x' }}\ntargets: {{ web: {{ http: '${{vars.focus}}' }} }}\n\
             phases: {{ early: {{ from: 0s, to: 1s }}, late: {{ from: 1s, to: 2s }} }}\n\
             scenarios:\n  shop:\n    load: {{ virtual_users: 6, for: 2s, pause: 50ms }}\n    sites: {{ haifa: 1, tokyo: 1 }}\n    stages:\n\
             \x20     - {{ name: login, http: {{ target: web, get: /ack }} }}\n{thresholds}"
        );
        let plan = folder.path().join("plan.yaml");
        fs::write(&plan, &text)?;
        let run = Cli::run(&plan).arg("--testbed").arg("--agents").arg("2");
        let outcome = run.finish().await?;
        // They are examples: whether they hold here is not their point, that each is judged is.
        let judged = outcome.report["thresholds"].as_array().map_or(0, Vec::len);
        let written = thresholds
            .lines()
            .filter(|line| line.starts_with("  - "))
            .count();
        let said = outcome.stdout + &outcome.stderr;
        assert!(matches!(outcome.code, Some(0 | 10 | 100)), "{text}\n{said}");
        assert!(
            written > 0 && judged >= written,
            "{judged} of {written}:\n{text}\n{said}"
        );
    }
    Ok(())
}

/// Runs one line as a shell would, in a folder that has the repository's plans.
async fn command(
    line: &str,
    folder: &Path,
    env: &[(String, String)],
) -> Result<(Option<i32>, String)> {
    let (command, into) = match line.split_once(" > ") {
        Some((command, file)) => (command, Some(file.trim())),
        None => (line, None),
    };
    let args: Vec<String> = command
        .split_whitespace()
        .skip(1)
        .map(str::to_owned)
        .collect();
    let mut process = Process::start_in(folder, &binary("testmesh"), &args, env)?;
    if args.first().is_some_and(|first| first == "serve") {
        // It serves until it is told to end.
        process.line_with("listens on").await?;
        process.signal("INT").await?;
    }
    let status = process.ended(std::time::Duration::from_secs(120)).await?;
    if let Some(file) = into {
        fs::write(folder.join(file), process.stdout())?;
    }
    Ok((status.code(), process.stdout() + &process.stderr()))
}

#[tokio::test]
async fn commands_of_the_command_line_work() -> Result<()> {
    let mesh = Mesh::builder().agents(2).testbed("").start().await?;
    let folder = folder("cli.md")?;
    let on_mesh = mesh.environment();
    for (_, block) in blocks("cli.md", "sh")? {
        for line in block
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
        {
            // `run` is shown without a mesh, the others with the default one, where this test has its own.
            let env = if line.starts_with("testmesh run ") {
                &[][..]
            } else {
                &on_mesh[..]
            };
            let (code, said) = command(line, folder.path(), env).await?;
            let fine = code == Some(0);
            assert!(fine, "`{line}` ended with {code:?}:\n{said}");
        }
    }
    Ok(())
}

#[test]
fn every_command_that_is_built_has_an_example() -> Result<()> {
    let text = fs::read_to_string(root().join("docs/cli.md"))?;
    let sections = text.split("\n## ").skip(1).flat_map(|section| {
        let mut parts: Vec<&str> = section.split("\n### ").collect();
        if parts.len() > 1 {
            parts.remove(0);
        }
        parts
    });
    for section in sections {
        let title = section.lines().next().unwrap_or_default();
        let built = !section.contains("(not yet)\n");
        assert!(
            !built || section.contains("```sh\n"),
            "`{title}` has no example"
        );
    }
    Ok(())
}

/// The documents that are shown in this test are found where they are.
#[test]
fn documents_lie_in_docs() {
    let documents = ["cli.md", "metrics.md", "plan-reference.md"];
    let missing: Vec<PathBuf> = documents
        .iter()
        .map(|name| root().join("docs").join(name))
        .filter(|path| !path.is_file())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
