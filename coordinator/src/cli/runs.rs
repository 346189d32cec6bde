//! `testmesh runs list | show | watch | stop | report`.
use super::args::{Form, Listing, OneRun, Runs};
use super::client::Client;
use super::error::CliError;
use super::follow::follow_to_verdict;
use super::output::Output;
use super::report_files;
use crate::report::format::{self, NOTHING};
use crate::report::table::{Align, Table};
use crate::report::terminal::clean;
use serde_json::json;
use std::path::PathBuf;
use testmesh_proto::v1::{Progress, RunSummary};
use testmesh_shared::exit_code::ExitCode;
use testmesh_shared::shutdown::Shutdown;
use testmesh_shared::wire::from_proto;

/// Runs the command.
pub(super) async fn execute(
    command: Runs,
    output: &Output,
    shutdown: &Shutdown,
) -> Result<ExitCode, CliError> {
    match command {
        Runs::List {
            mesh,
            output: listing,
        } => {
            let mut runs = Client::connect(&mesh.coordinator)
                .await?
                .list_runs()
                .await?
                .runs;
            runs.sort_by_key(|run| std::cmp::Reverse(run.submitted_ns));
            list(&runs, listing, output)
        }
        Runs::Show {
            run,
            output: listing,
        } => {
            let (mut client, run) = find(&run).await?;
            show(&client.run(&run).await?, listing, output)
        }
        Runs::Watch { run } => {
            let (mut client, run) = find(&run).await?;
            let plan = client.run(&run).await?.plan;
            let ended = follow_to_verdict(&mut client, &run, &plan, output, shutdown).await?;
            Ok(ExitCode::from_code(ended.exit_code).unwrap_or(ExitCode::Unexpected))
        }
        Runs::Stop { run, abort } => {
            let (mut client, run) = find(&run).await?;
            let state = client.stop(&run, abort).await?;
            output.talk(&format!("run {run} is {}", clean(&state)));
            Ok(ExitCode::Passed)
        }
        Runs::Report {
            run,
            output: form,
            out,
        } => {
            let (mut client, run) = find(&run).await?;
            report(&mut client, &run, form, out, output).await
        }
        Runs::Compare { .. } => Err(CliError::NotYet("runs compare")),
    }
}

async fn find(one: &OneRun) -> Result<(Client, String), CliError> {
    let mut client = Client::connect(&one.mesh.coordinator).await?;
    let run = client.resolve(&one.run).await?;
    Ok((client, run))
}

/// A time of the coordinator's clock; 0 stands for one that has not come.
fn time(nanoseconds: i64) -> Option<jiff::Timestamp> {
    (nanoseconds > 0)
        .then(|| jiff::Timestamp::from_nanosecond(nanoseconds.into()).ok())
        .flatten()
}

fn list(runs: &[RunSummary], listing: Listing, output: &Output) -> Result<ExitCode, CliError> {
    if listing == Listing::Json {
        output.json(&json!({ "runs": runs.iter().map(as_json).collect::<Vec<_>>() }))?;
        return Ok(ExitCode::Passed);
    }
    if runs.is_empty() {
        output.talk("no runs; `testmesh submit PLAN` starts one");
        return Ok(ExitCode::Passed);
    }
    let columns = ["run", "plan", "state", "verdict", "submitted"].map(|name| (name, Align::Left));
    let mut table = Table::new(&columns);
    table.column("agents", Align::Right);
    for run in runs {
        let submitted = time(run.submitted_ns).map_or_else(
            || NOTHING.to_owned(),
            |at| at.strftime("%F %T UTC").to_string(),
        );
        let verdict = if run.verdict.is_empty() {
            NOTHING.to_owned()
        } else {
            clean(&run.verdict)
        };
        table.row(vec![
            clean(&run.run),
            format::shorten(&named(run), 40),
            clean(&run.state),
            verdict,
            submitted,
            format::count(run.agents.into()),
        ]);
    }
    output.text(&table.render(0))?;
    Ok(ExitCode::Passed)
}

