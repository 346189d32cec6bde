//! `testmesh run PLAN`: a run from the plan to the verdict, in this process or on a mesh, by the same path.
//!
//! In this order: the plan is checked, the testbed and the mesh start if they are to be here, the plan is submitted and
//! followed, the report is fetched, written and summed up; then mesh and testbed end.
use super::args::Run;
use super::client::{Client, Order};
use super::error::CliError;
use super::execute::Scene;
use super::follow::{OnSignal, follow};
use super::local::LocalMesh;
use super::package::Package;
use super::progress::View;
use super::testbed::LocalTestbed;
use super::{report_files, submit};
use testmesh_shared::exit_code::ExitCode;

/// Runs the command.
pub(super) async fn execute(run: Run, scene: &Scene<'_>) -> Result<ExitCode, CliError> {
    let refuse = |invalid: Box<super::package::Invalid>| invalid.refuse(scene.output);
    let behaviors = run
        .testbed
        .as_deref()
        .map(LocalTestbed::parse)
        .transpose()?;
    let mut package = Package::read(&run.plan, &run.vars, &[]).map_err(refuse)?;
    let testbed = match behaviors {
        Some(behaviors) => Some(LocalTestbed::start(behaviors, run.seed).await?),
        None => None,
    };
    if let Some(testbed) = &testbed {
        package = Package::read(&run.plan, &run.vars, &testbed.vars()).map_err(refuse)?;
    }
    let result = on_mesh(&run, &package, scene).await;
    if let Some(testbed) = testbed
        && let Err(error) = testbed.stop().await
    {
        // The verdict stands; what went wrong afterwards is only said.
        scene.output.error(&error);
    }
    result
}

async fn on_mesh(run: &Run, package: &Package, scene: &Scene<'_>) -> Result<ExitCode, CliError> {
    let Some(url) = &run.coordinator else {
        let mesh = LocalMesh::start(package.plan(), run.agents.unwrap_or(1), scene).await?;
        let result = on_coordinator(&mesh.url(), Some(mesh.agents()), run, package, scene).await;
        let ended = mesh.stop().await;
        return result.and_then(|code| ended.map(|()| code));
    };
    on_coordinator(url, run.agents, run, package, scene).await
}

async fn on_coordinator(
    url: &url::Url,
    agents: Option<u32>,
    run: &Run,
    package: &Package,
    scene: &Scene<'_>,
) -> Result<ExitCode, CliError> {
    let output = scene.output;
    let mut client = Client::connect(url).await?;
    let order = Order {
        vars: package.overrides(),
        seed: run.seed,
        agents,
    };
    let id = submit::accepted(&mut client, package, order, output).await?;
    let mut view = View::new(output, &package.plan().name);
    view.say(&format!("run {id}"));
    let ended = follow(
        &mut client,
        &id,
        &mut view,
        scene.shutdown,
        OnSignal::StopRun,
    )
    .await?;
    drop(view);
    let files = report_files::fetch(&mut client, &id).await?;
    let directory = run
        .out
        .clone()
        .unwrap_or_else(|| report_files::default_directory(&id));
    let written = report_files::write(&files, &directory);
    let report = report_files::read(&files, &id)?;
    report_files::print(
        &report,
        written.is_ok().then_some(directory.as_path()),
        output,
    )?;
    // A verdict that was reached is not lost to a full disk, but a pipeline that waits for the files must know.
    written?;
    if ended.exit_code == i32::from(ExitCode::NotEnoughAgents.code()) {
        output.hint(&CliError::NotEnoughAgents(String::new()));
    }
    Ok(ExitCode::from_code(ended.exit_code).unwrap_or(ExitCode::Unexpected))
}
