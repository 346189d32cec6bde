//! What may be typed: clap types, and nothing else.
//!
//! Commands and flags that this build does not run yet are here too, marked "(not yet)", so that what is known is known;
//! using one exits with 2 and says so.
use super::examples;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use url::Url;

/// Where `serve` listens, and where commands look for a coordinator, unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:7411";
/// The coordinator that commands talk to unless told otherwise.
pub const DEFAULT_COORDINATOR: &str = "http://127.0.0.1:7411";

/// Runs end-to-end and load plans against stateful streaming servers, from many agents, and gives one verdict.
#[derive(Debug, Parser)]
#[command(
    name = "testmesh",
    version,
    propagate_version = true,
    max_term_width = 110
)]
#[command(
    after_help = "Exit codes: 0 passed, 1 unexpected error, 2 usage, 10 inconclusive, 100 failed, 102 coordinator \
    unreachable, 103 not enough agents, 104 plan invalid, 105 stopped by the user before anything was proven."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a plan and prints the verdict: in this process, or on a mesh with `--coordinator`.
    #[command(after_help = examples::RUN)]
    Run(Run),
    /// Checks a plan and prints every problem with its place and the way out; starts nothing.
    #[command(after_help = examples::CHECK)]
    Check(Check),
    /// Prints the JSON Schema of plans, for editors.
    #[command(after_help = examples::SCHEMA)]
    Schema,
    /// Hands a plan to a coordinator, prints the run's id, and does not wait.
    #[command(after_help = examples::SUBMIT)]
    Submit(Submit),
    /// Serves agents and the other commands until a signal: the coordinator of a mesh.
    #[command(after_help = examples::SERVE)]
    Serve(Serve),
    /// Shows the agents of a mesh.
    #[command(subcommand)]
    Agents(Agents),
    /// Shows, follows and stops runs, and fetches their reports.
    #[command(subcommand)]
    Runs(Runs),
    /// Says what faults left behind, and how to put it right.
    #[command(subcommand)]
    Faults(Faults),
    /// Puts a mesh onto Kubernetes (not yet).
    #[command(subcommand)]
    Deploy(Deploy),
    /// Makes certificates for a mesh (not yet).
    #[command(subcommand)]
    Certs(Certs),
}

/// Where the coordinator is.
#[derive(Debug, Clone, Args)]
pub struct Mesh {
    /// The coordinator's address.
    #[arg(long, value_name = "URL", env = "TESTMESH_COORDINATOR", default_value = DEFAULT_COORDINATOR)]
    pub coordinator: Url,
}

/// How values for a plan's vars are given.
#[derive(Debug, Clone, Args)]
pub struct Vars {
    /// Sets a var of the plan; the value is YAML and must match the default's type. May be repeated.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = name_and_value)]
    #[arg(
        long_help = "Sets a var of the plan; the value is YAML and must match the default's type. May be repeated. \
        The environment variable TESTMESH_VAR_NAME does the same for the var `name`; the flag wins."
    )]
    pub var: Vec<(String, String)>,
}

/// `testmesh run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The plan.
    #[arg(value_name = "PLAN")]
    pub plan: PathBuf,
    /// Starts a stand-in Focus Server in this process, and points the plan's `focus` at it.
    #[arg(long, value_name = "BEHAVIOR,…", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    #[arg(
        long_help = "Starts a stand-in Focus Server in this process on free ports, and points the plan's `focus` at it (and \
        `job_ports`, where the plan has it). It behaves well unless told otherwise: --testbed=flip-bit,stall:2s"
    )]
    pub testbed: Option<String>,
    /// How many agents: in this process one unless told otherwise, of a mesh all that are free.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub agents: Option<u32>,
    /// Runs on this mesh instead of in this process.
    #[arg(long, value_name = "URL", env = "TESTMESH_COORDINATOR")]
    pub coordinator: Option<Url>,
    /// Runs on agents that are started for it (not yet).
    #[arg(long, value_name = "kubernetes")]
    pub on: Option<String>,
    /// Runs only this scenario, from the run's start; thresholds on others are left out.
    #[arg(long, value_name = "NAME")]
    pub scenario: Option<String>,
    /// Runs one session of each scenario; the thresholds, which are about the load, are left out.
    #[arg(long)]
    pub once: bool,
    /// Prints requests and replies to stderr, without secrets, of a stream the first messages; with --once, in this process.
    #[arg(long, requires = "once")]
    pub verbose: bool,
    /// Lets faults of the plan run commands, in this process; agents of a mesh have a flag of their own.
    #[arg(long, conflicts_with = "coordinator")]
    pub allow_commands: bool,
    /// Vars of the plan.
    #[command(flatten)]
    pub vars: Vars,
    /// Seed of every random choice; without it, the first 8 bytes of the plan's digest.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Where the report's files go.
    #[arg(
        long,
        value_name = "DIR",
        help = "Where the report's files go [default: testmesh-out/RUN_ID]"
    )]
    pub out: Option<PathBuf>,
}

