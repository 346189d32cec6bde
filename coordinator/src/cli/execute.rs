//! From arguments to an exit code: sets the process up, sends the command to its file, and renders what failed.
use super::args::{Cli, Command};
use super::error::CliError;
use super::local::AGENT_SERVICE;
use super::output::Output;
use super::{agents, check, faults, not_yet, run, runs, schema, serve, submit};
use clap::Parser;
use std::ffi::OsString;
use std::time::Duration;
use testmesh_shared::exit_code::ExitCode;
use testmesh_shared::shutdown::{Shutdown, Tasks};
use testmesh_shared::telemetry::{self, Guest, LogFormat, LogLevel, Telemetry};

/// At the end: time for the trace collector to take the last spans.
const FLUSH: Duration = Duration::from_secs(5);
/// At the end: time for tasks that were told to end.
const JOIN: Duration = Duration::from_secs(5);

/// What commands share.
pub(super) struct Scene<'a> {
    pub(super) output: &'a Output,
    pub(super) shutdown: &'a Shutdown,
    pub(super) telemetry: &'a Telemetry,
}

/// Runs the command line to its exit code. Everything that can be said about a failure has been said when it returns.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let output = Output::detect();
    let result = match Cli::try_parse_from(arguments) {
        Ok(cli) => execute(cli.command, &output),
        Err(error) => return usage(&error, &output),
    };
    result.unwrap_or_else(|error| {
        output.error(&error);
        error.exit_code()
    })
}

/// Help goes to stdout and is no failure; wrong usage goes to stderr.
fn usage(error: &clap::Error, output: &Output) -> ExitCode {
    let colour = if error.use_stderr() {
        output.colour_err()
    } else {
        output.colour_out()
    };
    let text = if colour {
        error.render().ansi().to_string()
    } else {
        error.render().to_string()
    };
    if error.use_stderr() {
        output.talk(&text);
        return ExitCode::Usage;
    }
    output
        .text(&text)
        .map_or(ExitCode::Unexpected, |()| ExitCode::Passed)
}

fn execute(command: Command, output: &Output) -> Result<ExitCode, CliError> {
    not_yet::refuse(&command)?;
    // What needs no network needs no runtime.
    match &command {
        Command::Check(check) => return check::execute(check, output),
        Command::Schema => return schema::execute(output),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::Serve {
            operation: "start the runtime".to_owned(),
            source: source.into(),
        })?;
    let result = runtime.block_on(in_runtime(command, output));
    // Whatever is left (a blocked name look-up, an idle connection) must not hold the process.
    runtime.shutdown_background();
    result
}

/// What a local run has in its process beside the coordinator.
fn guests(command: &Command) -> Vec<Guest> {
    let guest = |service: &str, krate| Guest {
        service: service.to_owned(),
        krate,
    };
    match command {
        Command::Run(_) => vec![
            guest(AGENT_SERVICE, "testmesh_agent"),
            guest("focus-server", "testmesh_testbed"),
        ],
        _ => Vec::new(),
    }
}

async fn in_runtime(command: Command, output: &Output) -> Result<ExitCode, CliError> {
    let shutdown = Shutdown::new();
    let tasks = Tasks::new(shutdown.clone());
    let failed =
        |operation: &str, source: Box<dyn std::error::Error + Send + Sync>| CliError::Serve {
            operation: operation.to_owned(),
            source,
        };
    let level = if matches!(command, Command::Serve(_)) {
        LogLevel::Info
    } else {
        LogLevel::Warn
    };
    let config = telemetry::Config {
        service: "testmesh".to_owned(),
        guests: guests(&command),
        format: LogFormat::Text,
        level,
    };
    let telemetry =
        telemetry::init(&config, &tasks).map_err(|source| failed("set logs up", source.into()))?;
    shutdown
        .listen(&tasks)
        .map_err(|source| failed("listen for signals", source.into()))?;
    let scene = Scene {
        output,
        shutdown: &shutdown,
        telemetry: &telemetry,
    };
    let result = Box::pin(dispatch(command, &scene)).await;
    shutdown.abort();
    telemetry.shutdown(FLUSH).await;
    if let Err(unfinished) = tasks.join(JOIN).await {
        tracing::warn!(%unfinished, "left behind");
    }
    // After a panic nothing that was measured can be vouched for.
    match tasks.panicked() {
        Some(panicked) => Err(CliError::Panicked(panicked.to_string())),
        None => result,
    }
}

async fn dispatch(command: Command, scene: &Scene<'_>) -> Result<ExitCode, CliError> {
    match command {
        Command::Run(run) => run::execute(run, scene).await,
        Command::Submit(submit) => submit::execute(&submit, scene.output).await,
        Command::Serve(serve) => serve::execute(&serve, scene).await,
        Command::Agents(agents) => agents::execute(agents, scene.output).await,
        Command::Runs(runs) => runs::execute(runs, scene.output, scene.shutdown).await,
        Command::Check(check) => check::execute(&check, scene.output),
        Command::Schema => schema::execute(scene.output),
        Command::Faults(command) => faults::execute(command, scene.output).await,
        Command::Deploy(_) => Err(CliError::NotYet("deploy")),
        Command::Certs(_) => Err(CliError::NotYet("certs")),
    }
}
