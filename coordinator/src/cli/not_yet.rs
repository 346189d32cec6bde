//! What is known by name only.
use super::args::{Agents, Certs, Command, Deploy, Run, Runs, Serve};
use super::error::CliError;

/// Refuses what this build does not run.
pub(super) fn refuse(command: &Command) -> Result<(), CliError> {
    let name = match command {
        Command::Run(run) => return run_flags(run),
        Command::Serve(Serve { store: Some(_), .. }) => "serve --store",
        Command::Agents(Agents::Drain { .. }) => "agents drain",
        Command::Runs(Runs::Compare { .. }) => "runs compare",
        Command::Deploy(Deploy::Apply) => "deploy apply",
        Command::Deploy(Deploy::Status) => "deploy status",
        Command::Deploy(Deploy::Delete) => "deploy delete",
        Command::Certs(Certs::Init) => "certs init",
        Command::Certs(Certs::Agent) => "certs agent",
        Command::Certs(Certs::Operator) => "certs operator",
        Command::Schema
        | Command::Check(_)
        | Command::Submit(_)
        | Command::Serve(_)
        | Command::Agents(_)
        | Command::Faults(_)
        | Command::Runs(_) => return Ok(()),
    };
    Err(CliError::NotYet(name))
}

fn run_flags(run: &Run) -> Result<(), CliError> {
    match run.on {
        Some(_) => Err(CliError::NotYet("run --on")),
        None => Ok(()),
    }
}
