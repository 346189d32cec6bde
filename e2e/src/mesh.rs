//! A mesh of real processes, and runs on it.

use std::{ffi::OsStr, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Process, binary};

/// How long a run of a test may take; each is a matter of seconds when the machine is quiet.
const RUN_WITHIN: Duration = Duration::from_secs(240);

/// One call of `testmesh`.
#[derive(Clone, Default)]
pub struct Cli {
    args: Vec<String>,
    env: Vec<(String, String)>,
}

/// What a finished run left.
pub struct Outcome {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed for programs and people to keep.
    pub stdout: String,
    /// What it said on the way.
    pub stderr: String,
    /// `report.json`, or null if there is none.
    pub report: Value,
    /// The folder of the report's files, kept as long as this.
    pub out: TempDir,
}

impl Cli {
    /// `testmesh` without arguments.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `testmesh run PLAN`.
    #[must_use]
    pub fn run(plan: &Path) -> Self {
        Self::new().arg("run").arg(plan)
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        let arg = arg.as_ref().to_str().expect("arguments of tests are UTF-8");
        self.args.push(arg.to_owned());
        self
    }

    /// Adds a testbed in the same process, with these behaviors, separated by commas; empty: a healthy one.
    #[must_use]
    pub fn testbed(self, behaviors: &str) -> Self {
        if behaviors.is_empty() {
            self.arg("--testbed")
        } else {
            self.arg(format!("--testbed={behaviors}"))
        }
    }

    /// Adds `--var NAME=VALUE`.
    #[must_use]
    pub fn var(self, name: &str, value: &str) -> Self {
        self.arg("--var").arg(format!("{name}={value}"))
    }

    /// Adds a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it, with the report's folder given by `out`.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(&self, out: Option<&Path>) -> Result<Process> {
        let mut args = self.args.clone();
        if let Some(out) = out {
            let out = out
                .to_str()
                .context("a temporary folder has a UTF-8 path")?;
            args.extend(["--out".to_owned(), out.to_owned()]);
        }
        Process::start(&binary("testmesh"), &args, &self.env)
    }

    /// Runs it to its end and reads its report.
    ///
    /// # Errors
    ///
    /// If it does not start, does not end, or leaves a report that is not JSON.
    pub async fn finish(&self) -> Result<Outcome> {
        let out = TempDir::new()?;
        let with_report = self.args.first().is_some_and(|command| command == "run");
        let process = self.start(with_report.then(|| out.path()))?;
        outcome(process, out).await
    }
}

/// Waits for a started run, and reads what it left in `out`.
///
/// # Errors
///
/// As [`Cli::finish`].
pub async fn outcome(mut process: Process, out: TempDir) -> Result<Outcome> {
    let status = process.ended(RUN_WITHIN).await?;
    let report = match fs::read(out.path().join("report.json")) {
        Ok(bytes) => serde_json::from_slice(&bytes).context("report.json is not JSON")?,
        Err(_) => Value::Null,
    };
    Ok(Outcome {
        code: status.code(),
        stdout: process.stdout(),
        stderr: process.stderr(),
        report,
        out,
    })
}

/// A coordinator, agents and a testbed, each a process of its own.
pub struct Mesh {
    coordinator: Process,
    url: String,
    agents: Vec<Process>,
    testbed: Option<(Process, String)>,
}

/// What a [`Mesh`] is made of.
#[derive(Default)]
pub struct MeshBuilder {
    sites: Vec<String>,
    testbed: Option<String>,
    env: Vec<(String, String)>,
}

impl MeshBuilder {
    /// Adds `count` agents at the site `local`.
    #[must_use]
    pub fn agents(mut self, count: usize) -> Self {
        self.sites
            .extend(std::iter::repeat_n("local".to_owned(), count));
        self
    }

    /// Adds one agent at a site.
    #[must_use]
    pub fn agent_at(mut self, site: &str) -> Self {
        self.sites.push(site.to_owned());
        self
    }

