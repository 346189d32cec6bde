//! From the coordinator's Prepare to an assignment that is armed, or to a refusal that says everything that is wrong.
//!
//! The plan is read from its blobs exactly as the coordinator read it: same text, same files, same reader. Nothing is
//! started before all of it fits.

use std::collections::HashMap;
use std::sync::Arc;

use testmesh_proto::v1::agent_message::Kind as Outgoing;
use testmesh_proto::v1::{Prepare, Problem as WireProblem, Refused};
use testmesh_shared::clock::{OffsetEstimate, TimeAnchor};
use testmesh_shared::id::{Epoch, RunId};
use testmesh_shared::load::{Part, Slots, WorkerShare};
use testmesh_shared::plan::expr::Secrets;
use testmesh_shared::plan::{self, Files, Plan, Problem, Scenario, Source, VarOverrides};
use testmesh_shared::segment::Share;
use testmesh_shared::shutdown::Tasks;
use testmesh_shared::telemetry::SpanSink;
use testmesh_shared::wire::from_proto;
use tokio::sync::{mpsc, watch};

use super::assignment::{Assignment, Order};
use super::blobs::Blobs;
use super::context::RunFacts;
use super::scenario::Ended;
use super::worker::{WorkerRun, Workers};
use crate::config::Config;
use crate::driver::DRIVERS;
use crate::fault::{Faults, Means};
use crate::integrity::MeshClock;
use crate::integrity::Truths;
use crate::limits;
use crate::recorder::Catalog;
use crate::reporter::Reporter;
use crate::spool::Memory;

/// What all runs of an agent share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The agent's configuration.
    pub config: Arc<Config>,
    /// This start of its process.
    pub epoch: Epoch,
    /// Its clock.
    pub anchor: TimeAnchor,
    /// Its threads.
    pub workers: Arc<Workers>,
    /// To the coordinator.
    pub out: mpsc::Sender<Outgoing>,
    /// The coordinator's clock.
    pub offset: watch::Receiver<OffsetEstimate>,
    /// Where kept spans go.
    pub spans: Option<SpanSink>,
}

/// A run that is being prepared: run it once, and it becomes the assignment.
#[derive(Debug)]
pub struct Preparation {
    shared: Shared,
    prepare: Prepare,
    content: Content,
    orders: mpsc::Receiver<Order>,
    tasks: Tasks,
}

/// The blobs of one plan.
#[derive(Debug)]
struct Content {
    plan: Option<Arc<[u8]>>,
    files: HashMap<String, Option<Arc<[u8]>>>,
}

impl Files for Content {
    fn read(&self, path: &str) -> Result<Arc<[u8]>, String> {
        match self.files.get(path) {
            Some(Some(content)) => Ok(Arc::clone(content)),
            Some(None) => Err("its content did not arrive with the plan".into()),
            None => Err("it does not belong to the files that came with the plan".into()),
        }
    }
}

impl Preparation {
    /// Takes from `blobs` what the plan needs, so that others may push it out afterwards.
    pub fn new(
        shared: Shared,
        prepare: Prepare,
        blobs: &Blobs,
        orders: mpsc::Receiver<Order>,
        tasks: Tasks,
    ) -> Self {
        let files = prepare
            .files
            .iter()
            .map(|file| (file.path.clone(), blobs.content(&file.digest)));
        let content = Content {
            plan: blobs.content(&prepare.plan_digest),
            files: files.collect(),
        };
        Self {
            shared,
            prepare,
            content,
            orders,
            tasks,
        }
    }

    /// Prepares, arms, and runs until the run is released; or refuses.
    pub async fn run(self) {
        let Self {
            shared,
            prepare,
            content,
            orders,
            tasks,
        } = self;
        let run = prepare.run.clone();
        let config = Arc::clone(&shared.config);
        // Reading a plan compiles its protos and expressions: not on the thread that answers heartbeats.
        let reading = tasks.spawn_blocking("read-plan", move || {
            let read = read(&prepare, &content, &config);
            (read, prepare)
        });
        let refused = match reading.await {
            Ok((Ok(ready), prepare)) => match arm(&shared, &prepare, ready, orders, &tasks).await {
                Ok(assignment) => return assignment.run().await,
                Err(reason) => Refused {
                    run,
                    reason,
                    problems: Vec::new(),
                },
            },
            Ok((Err(refused), _)) => refused,
            Err(_) => Refused {
                run,
                reason: "reading the plan panicked".into(),
                problems: Vec::new(),
            },
        };
        tracing::warn!(
            run = refused.run,
            reason = refused.reason,
            problems = refused.problems.len(),
            "refused"
        );
        // Without a coordinator there is nobody to refuse.
        let _ = shared.out.send(Outgoing::Refused(refused)).await;
    }
}

