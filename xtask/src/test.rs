//! `cargo xtask test`: installs what tests need, builds once, runs everything.

use std::process::Command;

use anyhow::Result;

use crate::process::{self, cargo, in_ci, say};
use crate::servers::{self, Servers};
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
    match tools::nextest(workspace) {
        Ok(_) => with_nextest(workspace, &servers, filter),
        Err(error) if in_ci() => Err(error.context("continuous integration runs with nextest")),
        Err(error) => {
            say(&format!(
                "note: no nextest, plain `cargo test` does: {error:#}"
            ));
            with_cargo(workspace, &servers, filter)
        }
    }
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

fn with_nextest(workspace: &Workspace, servers: &Servers, filter: &[String]) -> Result<()> {
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
    servers.name_to(&mut command);
    process::run(&mut command)
}

fn with_cargo(workspace: &Workspace, servers: &Servers, filter: &[String]) -> Result<()> {
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
    servers.name_to(&mut command);
    process::run(&mut command)
}
