//! `focus-server`: the stand-in behind a command line. The first SIGINT or SIGTERM ends it, a second one at once.

use std::io::Write;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use testmesh_shared::shutdown::{Shutdown, Tasks};
use testmesh_shared::telemetry::{self, LogFormat, LogLevel};
use testmesh_testbed::{Config, Flags, Load, LoadFlags, Testbed, load};
use tokio::time::Instant;

/// How long the last spans may take to the collector.
const FLUSH: Duration = Duration::from_secs(2);
/// How often a load says how far it is.
const TELL: Duration = Duration::from_secs(1);

/// A stand-in Focus Server: REST API, one gRPC server per job, deterministic rows, named misbehaviors.
#[derive(Debug, Parser)]
#[command(name = "focus-server", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What is recorded in MongoDB
    #[command(subcommand)]
    Recordings(Recordings),
}

#[derive(Debug, Subcommand)]
enum Recordings {
    /// Fill MongoDB with recordings, and with the rows of a view; prints what was loaded as JSON
    Load(Box<LoadFlags>),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ran = match cli.command {
        None => cli.flags.config().and_then(|config| run(serve(config))),
        Some(Command::Recordings(Recordings::Load(flags))) => {
            flags.load().and_then(|load| run(fill(load)))
        }
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing more can be done if stderr is gone.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    runtime.block_on(work)
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

/// Loads recordings; a signal ends it, and to load again completes it.
async fn fill(what: Load) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    let tasks = Tasks::new(shutdown.clone());
    shutdown
        .listen(&tasks)
        .context("failed to listen for signals")?;
    let told = Mutex::new(None::<Instant>);
    let progress = |what: &str, done: u64, of: u64| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|told| told.elapsed() < TELL) {
            return;
        }
        *told = Some(Instant::now());
        let of = if of > 0 {
            format!(" of {of}")
        } else {
            String::new()
        };
        // Talk goes to stderr; whoever closed it does not want to hear.
        let _ = writeln!(std::io::stderr(), "{what}: {done}{of}");
    };
    let loaded = tokio::select! {
        loaded = load(what, &tasks, &progress) => loaded?,
        () = shutdown.draining() => anyhow::bail!("interrupted: what was loaded until now stays"),
    };
    let loaded = serde_json::to_string(&loaded).context("failed to render what was loaded")?;
    writeln!(std::io::stdout(), "{loaded}").context("failed to write to stdout")
}
