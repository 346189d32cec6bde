//! `testmesh run PLAN`: a run from the plan to the verdict, in this process or on a mesh, by the same path.
//!
//! In this order: the plan is checked, the testbed and the mesh start if they are to be here, the plan is submitted and
//! followed, the report is fetched, written and summed up; then mesh and testbed end.
use super::args::Run;
use super::client::{Client, Order};
use super::error::CliError;
use super::execute::Scene;
use super::follow::{OnSignal, follow, verdict_line};
use super::local::LocalMesh;
use super::output::Output;
use super::package::Package;
use super::progress::View;
use super::report_files::Files;
use super::testbed::LocalTestbed;
use super::{report_files, submit};
use crate::report::format;
use crate::report::terminal::clean;
use crate::run::Terms;
use std::path::Path;
use testmesh_agent::Transcript;
use testmesh_proto::v1::RunEnded;
use testmesh_shared::exit_code::ExitCode;
use testmesh_shared::plan::Narrowing;

/// Runs the command.
pub(super) async fn execute(run: Run, scene: &Scene<'_>) -> Result<ExitCode, CliError> {
    let refuse = |invalid: Box<super::package::Invalid>| invalid.refuse(scene.output);
    let behaviors = run
        .testbed
        .as_deref()
        .map(LocalTestbed::parse)
        .transpose()?;
    if run.verbose && run.coordinator.is_some() {
        return Err(CliError::usage(
            "what agents elsewhere ask and are told is not sent here",
            "leave --coordinator and TESTMESH_COORDINATOR out, or --verbose",
        ));
    }
    let narrowing = Narrowing {
        scenario: run.scenario.clone(),
        once: run.once,
    };
    let narrow = |package: Package| {
        let narrowed = package.narrowed(&narrowing);
        narrowed.map_err(|error| {
            CliError::usage(
                format!("--scenario: the plan has no `{}`", error.name),
                error.hint,
            )
        })
    };
    let mut package = narrow(Package::read(&run.plan, &run.vars, &[]).map_err(refuse)?)?;
    let testbed = match behaviors {
        Some(behaviors) => Some(LocalTestbed::start(behaviors, run.seed).await?),
        None => None,
    };
    if let Some(testbed) = &testbed {
        let read = Package::read(&run.plan, &run.vars, &testbed.vars()).map_err(refuse);
        package = narrow(read?)?;
    }
    let result = on_mesh(&run, &package, &narrowing, scene).await;
    if let Some(testbed) = testbed
        && let Err(error) = testbed.stop().await
    {
        // The verdict stands; what went wrong afterwards is only said.
        scene.output.error(&error);
    }
    result
}

async fn on_mesh(
    run: &Run,
    package: &Package,
    narrowing: &Narrowing,
    scene: &Scene<'_>,
) -> Result<ExitCode, CliError> {
    let Some(url) = &run.coordinator else {
        let transcript = run.verbose.then(transcript);
        let agents = run.agents.unwrap_or(1);
        let mesh = LocalMesh::start(
            package.plan(),
            agents,
            transcript,
            run.allow_commands,
            scene,
        )
        .await?;
        let order = order(run, package, narrowing, Some(mesh.agents()));
        let result = on_coordinator(&mesh.url(), order, run, package, scene).await;
        if matches!(result, Err(CliError::Stopped)) {
            // Whoever leaves now does not wait for agents to say farewell.
            mesh.abandon();
            return result;
        }
        let ended = mesh.stop().await;
        return result.and_then(|code| ended.map(|()| code));
    };
    let order = order(run, package, narrowing, run.agents);
    on_coordinator(url, order, run, package, scene).await
}

fn order(run: &Run, package: &Package, narrowing: &Narrowing, agents: Option<u32>) -> Order {
    Order {
        vars: package.overrides(),
        seed: run.seed,
        agents,
        narrowing: narrowing.clone(),
    }
}

