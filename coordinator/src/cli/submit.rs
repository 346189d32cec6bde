//! `testmesh submit PLAN`: hands a plan to a coordinator, and does not wait.
use super::args::Submit;
use super::client::{Client, Order};
use super::error::CliError;
use super::output::Output;
use super::package::Package;
use testmesh_proto::v1::Problem;
use testmesh_shared::exit_code::ExitCode;
use testmesh_shared::plan::Narrowing;

/// Runs the command: the run's id goes to stdout.
pub(super) async fn execute(submit: &Submit, output: &Output) -> Result<ExitCode, CliError> {
    let package =
        Package::read(&submit.plan, &submit.vars, &[]).map_err(|invalid| invalid.refuse(output))?;
    let mut client = Client::connect(&submit.mesh.coordinator).await?;
    let order = Order {
        vars: package.overrides(),
        seed: submit.seed,
        agents: submit.agents,
        narrowing: Narrowing::default(),
    };
    let run = accepted(&mut client, &package, order, output).await?;
    output.text(&run)?;
    output.talk(&format!("hint: `testmesh runs watch {run}` follows it, `testmesh runs report {run}` shows its report"));
    Ok(ExitCode::Passed)
}

/// Submits a plan; returns the run's id. Problems that only the coordinator sees are shown.
pub(super) async fn accepted(
    client: &mut Client,
    package: &Package,
    order: Order,
    output: &Output,
) -> Result<String, CliError> {
    let reply = client.submit(package, order).await?;
    if !reply.run.is_empty() {
        return Ok(reply.run);
    }
    for problem in &reply.problems {
        output.talk(&line(problem));
    }
    let problems = crate::report::format::plural(
        u64::try_from(reply.problems.len()).unwrap_or(u64::MAX),
        "problem, found by the coordinator,",
        "problems, found by the coordinator,",
    );
    Err(CliError::PlanInvalid {
        file: package.plan_file(),
        problems,
    })
}

fn line(problem: &Problem) -> String {
    let clean = crate::report::terminal::clean;
    let hint = if problem.hint.is_empty() {
        String::new()
    } else {
        format!(" (hint: {})", clean(&problem.hint))
    };
    format!(
        "{}:{}:{}: {}: {}{hint}",
        clean(&problem.file),
        problem.line,
        problem.column,
        clean(&problem.code),
        clean(&problem.message)
    )
}
