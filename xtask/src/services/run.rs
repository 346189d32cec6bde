//! Which services there are, how they are started for a test run, and how a developer keeps them up.

#![expect(
    clippy::disallowed_methods,
    reason = "this program has no runtime, and no clock that a test could pause"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::mongodb::MONGODB;
use super::rabbitmq::RABBITMQ;
use super::running::Running;
use crate::process::{in_ci, say};
use crate::workspace::Workspace;

/// Every service.
pub static SERVICES: [&Service; 2] = [&MONGODB, &RABBITMQ];

/// A server that is kept up while tests run.
#[derive(Debug)]
pub struct Service {
    /// As people call it.
    pub name: &'static str,
    /// The variable that names its program to tests which end a server of their own; set by a user, it is what is started.
    pub program: &'static str,
    /// The variables that say where it is; if a user sets the first, nothing is started.
    pub addresses: &'static [&'static str],
    /// Finds or installs the program.
    pub(super) find: fn(&Workspace) -> Result<PathBuf>,
    /// Starts it with everything it writes in a folder, and waits until it answers.
    pub(super) start: fn(&Path, &Path) -> Result<Started>,
}

/// A service that answers, until it is dropped.
#[derive(Debug)]
pub struct Started {
    /// Its processes, in the order in which they end.
    pub(super) processes: Vec<Running>,
    /// The values of [`Service::addresses`].
    pub(super) addresses: Vec<String>,
}

/// Services that were started or found, with the variables that say where they are.
#[derive(Debug, Default)]
pub struct Services {
    variables: Vec<(&'static str, String)>,
    running: Vec<Running>,
}

impl Services {
    /// Starts every service that the environment does not name.
    ///
    /// # Errors
    ///
    /// In continuous integration, fails when one cannot be had; elsewhere says what will not be tested.
    pub fn start(workspace: &Workspace) -> Result<Self> {
        let mut services = Self::default();
        for service in SERVICES {
            let first = service.addresses.first();
            if first.is_some_and(|name| std::env::var_os(name).is_some()) {
                continue;
            }
            match services.add(service, workspace) {
                Ok(()) => {}
                Err(error) if in_ci() => {
                    return Err(error.context(format!("cannot test with {}", service.name)));
                }
                Err(error) => say(&format!(
                    "note: tests with {} will not be run: {error:#}",
                    service.name
                )),
            }
        }
        Ok(services)
    }

    fn add(&mut self, service: &Service, workspace: &Workspace) -> Result<()> {
        let program = match std::env::var_os(service.program) {
            Some(program) => PathBuf::from(program),
            None => (service.find)(workspace)?,
        };
        let folder = workspace.servers().join("run").join(format!(
            "{}-{}",
            service.name,
            std::process::id()
        ));
        let _absent = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("failed to create `{}`", folder.display()))?;
        let started = (service.start)(&program, &folder)?;
        self.variables
            .push((service.program, program.display().to_string()));
        let names = service.addresses.iter().copied();
        self.variables.extend(names.zip(started.addresses));
        self.running.extend(started.processes);
        Ok(())
    }

    /// Tells a program where the services are.
    pub fn name_to(&self, command: &mut Command) {
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }

    /// The same as lines for a shell.
    fn exports(&self) -> String {
        let lines = self
            .variables
            .iter()
            .map(|(name, value)| format!("export {name}='{value}'\n"));
        lines.collect()
    }
}

/// Keeps every service up until this program is ended, and says how to use them.
///
/// # Errors
///
/// Fails when a service cannot be had, or ends.
pub fn keep(workspace: &Workspace, more: &[(&'static str, PathBuf)]) -> Result<()> {
    let mut services = Services::start(workspace)?;
    let programs = more
        .iter()
        .map(|(name, path)| (*name, path.display().to_string()));
    services.variables.extend(programs);
    let file = workspace.servers().join("env");
    std::fs::write(&file, services.exports())
        .with_context(|| format!("failed to write `{}`", file.display()))?;
    say(&services.exports());
    say(&format!(
        "`source {}` in another shell, then run tests and plans there; Ctrl-C here ends the services",
        file.display()
    ));
    loop {
        for running in &mut services.running {
            running.still_runs()?;
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
}
