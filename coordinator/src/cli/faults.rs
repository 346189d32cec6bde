//! `testmesh faults revert`.
use super::args::Faults;
use super::client::Client;
use super::error::CliError;
use super::output::Output;
use crate::report::terminal::clean;
use std::fmt::Write as _;
use testmesh_shared::exit_code::ExitCode;

/// Runs the command: what a run could not revert is told with the way to do it by hand.
pub(super) async fn execute(command: Faults, output: &Output) -> Result<ExitCode, CliError> {
    let Faults::Revert { run, mesh } = command;
    let mut client = Client::connect(&mesh.coordinator).await?;
    let run = client.resolve(&run).await?;
    let left = client.left_faults(&run).await?.left;
    if left.is_empty() {
        output.talk(&format!("every fault of run {run} is reverted"));
        return Ok(ExitCode::Passed);
    }
    let mut text = String::new();
    for fault in &left {
        let (name, by_hand) = (clean(&fault.fault), clean(&fault.by_hand));
        let _ = writeln!(text, "fault `{name}` may still be there: {by_hand}");
    }
    output.text(&text)?;
    Ok(ExitCode::Unexpected)
}
