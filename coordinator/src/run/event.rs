//! What can happen to a run, and what the run then wants done: closed enums, so that nothing happens on the side.
use std::time::Duration;
use tokio::time::Instant;

/// An agent's number among the agents of one run, from 0.
pub type AgentIndex = usize;

/// How a run is to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopMode {
    /// Start nothing new; sessions in flight have their graceful stop.
    Drain,
    /// Interrupt sessions in flight now; cleanup still runs.
    Abort,
}

/// Something that happened, in the past tense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The scheduler found this many agents, and they are reserved.
    Placed {
        /// How many.
        agents: usize,
    },
    /// There are not enough agents, or too many for the plan, and waiting does not help.
    NotPlaced {
        /// The scheduler's explanation.
        message: String,
        /// Whether the plan would have to be another.
        plan_at_fault: PlanAtFault,
    },
    /// An agent told how uncertain its clock is: half of its best round trip.
    ClockHeard {
        /// Who.
        agent: AgentIndex,
        /// Half the width of the interval; none: it does not know yet.
        uncertainty: Option<Duration>,
    },
    /// An agent cannot run the plan.
    Refused {
        /// Who.
        agent: AgentIndex,
        /// Why, for people.
        reason: String,
        /// The plan itself is at fault, not the agent's surroundings.
        plan_at_fault: PlanAtFault,
    },
    /// An agent is ready to set up and to start.
    Armed {
        /// Who.
        agent: AgentIndex,
    },
    /// Setup ended.
    SetUpEnded {
        /// Who ran it.
        agent: AgentIndex,
        /// Why it failed, if it did.
        error: Option<String>,
    },
    /// An agent has no session in flight and will start none.
    Drained {
        /// Who.
        agent: AgentIndex,
        /// Its last batch.
        last_seq: u64,
    },
    /// Batches of an agent are merged without a gap.
    Merged {
        /// Whose.
        agent: AgentIndex,
        /// Up to this one.
        through: u64,
    },
    /// An agent came back on a new link: what it was told on the old one may never have arrived.
    Returned {
        /// Who.
        agent: AgentIndex,
    },
    /// An agent is given up.
    Lost {
        /// Who.
        agent: AgentIndex,
        /// Why, for people.
        why: String,
    },
    /// Teardown ended.
    TearDownEnded {
        /// Who ran it.
        agent: AgentIndex,
        /// Why it failed, if it did.
        error: Option<String>,
    },
    /// A user wants the run to end.
    StopAsked {
        /// How.
        mode: StopMode,
    },
    /// No fault is there any more, and none will be.
    FaultsClosed,
    /// A threshold that is to end the run is broken beyond doubt.
    ThresholdBroken,
    /// Time went on; see [`super::RunState::deadline`].
    Tick,
}

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanAtFault {
    /// The plan has problems: exit code 104.
    Yes,
    /// The agent lacks something.
    No,
}

/// What the run wants done, in the imperative. The driver does them in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell watchers and the log that the run is now in this state.
    Announce {
        /// The state.
        state: Lifecycle,
        /// Why, where it is not the usual way.
        reason: String,
    },
    /// Send every agent the blobs and its assignment.
    Prepare,
    /// Send this agent the blobs and its assignment again.
    PrepareAgain {
        /// Who.
        agent: AgentIndex,
    },
    /// Let this agent run the plan's setup.
    SetUp {
        /// Who.
        agent: AgentIndex,
    },
    /// Tell every agent that is not lost to start at this time.
    Start {
        /// When.
        at: Instant,
    },
    /// Tell this agent again when to start.
    StartAgain {
        /// Who.
        agent: AgentIndex,
    },
    /// Tell this agent again to stop.
    StopAgain {
        /// Who.
        agent: AgentIndex,
        /// How.
        mode: StopMode,
    },
    /// Tell every agent that has not drained to stop.
    Stop {
        /// How.
        mode: StopMode,
    },
    /// Let this agent run the plan's teardown.
    TearDown {
        /// Who.
        agent: AgentIndex,
    },
    /// Count what this agent has in flight as lost.
    WriteOff {
        /// Who.
        agent: AgentIndex,
        /// Why, for people.
        why: String,
    },
    /// Teardown failed: a finding.
    NoteTearDownFailed {
        /// Why.
        error: String,
    },
    /// Tell the agents to forget the run, and free them.
    Release,
    /// Judge, render, store.
    Seal(Ending),
}

/// The states of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lifecycle {
    /// Waits for agents.
    Queued,
    /// Agents receive and read the plan.
    Preparing,
    /// One agent runs setup.
    SettingUp,
    /// All are armed and know when to start.
    Starting,
    /// Sessions run.
    Running,
    /// No session starts any more.
    Draining,
    /// One agent runs teardown.
    TearingDown,
    /// Over, with a verdict.
    Sealed,
}

impl Lifecycle {
    /// As events and lists print it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Preparing => "preparing",
            Self::SettingUp => "setting_up",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::TearingDown => "tearing_down",
            Self::Sealed => "sealed",
        }
    }
}

/// How a run came to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// Why no session was started, if so.
    pub failure: Option<Failure>,
    /// A user stopped it.
    pub stopped: Option<StopMode>,
    /// Agents that were lost, with the reason.
    pub lost: Vec<(AgentIndex, String)>,
    /// Agents that had not drained when the run had to end.
    pub overran: Vec<AgentIndex>,
}

/// Why a run never started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The scheduler could not place it.
    NotEnoughAgents(String),
    /// An agent refused the plan.
    PlanRefused(String, PlanAtFault),
    /// Agents were not armed in time, or were lost before the start.
    StartFailed(String),
    /// Setup failed.
    SetupFailed(String),
}
