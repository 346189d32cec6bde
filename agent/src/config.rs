//! What an agent is told by whoever starts it: a command line, or `testmesh run` in its own process.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use testmesh_shared::id::{AgentId, Site};
use thiserror::Error;
use url::Url;

use crate::fault::proxy::ProxyProgram;
use crate::limits;
use crate::runner::Transcript;

/// Everything an agent needs to know before it dials in.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the coordinator listens.
    pub coordinator: Url,
    /// This agent's name, unique in the mesh.
    pub id: AgentId,
    /// Where it runs.
    pub site: Site,
    /// Labels for placement.
    pub labels: BTreeMap<String, String>,
    /// Worker threads, each with its own single-threaded runtime.
    pub runtimes: NonZeroUsize,
    /// Sessions that may be in flight at once; none: no stated limit.
    pub sessions: Option<u64>,
    /// Give up, with an error, if no coordinator has welcomed this agent for so long. None: try for ever.
    pub give_up: Option<Duration>,
    /// Values of secrets that are not read from the environment; `testmesh run` hands its own over.
    pub secrets: BTreeMap<String, String>,
    /// Hears every request and reply.
    pub transcript: Option<Transcript>,
    /// Whether plans may run commands here.
    pub allow_commands: bool,
    /// What runs the proxies of plans.
    pub proxy_program: ProxyProgram,
    /// How many agents share this process. More than one: CPU and memory are those of the process.
    pub agents_in_process: usize,
}

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The scheme decides on TLS, which is not built yet.
    #[error(
        "coordinator address `{url}` must begin with http://; TLS between agent and coordinator is not yet supported"
    )]
    Scheme {
        /// As given.
        url: Url,
    },
    /// Nobody to dial.
    #[error("coordinator address `{url}` names no host")]
    Host {
        /// As given.
        url: Url,
    },
    /// More threads than make sense.
    #[error(
        "{given} runtimes are more than an agent may have ({})",
        limits::RUNTIMES
    )]
    Runtimes {
        /// As given.
        given: usize,
    },
}

impl Config {
    /// An agent with default settings, for a process that runs so many of them.
    pub fn new(coordinator: Url, id: AgentId, site: Site, agents_in_process: usize) -> Self {
        Self {
            coordinator,
            id,
            site,
            labels: BTreeMap::new(),
            runtimes: default_runtimes(agents_in_process),
            sessions: None,
            give_up: None,
            secrets: BTreeMap::new(),
            transcript: None,
            allow_commands: false,
            proxy_program: ProxyProgram::Here,
            agents_in_process: agents_in_process.max(1),
        }
    }

    /// Checks what a type cannot say.
    ///
    /// # Errors
    ///
    /// A coordinator address that cannot be dialled, or too many runtimes.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.coordinator.scheme() != "http" {
            return Err(ConfigError::Scheme {
                url: self.coordinator.clone(),
            });
        }
        if self.coordinator.host_str().is_none_or(str::is_empty) {
            return Err(ConfigError::Host {
                url: self.coordinator.clone(),
            });
        }
        if self.runtimes.get() > limits::RUNTIMES {
            return Err(ConfigError::Runtimes {
                given: self.runtimes.get(),
            });
        }
        Ok(())
    }
}

/// The cores of the process (its CPU quota included), divided among its agents, at least one each.
pub fn default_runtimes(agents_in_process: usize) -> NonZeroUsize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = (cores / agents_in_process.max(1)).clamp(1, limits::RUNTIMES);
    NonZeroUsize::new(share).expect("clamped to at least one")
}
