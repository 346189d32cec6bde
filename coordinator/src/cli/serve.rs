//! `testmesh serve`: the coordinator of a mesh, until a signal.
use super::args::Serve;
use super::error::CliError;
use super::execute::Scene;
use crate::app::{Config, Coordinator};
use testmesh_shared::exit_code::ExitCode;

/// Runs the command: the first signal lets runs finish, the second ends them.
pub(super) async fn execute(serve: &Serve, scene: &Scene<'_>) -> Result<ExitCode, CliError> {
    let failed = |operation: String| {
        move |error: crate::app::CoordinatorError| CliError::Serve {
            operation,
            source: error.into(),
        }
    };
    let coordinator = Coordinator::bind(Config::mesh(serve.listen))
        .await
        .map_err(failed(format!("listen on {}", serve.listen)))?;
    let address = coordinator.address();
    scene.output.talk(&format!(
        "testmesh {} listens on http://{address}",
        env!("CARGO_PKG_VERSION")
    ));
    if !address.ip().is_loopback() {
        scene.output.talk("there is no TLS yet: whoever reaches this address can run plans on every agent of the mesh");
    }
    coordinator
        .run(scene.shutdown.clone())
        .await
        .map_err(failed("serve".to_owned()))?;
    Ok(ExitCode::Passed)
}