/// A plan that can be run here.
#[derive(Debug)]
struct Ready {
    facts: Arc<RunFacts>,
    shares: Vec<Option<Share>>,
}

fn read(prepare: &Prepare, content: &Content, config: &Config) -> Result<Ready, Refused> {
    let refuse = |reason: String| Refused {
        run: prepare.run.clone(),
        reason,
        problems: Vec::new(),
    };
    let text = content
        .plan
        .as_ref()
        .ok_or_else(|| refuse("the plan's text did not arrive before Prepare".into()))?;
    let text =
        std::str::from_utf8(text).map_err(|_| refuse("the plan is not UTF-8 text".into()))?;
    let vars = overrides(&prepare.vars).map_err(refuse)?;
    let run: RunId = prepare
        .run
        .parse()
        .map_err(|error| refuse(format!("not a run's id: {error}")))?;
    let source = Source {
        name: &prepare.plan_file,
        text,
        files: content,
    };
    let (plan, _notes) = plan::load(source, &vars, DRIVERS).map_err(|problems| Refused {
        problems: problems.iter().map(wire_problem).collect(),
        ..refuse(format!("the plan has {} problems", problems.len()))
    })?;
    let narrowing = from_proto::narrowing(prepare.narrowing.as_ref());
    let plan = plan
        .narrowed(&narrowing)
        .map_err(|error| refuse(error.to_string()))?;
    let shares = shares(prepare, &plan).map_err(refuse)?;
    let secrets = secrets(&plan, config).map_err(refuse)?;
    let facts = RunFacts {
        run,
        feeds: RunFacts::feeds_of(&plan, prepare.seed),
        plan: Arc::new(plan),
        seed: prepare.seed,
        agent: config.id.clone(),
        site: config.site.clone(),
        secrets,
        transcript: config.transcript.clone(),
        truths: Truths::default(),
    };
    Ok(Ready {
        facts: Arc::new(facts),
        shares,
    })
}

/// A JSON object of names and values in YAML.
fn overrides(json: &str) -> Result<VarOverrides, String> {
    let mut overrides = VarOverrides::default();
    if json.is_empty() {
        return Ok(overrides);
    }
    let values: std::collections::BTreeMap<String, String> = serde_json::from_str(json)
        .map_err(|error| format!("the variables cannot be read: {error}"))?;
    values
        .into_iter()
        .for_each(|(name, value)| overrides.set(name, value));
    Ok(overrides)
}

/// This agent's share of each scenario, in the plan's order.
fn shares(prepare: &Prepare, plan: &Plan) -> Result<Vec<Option<Share>>, String> {
    let known = |name: &str| plan.scenarios.iter().any(|scenario| scenario.name == name);
    if let Some(unknown) = prepare.shares.iter().find(|share| !known(&share.scenario)) {
        return Err(format!(
            "a share names the scenario `{}`, which the plan does not have",
            unknown.scenario
        ));
    }
    let share = |name: &str| {
        let given = prepare.shares.iter().find(|share| share.scenario == name);
        let given = given.filter(|share| !share.offsets.is_empty());
        let share = given.map(from_proto::share);
        share
            .transpose()
            .map_err(|error| format!("the share of scenario `{name}` is none: {error}"))
    };
    plan.scenarios
        .iter()
        .map(|scenario| share(&scenario.name))
        .collect()
}

/// From the configuration, the environment (`TESTMESH_SECRET_NAME`), or a file that it names (`TESTMESH_SECRET_NAME_FILE`).
fn secrets(plan: &Plan, config: &Config) -> Result<Secrets, String> {
    let value = |name: &String| {
        if let Some(value) = config.secrets.get(name) {
            return Ok((name.clone(), value.clone()));
        }
        let variable = format!("TESTMESH_SECRET_{}", name.to_uppercase());
        if let Ok(value) = std::env::var(&variable) {
            return Ok((name.clone(), value));
        }
        match std::env::var(format!("{variable}_FILE")) {
            Ok(path) => std::fs::read_to_string(&path)
                .map(|value| {
                    (
                        name.clone(),
                        value.trim_end_matches(['\r', '\n']).to_owned(),
                    )
                })
                .map_err(|error| format!("secret `{name}` cannot be read from {path}: {error}")),
            Err(_) => Err(format!(
                "secret `{name}` is not set on agent {}: set {variable} there",
                config.id
            )),
        }
    };
    plan.secrets
        .iter()
        .map(value)
        .collect::<Result<_, _>>()
        .map(Secrets::new)
}