/// `testmesh check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The plan.
    #[arg(value_name = "PLAN")]
    pub plan: PathBuf,
    /// Vars of the plan.
    #[command(flatten)]
    pub vars: Vars,
    /// For people, or for scripts.
    #[arg(long, value_name = "FORM", value_enum, default_value_t = Listing::Terminal)]
    pub output: Listing,
    /// Prints the schedule that the plan would run: of virtual users, their first sessions.
    #[arg(long)]
    pub schedule: bool,
    /// Agents of that schedule.
    #[arg(long, value_name = "N", requires = "schedule", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub agents: Option<u32>,
    /// Seed of that schedule; without it, the first 8 bytes of the plan's digest.
    #[arg(long, value_name = "N", requires = "schedule")]
    pub seed: Option<u64>,
}

/// `testmesh submit`.
#[derive(Debug, Args)]
pub struct Submit {
    /// The plan.
    #[arg(value_name = "PLAN")]
    pub plan: PathBuf,
    /// The mesh.
    #[command(flatten)]
    pub mesh: Mesh,
    /// How many agents; without it, all that are free.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub agents: Option<u32>,
    /// Vars of the plan.
    #[command(flatten)]
    pub vars: Vars,
    /// Seed of every random choice; without it, the first 8 bytes of the plan's digest.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// `testmesh serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Address to listen on; anything but loopback needs a network that you trust.
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_LISTEN)]
    pub listen: SocketAddr,
    /// Keeps runs over a restart, in a file or in MongoDB (not yet).
    #[arg(long, value_name = "PATH|mongodb://…")]
    pub store: Option<String>,
}

/// `testmesh agents …`.
#[derive(Debug, Subcommand)]
pub enum Agents {
    /// Lists the agents with their sites, load and clocks.
    #[command(after_help = examples::AGENTS_LIST)]
    List {
        /// The mesh.
        #[command(flatten)]
        mesh: Mesh,
        /// For people, or for scripts.
        #[arg(long, value_name = "FORM", value_enum, default_value_t = Listing::Terminal)]
        output: Listing,
    },
    /// Lets an agent finish what it does and gives it nothing new (not yet).
    Drain {
        /// The agent's id.
        #[arg(value_name = "AGENT")]
        agent: String,
        /// The mesh.
        #[command(flatten)]
        mesh: Mesh,
    },
}

/// One run of a mesh.
#[derive(Debug, Clone, Args)]
pub struct OneRun {
    /// The run's id, or `latest`.
    #[arg(value_name = "RUN")]
    pub run: String,
    /// The mesh.
    #[command(flatten)]
    pub mesh: Mesh,
}

