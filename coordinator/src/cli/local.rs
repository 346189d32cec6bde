//! The mesh of `testmesh run` without `--coordinator`: a coordinator and agents in this process, over the real protocol on
//! loopback.
//!
//! It does not end by signals: the run is stopped through the coordinator, as on any mesh, and the mesh ends after it.
use super::error::CliError;
use super::execute::Scene;
use super::sites;
use crate::app::{Config, Coordinator};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use testmesh_agent::fault::proxy::ProxyProgram;
use testmesh_agent::{Agent, Config as AgentConfig, Transcript};
use testmesh_shared::error::Chain;
use testmesh_shared::id::{AgentId, Site};
use testmesh_shared::plan::Plan;
use testmesh_shared::shutdown::{Shutdown, Tasks};
use url::Url;

/// The name that spans of agents carry.
pub(super) const AGENT_SERVICE: &str = "testmesh-agent";

/// At the end: time for agents to say farewell, and for the coordinator after them.
const LEAVE: Duration = Duration::from_secs(10);

/// A running local mesh.
pub(super) struct LocalMesh {
    url: Url,
    agents: u32,
    agents_shutdown: Shutdown,
    coordinator_shutdown: Shutdown,
    agent_tasks: Tasks,
    coordinator_tasks: Tasks,
}

impl LocalMesh {
    /// Starts a coordinator on a free loopback port, and so many agents; the transcript hears what their sessions say.
    ///
    /// # Errors
    /// If there are fewer agents than the plan needs, or the coordinator cannot listen.
    pub(super) async fn start(
        plan: &Plan,
        agents: u32,
        transcript: Option<Transcript>,
        allow_commands: bool,
        scene: &Scene<'_>,
    ) -> Result<Self, CliError> {
        let sites = sites::assign(plan, agents)?;
        let coordinator_shutdown = Shutdown::new();
        let coordinator_tasks = Tasks::new(coordinator_shutdown.clone());
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let coordinator = Coordinator::bind(Config::local(listen))
            .await
            .map_err(|error| CliError::Serve {
                operation: "start the coordinator".to_owned(),
                source: error.into(),
            })?;
        let address = coordinator.address();
        let url =
            Url::parse(&format!("http://{address}")).expect("an address is the host of a URL");
        let ending = coordinator_shutdown.clone();
        coordinator_tasks.spawn("coordinator", async move {
            if let Err(error) = coordinator.run(ending).await {
                tracing::error!(error = %Chain(&error), "the coordinator ended");
            }
        });
        let agents_shutdown = Shutdown::new();
        let agent_tasks = Tasks::new(agents_shutdown.clone());
        let mesh = Self {
            url,
            agents,
            agents_shutdown,
            coordinator_shutdown,
            agent_tasks,
            coordinator_tasks,
        };
        mesh.start_agents(sites, transcript.as_ref(), allow_commands, scene)?;
        Ok(mesh)
    }

    fn start_agents(
        &self,
        sites: Vec<String>,
        transcript: Option<&Transcript>,
        allow_commands: bool,
        scene: &Scene<'_>,
    ) -> Result<(), CliError> {
        let in_process = sites.len();
        let program = std::env::current_exe().map_err(|source| CliError::Serve {
            operation: "find this program, which also runs proxies".to_owned(),
            source: source.into(),
        })?;
        for (index, site) in sites.into_iter().enumerate() {
            let failed = |source: Box<dyn std::error::Error + Send + Sync>| CliError::Serve {
                operation: format!("start agent {} at {site}", index + 1),
                source,
            };
            let id: AgentId = format!("local-{}", index + 1)
                .parse()
                .expect("the name is short and plain");
            let at: Site = site
                .parse()
                .map_err(|error: testmesh_shared::id::IdError| failed(error.into()))?;
            let config = AgentConfig {
                transcript: transcript.cloned(),
                allow_commands,
                proxy_program: ProxyProgram::Child(program.clone()),
                ..AgentConfig::new(self.url.clone(), id.clone(), at, in_process)
            };
            let agent = Agent::new(config, scene.telemetry.sink_of(AGENT_SERVICE).cloned())
                .map_err(|error| failed(error.into()))?;
            let shutdown = self.agents_shutdown.clone();
            self.agent_tasks.spawn("agent", async move {
                if let Err(error) = agent.run(shutdown).await {
                    tracing::error!(agent = %id, error = %Chain(&error), "the agent ended");
                }
            });
        }
        Ok(())
    }

    /// Where its coordinator listens.
    pub(super) fn url(&self) -> Url {
        self.url.clone()
    }

    /// How many agents it has.
    pub(super) fn agents(&self) -> u32 {
        self.agents
    }

    /// Ends everything at once, and waits for nothing.
    pub(super) fn abandon(self) {
        self.agents_shutdown.abort();
        self.coordinator_shutdown.abort();
    }

    /// Lets the agents leave, then ends the coordinator.
    ///
    /// # Errors
    /// [`CliError::Panicked`] if a task of the mesh panicked: nothing that was measured can be vouched for.
    pub(super) async fn stop(self) -> Result<(), CliError> {
        for (shutdown, tasks) in [
            (&self.agents_shutdown, &self.agent_tasks),
            (&self.coordinator_shutdown, &self.coordinator_tasks),
        ] {
            shutdown.drain();
            if let Err(unfinished) = tasks.join(LEAVE).await {
                tracing::warn!(%unfinished, "left behind");
                shutdown.abort();
            }
        }
        let panicked = self
            .agent_tasks
            .panicked()
            .or_else(|| self.coordinator_tasks.panicked());
        panicked.map_or(Ok(()), |panicked| {
            Err(CliError::Panicked(panicked.to_string()))
        })
    }
}