fn wire_problem(problem: &Problem) -> WireProblem {
    WireProblem {
        file: problem.file.clone(),
        line: problem.span.start.line,
        column: problem.span.start.column,
        code: problem.code.to_string(),
        message: problem.message.clone(),
        hint: problem.hint.clone().unwrap_or_default(),
    }
}

/// Hands the run to every worker.
async fn arm(
    shared: &Shared,
    prepare: &Prepare,
    ready: Ready,
    orders: mpsc::Receiver<Order>,
    tasks: &Tasks,
) -> Result<Assignment, String> {
    let (plan, config) = (&ready.facts.plan, &shared.config);
    // Whoever is armed has its proxies open.
    let proxies = Means::start(
        plan,
        &prepare.proxies,
        prepare.seed,
        &config.proxy_program,
        tasks,
    );
    let proxies = proxies.await.map_err(|error| error.to_string())?;
    let catalog = Arc::new(Catalog::new(limits::SERIES));
    let count = shared.workers.count();
    // Room for a few seconds of every worker's cuts.
    let (events_in, events) = mpsc::channel(count * 4);
    let ended = Arc::new(Ended::new(count, ready.shares.len()));
    let parts = parts(&ready, prepare);
    let things = Arc::default();
    let mut workers = Vec::with_capacity(count);
    for worker in 0..count {
        let (commands, taken) = mpsc::channel(limits::ORDER_QUEUE);
        let run = WorkerRun {
            facts: Arc::clone(&ready.facts),
            catalog: Arc::clone(&catalog),
            shares: turns(&parts, worker, count),
            shared: Arc::clone(&things),
            ended: Arc::clone(&ended),
            spans: shared.spans.clone(),
            traceparent: prepare.traceparent.parse().ok(),
            anchor: shared.anchor,
            clock: MeshClock::new(shared.anchor, shared.offset.clone()),
            commands: taken,
            events: events_in.clone(),
        };
        let gone = |_| format!("worker {worker} of this agent has ended");
        shared.workers.runs(worker).send(run).await.map_err(gone)?;
        workers.push(commands);
    }
    let means = Means {
        proxies,
        worker: workers[0].clone(),
        allow_commands: config.allow_commands,
    };
    let (faults, fault_says) = Faults::start(plan, means, tasks);
    let fault_names = plan.faults.iter().map(|fault| fault.name.clone()).collect();
    // Agents of one process share the sink, and one of them counts what it loses.
    let counts = shared.config.agents_in_process == 1 || prepare.agent_index == 0;
    let reporter = Reporter::new(
        ready.facts.run.clone(),
        shared.epoch,
        catalog,
        count,
        Box::new(Memory::new(limits::SPOOL_BYTES)),
        shared.spans.clone().filter(|_| counts),
    );
    Ok(Assignment {
        run: prepare.run.clone(),
        epoch: shared.epoch.get(),
        reporter,
        workers,
        events,
        faults,
        fault_says,
        fault_names,
        orders,
        out: shared.out.clone(),
        offset: shared.offset.clone(),
        anchor: shared.anchor,
    })
}

/// The agent's part of a scenario, and the places for sessions that its workers share.
type AgentShare = (Part, Arc<Slots>);

/// The agent's part of each scenario, in the plan's order; none: no part.
fn parts(ready: &Ready, prepare: &Prepare) -> Vec<Option<AgentShare>> {
    let scenarios = ready.facts.plan.scenarios.iter().zip(&ready.shares);
    let part = |(scenario, share): (&Scenario, &Option<Share>)| {
        let share = share.clone()?;
        let slots = Slots::new(&share, scenario.load.max_sessions().unwrap_or_default());
        let part = Part {
            share,
            agent: prepare.agent_index,
            agents: prepare.agent_count.max(1),
            seeds: Part::seeds(ready.facts.seed, &scenario.name),
        };
        Some((part, Arc::new(slots)))
    };
    scenarios.map(part).collect()
}

/// What one worker runs of each scenario.
fn turns(parts: &[Option<AgentShare>], worker: usize, of: usize) -> Vec<Option<WorkerShare>> {
    let turn = |(position, part): (usize, &Option<AgentShare>)| {
        let (part, slots) = part.clone()?;
        Some(WorkerShare {
            part,
            // Scenarios begin with different workers, or those with one session would all meet on the first.
            worker: (worker + position) % of,
            of,
            slots,
        })
    };
    parts.iter().enumerate().map(turn).collect()
}