    /// Adds a testbed with these behaviors, separated by commas; empty: a healthy one.
    #[must_use]
    pub fn testbed(mut self, behaviors: &str) -> Self {
        self.testbed = Some(behaviors.to_owned());
        self
    }

    /// Adds a variable to the environment of every process.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts all processes, and returns when the coordinator knows all agents.
    ///
    /// # Errors
    ///
    /// If one of them does not come up.
    pub async fn start(self) -> Result<Mesh> {
        let args = ["serve", "--listen", "127.0.0.1:0"].map(str::to_owned);
        let mut coordinator = Process::start(&binary("testmesh"), &args, &self.env)?;
        let url = url_in(&coordinator.line_with("http://").await?)?;
        let testbed = match &self.testbed {
            Some(behaviors) => Some(start_testbed(behaviors, &self.env).await?),
            None => None,
        };
        let mut mesh = Mesh {
            coordinator,
            url,
            agents: Vec::new(),
            testbed,
        };
        for (number, site) in self.sites.iter().enumerate() {
            mesh.add_agent(&format!("agent-{number}"), site, &self.env)
                .await?;
        }
        Ok(mesh)
    }
}

async fn start_testbed(behaviors: &str, env: &[(String, String)]) -> Result<(Process, String)> {
    let mut args = ["--listen", "127.0.0.1:0", "--job-ports", "auto"]
        .map(str::to_owned)
        .to_vec();
    for behavior in behaviors.split(',').filter(|name| !name.is_empty()) {
        args.extend(["--behavior".to_owned(), behavior.to_owned()]);
    }
    let mut process = Process::start(&binary("focus-server"), &args, env)?;
    let url = url_in(&process.line_with("http://").await?)?;
    Ok((process, url))
}

/// The first URL of a line that a process said.
fn url_in(line: &str) -> Result<String> {
    let start = line.find("http://").context("the line has no URL")?;
    let rest = &line[start..];
    let end = rest.find([' ', ',', '"', ')']).unwrap_or(rest.len());
    Ok(rest[..end].trim_end_matches('/').to_owned())
}

impl Mesh {
    /// An empty mesh to add to.
    #[must_use]
    pub fn builder() -> MeshBuilder {
        MeshBuilder::default()
    }

    /// The coordinator's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The testbed's address.
    ///
    /// # Panics
    ///
    /// If the mesh was built without one.
    #[must_use]
    pub fn focus(&self) -> &str {
        &self
            .testbed
            .as_ref()
            .expect("the mesh was built with a testbed")
            .1
    }

    /// The agents' processes, in the order in which they were added.
    pub fn agents(&mut self) -> &mut Vec<Process> {
        &mut self.agents
    }

    /// The coordinator's process.
    pub fn coordinator(&mut self) -> &mut Process {
        &mut self.coordinator
    }

    /// Starts one more agent and waits until it is welcome.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub async fn add_agent(
        &mut self,
        id: &str,
        site: &str,
        env: &[(String, String)],
    ) -> Result<()> {
        let args = ["--coordinator", &self.url, "--site", site, "--id", id].map(str::to_owned);
        let mut agent = Process::start(&binary("testmesh-agent"), &args, env)?;
        agent.line_with("welcomed").await?;
        self.agents.push(agent);
        Ok(())
    }

    /// The variables with which any command speaks to this mesh, about its testbed.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut env = vec![("TESTMESH_COORDINATOR".to_owned(), self.url.clone())];
        if let Some((_, focus)) = &self.testbed {
            env.push(("TESTMESH_VAR_FOCUS".to_owned(), focus.clone()));
        }
        env
    }

    /// `testmesh run PLAN --coordinator URL`, against this mesh's testbed if it has one.
    #[must_use]
    pub fn run(&self, plan: &Path) -> Cli {
        let cli = Cli::run(plan).arg("--coordinator").arg(&self.url);
        match &self.testbed {
            Some((_, focus)) => cli.var("focus", focus),
            None => cli,
        }
    }
}
