//! The programs that are not ours and that tests start themselves: etcd, a Python gRPC server with reflection, Chromium.
//!
//! Their places are told to the tests by environment variables. A test whose variable is missing says so and
//! passes, so that a machine without them still tests all the rest; in continuous integration nothing may be missing.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::process::{in_ci, on_path, say};
use crate::tools;
use crate::workspace::Workspace;

/// Names the etcd binary to tests.
pub const ETCD: &str = "TESTMESH_ETCD";
/// Names the browser to tests and plans.
pub const CHROMIUM: &str = "TESTMESH_CHROMIUM";
/// Names to tests a Python that has grpcio with reflection.
pub const PYTHON_GRPC: &str = "TESTMESH_PYTHON_GRPC";

const PYTHON_REQUIREMENTS: &[&str] = &[
    "grpcio==1.85.1",
    "grpcio-reflection==1.85.1",
    "grpcio-tools==1.85.1",
];

/// A server: its variable, what is tested with it, and how it is found.
type Wanted = (
    &'static str,
    &'static str,
    fn(&Workspace) -> Result<PathBuf>,
);

/// The servers that were found or installed.
#[derive(Debug, Default)]
pub struct Servers {
    found: Vec<(&'static str, PathBuf)>,
}

impl Servers {
    /// The variables and what they name.
    #[must_use]
    pub fn found(&self) -> &[(&'static str, PathBuf)] {
        &self.found
    }

    /// Tells a test run where the servers are.
    pub fn name_to(&self, command: &mut Command) {
        command.envs(self.found.iter().map(|(name, path)| (name, path)));
    }
}

/// Finds every server, and installs what is missing.
///
/// # Errors
///
/// In continuous integration, fails when one is missing; elsewhere says what will not be tested.
pub fn install(workspace: &Workspace) -> Result<Servers> {
    let mut servers = Servers::default();
    let wanted: [Wanted; 3] = [
        (ETCD, "plans against etcd", etcd),
        (
            PYTHON_GRPC,
            "plans against a Python gRPC server",
            python_grpc,
        ),
        (CHROMIUM, "plans with a browser", chromium),
    ];
    for (name, tested, find) in wanted {
        let answer = match std::env::var_os(name) {
            Some(path) => Ok(PathBuf::from(path)),
            None => find(workspace),
        };
        match answer {
            Ok(path) => servers.found.push((name, path)),
            Err(error) if in_ci() => return Err(error.context(format!("cannot test {tested}"))),
            Err(error) => say(&format!("note: {tested} will not be tested: {error:#}")),
        }
    }
    Ok(servers)
}

fn etcd(_: &Workspace) -> Result<PathBuf> {
    if let Some(found) = on_path("etcd") {
        return Ok(found);
    }
    tools::apt(&["etcd-server"])?;
    on_path("etcd").ok_or_else(|| anyhow::anyhow!("the package etcd-server brought no `etcd`"))
}

fn chromium(_: &Workspace) -> Result<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let find = || names.into_iter().find_map(on_path);
    if let Some(found) = find() {
        return Ok(found);
    }
    tools::apt(&["chromium"])?;
    find().ok_or_else(|| anyhow::anyhow!("the package chromium brought no `chromium`"))
}

fn python_grpc(workspace: &Workspace) -> Result<PathBuf> {
    tools::python(
        &workspace.servers().join("python-grpc"),
        PYTHON_REQUIREMENTS,
    )
}
