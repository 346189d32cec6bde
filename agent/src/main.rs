//! `testmesh-agent`: an agent as a process of its own.
//!
//! Parses, initialises, runs, and turns errors into exit codes. The first SIGINT or SIGTERM drains, the second aborts.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::process;
use std::time::Duration;

use clap::Parser;
use testmesh_agent::config::default_runtimes;
use testmesh_agent::fault::proxy::{self, ProxyProgram};
use testmesh_agent::{Agent, AgentError, Config, limits};
use testmesh_shared::error::Chain;
use testmesh_shared::exit_code::ExitCode;
use testmesh_shared::id::{AgentId, Site};
use testmesh_shared::shutdown::{Shutdown, Tasks};
use testmesh_shared::telemetry::{self, LogFormat, LogLevel};
use url::Url;

/// Runs a share of a plan's sessions close to the server under test.
#[derive(Debug, Parser)]
#[command(name = "testmesh-agent", version, max_term_width = 100)]
struct Args {
    /// Where the coordinator listens.
    #[arg(
        long,
        value_name = "URL",
        env = "TESTMESH_COORDINATOR",
        hide_env_values = true
    )]
    coordinator: Url,
    /// Where this agent runs; latency is compared between sites.
    #[arg(
        long,
        value_name = "NAME",
        env = "TESTMESH_SITE",
        hide_env_values = true,
        default_value = "local"
    )]
    site: Site,
    /// This agent's name, unique in the mesh. Default: the site, the host's name and the process id.
    #[arg(
        long,
        value_name = "NAME",
        env = "TESTMESH_AGENT_ID",
        hide_env_values = true
    )]
    id: Option<AgentId>,
    /// A label for placement; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
    labels: Vec<(String, String)>,
    /// Worker threads. Default: one per core.
    #[arg(long, value_name = "N")]
    runtimes: Option<NonZeroUsize>,
    /// Give up if no coordinator has answered for so many seconds. Default: try for ever.
    #[arg(long, value_name = "SECONDS")]
    give_up: Option<u64>,
    /// Log lines as JSON.
    #[arg(long)]
    log_json: bool,
    /// Targets that plans may reach from here.
    #[arg(long, value_name = "PATTERN")]
    allow_target: Vec<String>,
    /// Let faults of plans run commands here.
    #[arg(long)]
    allow_commands: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("a label has the form KEY=VALUE")?;
    if key.is_empty() {
        return Err("a label has the form KEY=VALUE".into());
    }
    Ok((key.into(), value.into()))
}

fn main() -> process::ExitCode {
    // One provider for all TLS of this process; a second call would fail, and there is none.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if proxy::asked_for(std::env::args_os()) {
        return proxy::main().code().into();
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // A reader that closed our output needs no message.
            let _ = error.print();
            let code = if error.use_stderr() {
                ExitCode::Usage
            } else {
                ExitCode::Passed
            };
            return code.code().into();
        }
    };
    let code = match run(args) {
        Ok(()) => ExitCode::Passed,
        Err(Failed {
            message,
            hint,
            code,
        }) => {
            let mut stderr = std::io::stderr().lock();
            let _ = writeln!(stderr, "error: {message}");
            if let Some(hint) = hint {
                let _ = writeln!(stderr, "hint: {hint}");
            }
            code
        }
    };
    code.code().into()
}

/// Why the process fails, for its last words.
struct Failed {
    message: String,
    hint: Option<&'static str>,
    code: ExitCode,
}

impl Failed {
    fn unexpected(error: &(dyn std::error::Error + 'static)) -> Self {
        Self {
            message: Chain(error).to_string(),
            hint: None,
            code: ExitCode::Unexpected,
        }
    }
}

impl From<AgentError> for Failed {
    fn from(error: AgentError) -> Self {
        let (code, hint) = match &error {
            AgentError::Config(_) => (ExitCode::Usage, None),
            AgentError::Link(_) => (
                ExitCode::CoordinatorUnreachable,
                Some("start one with `testmesh serve`, or check --coordinator"),
            ),
            AgentError::Workers(_) | AgentError::Panicked(_) => (ExitCode::Unexpected, None),
        };
        Self {
            message: Chain(&error).to_string(),
            hint,
            code,
        }
    }
}

fn run(args: Args) -> Result<(), Failed> {
    if !args.allow_target.is_empty() {
        return Err(Failed {
            message: "--allow-target is not yet supported by this build".into(),
            hint: Some("leave it out: plans can reach every target"),
            code: ExitCode::Usage,
        });
    }
    let log_format = if args.log_json {
        LogFormat::Json
    } else {
        LogFormat::Text
    };
    let config = config(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failed::unexpected(&error))?;
    runtime.block_on(serve(config, log_format))
}

async fn serve(config: Config, format: LogFormat) -> Result<(), Failed> {
    let shutdown = Shutdown::new();
    let tasks = Tasks::new(shutdown.clone());
    let settings = telemetry::Config {
        service: "testmesh-agent".into(),
        guests: Vec::new(),
        format,
        level: LogLevel::Info,
    };
    let telemetry = telemetry::init(&settings, &tasks).map_err(|error| Failed {
        code: ExitCode::Usage,
        ..Failed::unexpected(&error)
    })?;
    shutdown
        .listen(&tasks)
        .map_err(|error| Failed::unexpected(&error))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        protocol = testmesh_proto::PROTOCOL,
        coordinator = %config.coordinator,
        id = %config.id,
        site = %config.site,
        labels = ?config.labels,
        runtimes = config.runtimes,
        traces = telemetry.sink().is_some(),
        "testmesh-agent"
    );
    let agent = Agent::new(config, telemetry.sink().cloned())?;
    let result = agent.run(shutdown).await;
    telemetry.shutdown(limits::TRACES_FLUSH).await;
    Ok(result?)
}

fn config(args: Args) -> Result<Config, Failed> {
    let id = match args.id {
        Some(id) => id,
        None => default_id(&args.site)?,
    };
    let mut config = Config::new(args.coordinator, id, args.site, 1);
    config.labels = args.labels.into_iter().collect::<BTreeMap<_, _>>();
    config.runtimes = args.runtimes.unwrap_or_else(|| default_runtimes(1));
    config.allow_commands = args.allow_commands;
    config.proxy_program = ProxyProgram::Child(own_program()?);
    config.give_up = args.give_up.map(Duration::from_secs);
    config
        .validate()
        .map_err(|error| AgentError::Config(error).into())
        .map(|()| config)
}

/// This program, which is also the one that runs proxies.
fn own_program() -> Result<std::path::PathBuf, Failed> {
    std::env::current_exe().map_err(|error| Failed::unexpected(&error))
}

/// Unique enough: two processes of one host have different ids.
fn default_id(site: &Site) -> Result<AgentId, Failed> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host
        .trim()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(24)
        .collect();
    let host = if host.is_empty() {
        "host".to_owned()
    } else {
        host
    };
    let place: String = site.as_str().chars().take(24).collect();
    let name = format!("{place}-{host}-{}", process::id());
    name.parse().map_err(|error| Failed {
        message: format!("no name could be made for this agent: {error}"),
        hint: Some("give it one with --id"),
        code: ExitCode::Usage,
    })
}
