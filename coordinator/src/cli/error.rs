//! Why a command failed: the one place where failures become exit codes and hints.
use crate::report::render::RenderError;
use std::io;
use std::path::PathBuf;
use testmesh_shared::exit_code::ExitCode;
use thiserror::Error;

/// Why a command failed.
#[derive(Debug, Error)]
pub enum CliError {
    /// This build does not run it yet.
    #[error("`{0}` is known, but this build does not run it yet")]
    NotYet(&'static str),
    /// What was typed cannot be meant.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// The way out.
        hint: Option<String>,
    },
    /// The plan has problems, which were already shown.
    #[error("{problems} in `{file}`; nothing was started")]
    PlanInvalid {
        /// The plan.
        file: String,
        /// `1 problem`, `3 problems`.
        problems: String,
    },
    /// Nobody answers at the coordinator's address.
    #[error("no coordinator answers at {url}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What was tried.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The plan cannot be shared out among so many agents.
    #[error("the plan cannot run so: {0}")]
    Unplaceable(String),
    /// The mesh is too small for the plan.
    #[error("not enough agents: {0}")]
    NotEnoughAgents(String),
    /// The coordinator refused, or broke off.
    #[error("failed to {operation}: {message}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// What the coordinator said.
        message: String,
        /// The way out, where there is one.
        hint: Option<String>,
    },
    /// The coordinator went away during a run.
    #[error("lost the coordinator while following run {run}: {message}")]
    LostCoordinator {
        /// The run.
        run: String,
        /// What was seen last.
        message: String,
    },
    /// A file could not be written.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Stdout could not be written to.
    #[error("failed to write to stdout")]
    Stdout(#[source] io::Error),
    /// What the coordinator sent is no report.
    #[error("failed to read the report of run {run}")]
    Report {
        /// The run.
        run: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A report could not be rendered again.
    #[error("failed to render the report")]
    Render(#[source] RenderError),
    /// The stand-in Focus Server did not start or end.
    #[error("failed to {operation} the testbed: {message}")]
    Testbed {
        /// start, stop
        operation: &'static str,
        /// Why.
        message: String,
    },
    /// The coordinator did not start.
    #[error("failed to {operation}")]
    Serve {
        /// What was tried.
        operation: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The user broke off.
    #[error("stopped")]
    Stopped,
    /// A defect: a task panicked.
    #[error("{0}")]
    Panicked(String),
}

impl CliError {
    /// A wrong usage with the way out.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// What the process returns.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::NotYet(_) | Self::Usage { .. } => ExitCode::Usage,
            Self::PlanInvalid { .. } => ExitCode::PlanInvalid,
            Self::Unreachable { .. } | Self::LostCoordinator { .. } => {
                ExitCode::CoordinatorUnreachable
            }
            Self::Unplaceable(_) => ExitCode::PlanInvalid,
            Self::NotEnoughAgents(_) => ExitCode::NotEnoughAgents,
            Self::Stopped => ExitCode::Stopped,
            Self::Refused { .. }
            | Self::Write { .. }
            | Self::Stdout(_)
            | Self::Report { .. }
            | Self::Render(_)
            | Self::Testbed { .. }
            | Self::Serve { .. }
            | Self::Panicked(_) => ExitCode::Unexpected,
        }
    }

    /// The way out, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotYet(_) => Some("`testmesh --help` marks what is not yet there".to_owned()),
            Self::Usage { hint, .. } | Self::Refused { hint, .. } => hint.clone(),
            Self::PlanInvalid { file, .. } => Some(format!("`testmesh check {file}` shows the problems again")),
            Self::Unreachable { .. } => Some(
                "start one with `testmesh serve`, or name another with --coordinator or TESTMESH_COORDINATOR".to_owned(),
            ),
            Self::NotEnoughAgents(_) => Some(
                "start more agents: `testmesh-agent --coordinator URL --site NAME`, or --agents N in one process".to_owned(),
            ),
            Self::LostCoordinator { run, .. } => {
                Some(format!("the run may go on: `testmesh runs watch {run}` follows it once the coordinator is back"))
            }
            Self::Panicked(_) => Some("this is a defect of testmesh: please report it with the log above".to_owned()),
            Self::Unplaceable(_)
            | Self::Write { .. }
            | Self::Stdout(_)
            | Self::Report { .. }
            | Self::Render(_)
            | Self::Testbed { .. }
            | Self::Serve { .. }
            | Self::Stopped => None,
        }
    }
}
