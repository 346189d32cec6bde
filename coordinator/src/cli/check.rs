//! `testmesh check PLAN`: every problem of a plan, and nothing started.
use super::args::{Check, Listing};
use super::error::CliError;
use super::output::Output;
use super::package::Package;
use super::schedule::Planned;
use crate::report::format;
use serde_json::json;
use testmesh_shared::exit_code::ExitCode;
use testmesh_shared::plan::{self, Colour, Problem};

/// Runs the command.
pub(super) fn execute(check: &Check, output: &Output) -> Result<ExitCode, CliError> {
    let read = Package::read(&check.plan, &check.vars, &[]);
    let (problems, text) = match &read {
        Ok(package) => (package.notes(), package.plan().source.as_ref()),
        Err(invalid) => (invalid.problems.as_slice(), invalid.text.as_str()),
    };
    let planned = match &read {
        Ok(package) if check.schedule => Some(Planned::of(package.plan(), check)?),
        _ => None,
    };
    match check.output {
        Listing::Json => {
            let problems: Vec<_> = problems.iter().map(as_json).collect();
            let mut shown = json!({ "problems": problems });
            if let Some(planned) = &planned {
                shown["arrivals"] = planned.as_json();
            }
            output.json(&shown)?;
        }
        Listing::Terminal => {
            let colour = if output.colour_out() {
                Colour::Always
            } else {
                Colour::Never
            };
            if !problems.is_empty() {
                output.text(&plan::render(problems, text, colour))?;
            }
            if let Ok(package) = &read {
                output.text(&summary(package))?;
            }
            if let Some(planned) = &planned {
                planned.print(output)?;
            }
        }
    }
    let Err(invalid) = read else {
        return Ok(ExitCode::Passed);
    };
    if check.output == Listing::Terminal {
        let count = u64::try_from(invalid.problems.len()).unwrap_or(u64::MAX);
        output.text(&format!(
            "{}: {}",
            invalid.file,
            format::plural(count, "problem", "problems")
        ))?;
    }
    Ok(ExitCode::PlanInvalid)
}

/// What the plan would do, in one line: the reader sees that it was understood.
fn summary(package: &Package) -> String {
    let plan = package.plan();
    let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    format!(
        "{}: {} has no problems: {}, {}, {}",
        plan.file,
        plan.name,
        format::plural(count(plan.scenarios.len()), "scenario", "scenarios"),
        format::plural(count(plan.thresholds.len()), "threshold", "thresholds"),
        format::plural(count(plan.files.len()), "file", "files"),
    )
}

fn as_json(problem: &Problem) -> serde_json::Value {
    json!({
        "file": problem.file,
        "line": problem.span.start.line,
        "column": problem.span.start.column,
        "code": problem.code.as_str(),
        "message": problem.message,
        "hint": problem.hint,
    })
}
