//! `cargo xtask test`: installs what tests need, builds once, runs everything.

use std::process::Command;

use anyhow::Result;

use crate::process::{self, cargo, in_ci, say};
use crate::servers;
use crate::services::{self, Services};
use crate::tools;
use crate::workspace::Workspace;

/// Runs every test of the workspace, or those that `filter` names.
///
/// # Errors
///
/// Fails when something does not build or a test fails; in continuous integration also when a server or nextest is missing.
pub fn run(workspace: &Workspace, filter: &[String]) -> Result<()> {
    let servers = servers::install(workspace)?;
    // One build of everything: tests of other crates find the real binaries beside their own executable, and the
    // runner below finds nothing left to compile.
    process::run(cargo(workspace.root()).args([
        "build",
        "--workspace",
        "--bins",
        "--tests",
        "--locked",
    ]))?;
    // Documentation first: a runner's summary of all tests is then the last word.
    if filter.is_empty() {
        process::run(cargo(workspace.root()).args(["test", "--workspace", "--doc", "--locked"]))?;
    }
    // Up as late as possible, and down when this returns.
    let services = Services::start(workspace)?;
    let places = |command: &mut Command| {
        servers.name_to(command);
        services.name_to(command);
    };
    match tools::nextest(workspace) {
        Ok(_) => with_nextest(workspace, places, filter),
        Err(error) if in_ci() => Err(error.context("continuous integration runs with nextest")),
        Err(error) => {
            say(&format!(
                "note: no nextest, plain `cargo test` does: {error:#}"
            ));
            with_cargo(workspace, places, filter)
        }
    }
}

/// Keeps everything up that tests and plans talk to, for a developer.
///
/// # Errors
///
/// Fails when a service ends.
pub fn services(workspace: &Workspace) -> Result<()> {
    let servers = servers::install(workspace)?;
    services::keep(workspace, servers.found())
}

/// Runs every behavior of the testbed with every plan for it, which takes a quarter of an hour; tests run some of the
/// pairs.
///
/// # Errors
///
/// Fails when something does not build, or a pair comes out otherwise than its table says.
pub fn matrix(workspace: &Workspace) -> Result<()> {
    process::run(cargo(workspace.root()).args(["build", "--workspace", "--bins", "--locked"]))?;
    let mut command = match tools::nextest(workspace) {
        Ok(nextest) => {
            let mut command = Command::new(nextest);
            command.current_dir(workspace.root());
            command.args(["nextest", "run", "--locked", "--package", "testmesh-e2e"]);
            command
        }
        Err(error) => {
            say(&format!(
                "note: no nextest, plain `cargo test` does: {error:#}"
            ));
            let mut command = cargo(workspace.root());
            command.args([
                "test",
                "--locked",
                "--package",
                "testmesh-e2e",
                "--test",
                "it",
            ]);
            command
        }
    };
    process::run(command.arg("matrix::").env("TESTMESH_MATRIX", "all"))
}

fn with_nextest(
    workspace: &Workspace,
    places: impl FnOnce(&mut Command),
    filter: &[String],
) -> Result<()> {
    let profile = if in_ci() { "ci" } else { "default" };
    let mut command = Command::new(tools::nextest(workspace)?);
    command.current_dir(workspace.root());
    command
        .args([
            "nextest",
            "run",
            "--workspace",
            "--locked",
            "--profile",
            profile,
        ])
        .args(filter);
    places(&mut command);
    process::run(&mut command)
}

fn with_cargo(
    workspace: &Workspace,
    places: impl FnOnce(&mut Command),
    filter: &[String],
) -> Result<()> {
    let mut command = cargo(workspace.root());
    command
        .args([
            "test",
            "--workspace",
            "--lib",
            "--bins",
            "--tests",
            "--locked",
        ])
        .args(filter);
    places(&mut command);
    process::run(&mut command)
}
