//! What a run is asked to do, and what lists show of it.
use super::event::{Lifecycle, PlanAtFault};
use super::log::{EventLog, Progress};
use super::state::Terms;
use crate::verdict::VerdictKind;
use std::sync::Arc;
use std::time::Duration;
use testmesh_shared::digest::Digest;
use testmesh_shared::id::RunId;
use testmesh_shared::load::Part;
use testmesh_shared::plan::{Narrowing, Plan, Stage};
use testmesh_shared::telemetry::Traceparent;
use tokio::sync::{mpsc, watch};

/// A plan that was loaded and checked, and how to run it.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The run's id.
    pub id: RunId,
    /// The plan.
    pub plan: Arc<Plan>,
    /// Overrides of the plan's vars, as they came: a JSON object.
    pub vars: String,
    /// Which part of the plan this is.
    pub narrowing: Narrowing,
    /// The seed of every random choice.
    pub seed: u64,
    /// Use so many agents; 0: all.
    pub agents: u32,
    /// The span of whoever submitted it.
    pub parent: Option<Traceparent>,
}

impl Submission {
    /// Digest of the plan's text, which is the name of its blob.
    pub fn text_digest(&self) -> Digest {
        Digest::of(self.plan.source.as_bytes())
    }

    /// What of the plan decides over the life of the run.
    pub fn terms(&self) -> Terms {
        Terms::of(&self.plan)
    }

    /// How many sessions the plan asks of each scenario, where it names a number.
    pub fn planned(&self, agents: usize) -> Vec<(String, Option<u64>)> {
        let agents = u32::try_from(agents).unwrap_or(u32::MAX).max(1);
        let scenarios = self.plan.scenarios.iter().map(|scenario| {
            let whole = Part::whole(agents, self.seed, &scenario.name);
            (scenario.name.clone(), scenario.load.planned(&whole))
        });
        scenarios.collect()
    }
}

impl Terms {
    /// Reads them from a plan.
    pub fn of(plan: &Plan) -> Self {
        let ends = plan.scenarios.iter().map(|scenario| plan.ends(scenario));
        let wind_down = plan.scenarios.iter().map(|scenario| {
            let cleanup: Duration = scenario.cleanup.iter().map(longest).sum();
            scenario.graceful_stop + cleanup
        });
        Self {
            has_setup: !plan.setup.is_empty(),
            has_teardown: !plan.teardown.is_empty(),
            // One scenario without an end leaves the run without one.
            planned: ends
                .collect::<Option<Vec<_>>>()
                .and_then(|ends| ends.into_iter().max()),
            wind_down: wind_down.max().unwrap_or_default(),
            faults: crate::fault::longest_revert(plan),
        }
    }
}

/// How long a stage of a cleanup can take. One without a time-out has the defaults of streams, and a minute is enough
/// to be told that it hangs.
fn longest(stage: &Stage) -> Duration {
    stage.timeout.unwrap_or(Duration::from_secs(60))
}

/// What lists show of a run.
#[derive(Clone, Debug)]
pub struct RunOverview {
    /// Its id.
    pub id: RunId,
    /// The plan's name.
    pub plan: String,
    /// Which part of it, if not the whole.
    pub part: Option<Narrowing>,
    /// Where it is.
    pub state: Lifecycle,
    /// Coordinator time in nanoseconds since the Unix epoch.
    pub submitted_ns: i64,
    /// The same; 0: not yet.
    pub started_ns: i64,
    /// The same; 0: not yet.
    pub ended_ns: i64,
    /// Agents of the run.
    pub agents: u32,
    /// Its verdict, once it is sealed.
    pub verdict: Option<VerdictKind>,
    /// The exit code, once it is sealed.
    pub exit_code: i32,
    /// The reasons, as `code: message`.
    pub reasons: Vec<String>,
    /// How far it is.
    pub progress: Option<Arc<Progress>>,
}

impl RunOverview {
    /// A run that was just submitted.
    pub fn queued(submission: &Submission, submitted_ns: i64) -> Self {
        Self {
            id: submission.id.clone(),
            plan: submission.plan.name.clone(),
            part: submission.narrowing.part().cloned(),
            state: Lifecycle::Queued,
            submitted_ns,
            started_ns: 0,
            ended_ns: 0,
            agents: 0,
            verdict: None,
            exit_code: 0,
            reasons: Vec::new(),
            progress: None,
        }
    }
}

/// What may be asked of a run.
#[derive(Debug)]
pub enum RunCommand {
    /// It has agents.
    Placed(Box<crate::registry::Reservation>),
    /// It will never have agents.
    NotPlaced(String, PlanAtFault),
    /// A user wants it to end.
    Stop(super::event::StopMode),
}

/// How others see and steer a run that is not sealed.
#[derive(Clone, Debug)]
pub struct RunHandle {
    pub(super) commands: mpsc::Sender<RunCommand>,
    pub(super) overview: watch::Receiver<RunOverview>,
    pub(super) log: EventLog,
}

impl RunHandle {
    /// What lists show.
    pub fn overview(&self) -> RunOverview {
        let mut overview = self.overview.borrow().clone();
        overview.progress = self.log.latest_progress();
        overview
    }

    /// Its events.
    pub fn log(&self) -> EventLog {
        self.log.clone()
    }

    /// Asks it to end. A run that is over does not mind.
    pub async fn stop(&self, mode: super::event::StopMode) {
        let _ = self.commands.send(RunCommand::Stop(mode)).await;
    }
}
