//! `focus-server`: the stand-in behind a command line. The first SIGINT or SIGTERM ends it, a second one at once.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use testmesh_shared::shutdown::{Shutdown, Tasks};
use testmesh_shared::telemetry::{self, LogFormat, LogLevel};
use testmesh_testbed::{Config, Flags, Testbed};

/// How long the last spans may take to the collector.
const FLUSH: Duration = Duration::from_secs(2);

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
        .context("failed to start the runtime")?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    let tasks = Tasks::new(shutdown.clone());
    shutdown
        .listen(&tasks)
        .context("failed to listen for signals")?;
    let about = telemetry::Config {
        service: "focus-server".to_owned(),
        guests: Vec::new(),
        format: LogFormat::Text,
        level: LogLevel::Info,
    };
    let telemetry = telemetry::init(&about, &tasks)?;
    // Talk goes to stderr; whoever closed it does not want to hear.
    let _ = writeln!(std::io::stderr(), "{config:#?}");
    let testbed = Testbed::start(config).await?;
    // The one line of output: a script reads the address from it.
    let _ = writeln!(
        std::io::stdout(),
        "focus-server listens on {}, jobs from port {}",
        testbed.url(),
        testbed.job_ports()
    );
    shutdown.draining().await;
    let ended = tokio::select! {
        ended = testbed.shutdown() => ended,
        () = shutdown.aborting() => Ok(()),
    };
    telemetry.shutdown(FLUSH).await;
    ended
}
