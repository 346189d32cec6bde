//! `focus-server`: the stand-in behind a command line. Runs until SIGINT or SIGTERM.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use testmesh_testbed::{Config, Flags, Testbed};
use tokio::signal::unix::{SignalKind, signal};

/// A stand-in Focus Server: REST API, one gRPC server per job, deterministic rows, named misbehaviors.
#[derive(Debug, Parser)]
#[command(name = "focus-server", version)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.flags.config().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing more can be done if stderr is gone.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start tokio")?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    let _ = writeln!(std::io::stderr(), "{config:#?}");
    let testbed = Testbed::start(config).await?;
    // The one line of output: a script reads the address from it.
    let _ = writeln!(
        std::io::stdout(),
        "focus-server listens on {}, jobs from port {}",
        testbed.url(),
        testbed.job_ports()
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let _ = writeln!(std::io::stderr(), "stopping");
    testbed.shutdown().await
}