/// What runs of the plan, if not the whole, and what is not judged.
fn part(narrowing: &Narrowing, package: &Package) -> Option<String> {
    let part = narrowing.part()?;
    let judged = format::plural(
        u64::try_from(package.plan().thresholds.len()).unwrap_or(u64::MAX),
        "threshold",
        "thresholds",
    );
    Some(format!(
        "{part}; {judged} judged, those of the rest are left out"
    ))
}

/// Tells every request and reply on stderr.
fn transcript() -> Transcript {
    let output = Output::detect();
    Transcript::new(move |text| output.talk(&clean_lines(text)))
}

/// Without what would steer a terminal, and still indented.
fn clean_lines(text: &str) -> String {
    let line = |line: &str| {
        let indent = line.len() - line.trim_start_matches(' ').len();
        format!("{:indent$}{}", "", clean(line))
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

async fn on_coordinator(
    url: &url::Url,
    order: Order,
    run: &Run,
    package: &Package,
    scene: &Scene<'_>,
) -> Result<ExitCode, CliError> {
    let output = scene.output;
    let mut client = Client::connect(url).await?;
    let order_part = part(&order.narrowing, package);
    let id = submit::accepted(&mut client, package, order, output).await?;
    // Lines that are redrawn and a transcript would write over each other.
    let mut view = View::new(output, &package.plan().name, output.live() && !run.verbose);
    view.say(&format!("run {id}"));
    if let Some(part) = order_part {
        view.say(&part);
    }
    let ended = follow(
        &mut client,
        &id,
        &mut view,
        scene.shutdown,
        OnSignal::StopRun {
            within: Terms::of(package.plan()).longest_abort(),
        },
    )
    .await?;
    drop(view);
    let directory = run
        .out
        .clone()
        .unwrap_or_else(|| report_files::default_directory(&id));
    let files = report_files::fetch(&mut client, &id).await;
    sum_up(files, &id, &directory, &ended, output)?;
    if ended.exit_code == i32::from(ExitCode::NotEnoughAgents.code()) {
        output.hint(&CliError::NotEnoughAgents(String::new()));
    }
    Ok(ExitCode::from_code(ended.exit_code).unwrap_or(ExitCode::Unexpected))
}

/// Writes the report and prints its summary. A run has a verdict even if nobody can read its report: then the coordinator's
/// own word is the last line.
fn sum_up(
    files: Result<Files, CliError>,
    id: &str,
    directory: &Path,
    ended: &RunEnded,
    output: &Output,
) -> Result<(), CliError> {
    let written = files.and_then(|files| {
        let written = report_files::write(&files, directory);
        report_files::read(&files, id).map(|report| (report, written))
    });
    match written {
        Ok((report, written)) => {
            let place = written.is_ok().then_some(directory);
            report_files::print(&report, place, output)?;
            // A verdict that was reached is not lost to a full disk, but a pipeline that waits for the files must know.
            written
        }
        Err(error) => {
            output.error(&error);
            output.text(&verdict_line(ended))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_steers_no_terminal_and_stays_indented() {
        let told = clean_lines("s/0  a  → GET /\n    x: \u{1b}[2Jy\n    {}");
        assert!(!told.contains('\u{1b}'), "{told}");
        assert!(
            told.contains("\n    x: ") && told.ends_with("\n    {}"),
            "{told}"
        );
    }

    #[test]
    fn a_run_without_a_report_still_has_its_verdict() {
        let ended = RunEnded {
            verdict: "failed".into(),
            exit_code: 100,
            reasons: vec!["rows_missing: 3 rows never came".into()],
        };
        let line = "failed (exit code 100): rows_missing: 3 rows never came";
        assert_eq!(verdict_line(&ended), line);
        let directory = tempfile::tempdir().unwrap();
        let lost = CliError::Refused {
            operation: "fetch the report",
            message: "it is gone".into(),
            hint: None,
        };
        for files in [Ok(Files::new()), Err(lost)] {
            let told = sum_up(files, "r1", directory.path(), &ended, &Output::detect());
            assert!(told.is_ok(), "{told:?}");
        }
    }
}