/// The plan, and which part of it.
fn named(run: &RunSummary) -> String {
    let plan = clean(&run.plan);
    match &run.part {
        None => plan,
        Some(part) => format!(
            "{plan} ({})",
            clean(&from_proto::narrowing(Some(part)).to_string())
        ),
    }
}

fn show(run: &RunSummary, listing: Listing, output: &Output) -> Result<ExitCode, CliError> {
    if listing == Listing::Json {
        output.json(&as_json(run))?;
        return Ok(ExitCode::Passed);
    }
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]);
    let mut row = |name: &str, value: String| table.row(vec![name.to_owned(), value]);
    row("run", clean(&run.run));
    row("plan", named(run));
    row("state", clean(&run.state));
    for (name, at) in [
        ("submitted", run.submitted_ns),
        ("started", run.started_ns),
        ("ended", run.ended_ns),
    ] {
        row(
            name,
            time(at).map_or_else(
                || NOTHING.to_owned(),
                |at| at.strftime("%F %T UTC").to_string(),
            ),
        );
    }
    row("agents", format::count(run.agents.into()));
    if let Some(progress) = &run.progress {
        for one in &progress.scenarios {
            row(
                &clean(&one.scenario),
                format!(
                    "{} active, {} started, {} passed, {} failed",
                    one.active, one.started, one.passed, one.failed
                ),
            );
        }
        row(
            "rows",
            format!(
                "{} checked, {} bad",
                format::count(progress.rows),
                format::count(progress.rows_bad)
            ),
        );
    }
    if !run.verdict.is_empty() {
        row(
            "verdict",
            format!("{} (exit code {})", clean(&run.verdict), run.exit_code),
        );
        for reason in &run.reasons {
            row("", clean(reason));
        }
    }
    output.text(&table.render(0))?;
    Ok(ExitCode::Passed)
}

async fn report(
    client: &mut Client,
    run: &str,
    form: Form,
    out: Option<PathBuf>,
    output: &Output,
) -> Result<ExitCode, CliError> {
    let files = report_files::fetch(client, run).await?;
    if let Some(directory) = &out {
        report_files::write(&files, directory)?;
    }
    let file = |name: &str| files.get(name).map(Vec::as_slice).unwrap_or_default();
    match form {
        Form::Terminal => {
            report_files::print(&report_files::read(&files, run)?, out.as_deref(), output)?
        }
        Form::Json => output.data(file("report.json"))?,
        Form::Junit => output.data(file("junit.xml"))?,
        Form::Html => output.data(file("report.html"))?,
    }
    Ok(ExitCode::Passed)
}

fn as_json(run: &RunSummary) -> serde_json::Value {
    let at = |nanoseconds| time(nanoseconds).map(|at| at.to_string());
    let progress = |progress: &Progress| {
        let scenarios = progress.scenarios.iter().map(|one| {
            json!({
                "name": one.scenario, "planned": one.planned, "started": one.started,
                "active": one.active, "passed": one.passed, "failed": one.failed,
            })
        });
        json!({
            "elapsed": progress.elapsed_s, "planned": progress.planned_s,
            "streams_open": progress.streams_open, "rows": progress.rows, "rows_bad": progress.rows_bad,
            "agents_alive": progress.agents_alive, "agents": progress.agents,
            "scenarios": scenarios.collect::<Vec<_>>(),
        })
    };
    let ended = !run.verdict.is_empty();
    json!({
        "id": run.run,
        "plan": run.plan,
        "part": run.part.as_ref().map(|part| from_proto::narrowing(Some(part))),
        "state": run.state,
        "submitted_at": at(run.submitted_ns),
        "started_at": at(run.started_ns),
        "ended_at": at(run.ended_ns),
        "agents": run.agents,
        "verdict": ended.then_some(&run.verdict),
        "exit_code": ended.then_some(run.exit_code),
        "reasons": run.reasons,
        "progress": run.progress.as_ref().map(progress),
    })
}
