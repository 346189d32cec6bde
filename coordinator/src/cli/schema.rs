//! `testmesh schema`: the JSON Schema of plans.
use super::error::CliError;
use super::output::Output;
use testmesh_agent::driver::DRIVERS;
use testmesh_shared::exit_code::ExitCode;
use testmesh_shared::plan;

/// Prints the schema.
pub(super) fn execute(output: &Output) -> Result<ExitCode, CliError> {
    output.json(&plan::schema(DRIVERS))?;
    Ok(ExitCode::Passed)
}