/// `testmesh runs …`.
#[derive(Debug, Subcommand)]
pub enum Runs {
    /// Lists runs, the newest first.
    #[command(after_help = examples::RUNS_LIST)]
    List {
        /// The mesh.
        #[command(flatten)]
        mesh: Mesh,
        /// For people, or for scripts.
        #[arg(long, value_name = "FORM", value_enum, default_value_t = Listing::Terminal)]
        output: Listing,
    },
    /// Shows where one run stands.
    #[command(after_help = examples::RUNS_SHOW)]
    Show {
        /// Which run.
        #[command(flatten)]
        run: OneRun,
        /// For people, or for scripts.
        #[arg(long, value_name = "FORM", value_enum, default_value_t = Listing::Terminal)]
        output: Listing,
    },
    /// Follows a run to its end; exits as the run does. Ctrl-C ends the watching, not the run.
    #[command(after_help = examples::RUNS_WATCH)]
    Watch {
        /// Which run.
        #[command(flatten)]
        run: OneRun,
    },
    /// Stops a run: nothing new starts, and sessions in flight have their graceful stop.
    #[command(after_help = examples::RUNS_STOP)]
    Stop {
        /// Which run.
        #[command(flatten)]
        run: OneRun,
        /// Interrupts sessions in flight; cleanup still runs.
        #[arg(long)]
        abort: bool,
    },
    /// Fetches the report of a finished run.
    #[command(after_help = examples::RUNS_REPORT)]
    Report {
        /// Which run.
        #[command(flatten)]
        run: OneRun,
        /// Which form goes to stdout.
        #[arg(long, value_name = "FORM", value_enum, default_value_t = Form::Terminal)]
        output: Form,
        /// Writes all files of the report here as well.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Compares two runs (not yet).
    Compare {
        /// The run to compare with.
        #[arg(value_name = "BASE")]
        base: String,
        /// The run to judge.
        #[arg(value_name = "RUN")]
        run: String,
    },
}

/// `testmesh faults …`.
#[derive(Debug, Subcommand)]
pub enum Faults {
    /// Names every fault that a run could not revert, and how to do it by hand. Exits with 1 if there is one.
    #[command(after_help = examples::FAULTS_REVERT)]
    Revert {
        /// The run's id, or `latest`.
        #[arg(value_name = "RUN")]
        run: String,
        /// The mesh.
        #[command(flatten)]
        mesh: Mesh,
    },
}

/// `testmesh deploy …`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Deploy {
    /// Brings the cluster to the wanted state (not yet).
    Apply,
    /// Shows what is deployed (not yet).
    Status,
    /// Takes everything away (not yet).
    Delete,
}

/// `testmesh certs …`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Certs {
    /// Makes the mesh's own authority (not yet).
    Init,
    /// Makes a certificate for an agent (not yet).
    Agent,
    /// Makes a certificate for an operator (not yet).
    Operator,
}

/// Forms of listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Listing {
    /// For people.
    Terminal,
    /// For scripts.
    Json,
}

/// Forms of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// The summary, the verdict last.
    Terminal,
    /// report.json
    Json,
    /// junit.xml
    Junit,
    /// report.html
    Html,
}

/// `NAME=VALUE`, where a name is what a plan can name a var.
fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(legal) {
        return Err(format!(
            "`{name}` is no name of a var: letters, digits and `_` only"
        ));
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{Cli, Command};
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn testbed_takes_behaviors_only_behind_an_equals_sign() {
        let of = |args: &[&str]| match Cli::try_parse_from(args).unwrap().command {
            Command::Run(run) => (run.testbed, run.plan.display().to_string()),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            of(&["testmesh", "run", "p.yaml"]),
            (None, "p.yaml".to_owned())
        );
        assert_eq!(
            of(&["testmesh", "run", "--testbed", "p.yaml"]),
            (Some(String::new()), "p.yaml".to_owned())
        );
        let some = Some("flip-bit,stall:2s".to_owned());
        assert_eq!(
            of(&["testmesh", "run", "p.yaml", "--testbed=flip-bit,stall:2s"]),
            (some, "p.yaml".to_owned())
        );
    }

    #[test]
    fn vars_may_hold_equals_signs() {
        let cli =
            Cli::try_parse_from(["testmesh", "run", "p.yaml", "--var", "focus=http://h/?a=b"])
                .unwrap();
        let Command::Run(run) = cli.command else {
            panic!("not a run")
        };
        assert_eq!(
            run.vars.var,
            [("focus".to_owned(), "http://h/?a=b".to_owned())]
        );
        assert!(Cli::try_parse_from(["testmesh", "run", "p.yaml", "--var", "focus"]).is_err());
    }
}
