//! The single steps besides the tests: format, lint, document, check dependencies, generate.

use std::process::Command;

use anyhow::Result;

use crate::process::{cargo, run};
use crate::tools;
use crate::workspace::Workspace;

/// Formats the code.
///
/// # Errors
///
/// Fails when rustfmt does.
pub fn format(workspace: &Workspace) -> Result<()> {
    run(cargo(workspace.root()).args(["fmt", "--all"]))
}

/// Fails where [`format()`] would change something.
///
/// # Errors
///
/// Fails when a file is not formatted.
pub fn format_check(workspace: &Workspace) -> Result<()> {
    run(cargo(workspace.root()).args(["fmt", "--all", "--check"]))
}

/// Lints every target, with warnings denied.
///
/// # Errors
///
/// Fails at any warning.
pub fn clippy(workspace: &Workspace) -> Result<()> {
    // Not through RUSTFLAGS: changing them would build every dependency again.
    run(cargo(workspace.root()).args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))
}

/// Builds the documentation of the workspace alone, with warnings denied.
///
/// # Errors
///
/// Fails at any warning, for instance a link that leads nowhere.
pub fn doc(workspace: &Workspace) -> Result<()> {
    let mut command = cargo(workspace.root());
    command.env("RUSTDOCFLAGS", "-D warnings");
    // Private items too: their links rot like any other.
    run(command.args([
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
        "--locked",
    ]))
}

/// Checks licences, sources and versions of the dependencies.
///
/// # Errors
///
/// Fails when cargo-deny cannot be had, or finds something.
pub fn deny(workspace: &Workspace) -> Result<()> {
    let binary = tools::deny(workspace)?;
    let mut command = Command::new(binary);
    command.current_dir(workspace.root());
    // Advisories need a database from the internet; the other checks need nothing but the lock file.
    run(command.args([
        "--log-level",
        "error",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))
}

/// Writes generated code and generated documents anew.
///
/// # Errors
///
/// Fails when one of the generators, which are tests, does.
pub fn generate(workspace: &Workspace) -> Result<()> {
    let generators: [&[&str]; 3] = [
        &["--package", "testmesh-proto"],
        &["--package", "testmesh-testbed", "--test", "it", "bootstrap"],
        &[
            "--package",
            "testmesh-coordinator",
            "--test",
            "generated_docs",
        ],
    ];
    for generator in generators {
        let mut command = cargo(workspace.root());
        command
            .env("TESTMESH_REGENERATE", "1")
            .arg("test")
            .args(generator);
        run(&mut command)?;
    }
    Ok(())
}
