//! What the registry and the links say to each other of one agent.
use super::actor::MemberId;
use super::lease::Liveness;
use crate::run::{AgentIndex, Inbox};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use testmesh_proto::v1::CoordinatorMessage;
use testmesh_shared::id::{AgentId, Epoch, RunId, Site};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Who dials in, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Its id, unique in the mesh.
    pub agent: AgentId,
    /// One start of its process.
    pub epoch: Epoch,
    /// Where it runs.
    pub site: Site,
    /// What it was started with.
    pub labels: BTreeMap<String, String>,
    /// Its version.
    pub version: String,
    /// Drivers that it has.
    pub drivers: BTreeSet<String>,
    /// Runtimes that it runs sessions on.
    pub runtimes: u32,
}

/// What an agent says of itself with each heartbeat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vitals {
    /// Share of its CPU quota, 0 to 1.
    pub cpu: f64,
    /// Resident set, in bytes.
    pub memory: u64,
    /// Coordinator time minus agent time, in nanoseconds; means nothing while the uncertainty is unknown.
    pub clock_offset_ns: i64,
    /// Half the width of the offset's interval, in nanoseconds; see [`Vitals::clock`].
    pub clock_uncertainty_ns: u64,
}

impl Default for Vitals {
    /// Of an agent that has not said anything: its clock is unknown, which is not the same as perfect.
    fn default() -> Self {
        Self {
            cpu: 0.0,
            memory: 0,
            clock_offset_ns: 0,
            clock_uncertainty_ns: u64::MAX,
        }
    }
}

impl Vitals {
    /// Offset in nanoseconds and uncertainty of the agent's clock; none from one that has not heard an answer to its
    /// probes yet.
    pub fn clock(&self) -> Option<(i64, Duration)> {
        const HOPELESS: Duration = Duration::from_hours(1);
        let uncertainty = Duration::from_nanos(self.clock_uncertainty_ns);
        (uncertainty < HOPELESS).then_some((self.clock_offset_ns, uncertainty))
    }
}

/// A message to an agent, or the end of its link.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are messages, and a link has few of them waiting"
)]
pub enum Outgoing {
    /// Sent as it is.
    Message(CoordinatorMessage),
    /// The agent will never be taken as it is: it should not try again.
    Refuse(String),
    /// The link ends, and the agent is told why. It may dial again.
    Close(String),
}

/// Where messages to one agent go.
pub type Outbound = mpsc::Sender<Outgoing>;

/// What a link holds as long as its agent is a member.
#[derive(Debug)]
pub struct Membership {
    /// Its identity.
    pub id: MemberId,
    /// The run that the agent serves; closed when the membership is over.
    pub assignment: watch::Receiver<Option<Assignment>>,
}

/// The run that an agent serves.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The run.
    pub run: RunId,
    /// The agent's number in it.
    pub agent: AgentIndex,
    /// Where its messages go.
    pub inbox: Inbox,
}

/// Why an agent may not join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Another link has this name.
    #[error("an agent named `{0}` is connected already; give each agent a name of its own")]
    NameTaken(AgentId),
    /// The mesh is full.
    #[error(
        "{} agents are connected, the most that one coordinator takes",
        crate::limits::MAX_AGENTS
    )]
    TooMany,
    /// The coordinator ends.
    #[error("the coordinator is shutting down")]
    ShuttingDown,
}

/// One line of `agents list`.
#[derive(Clone, Debug)]
pub struct AgentReport {
    /// Its id.
    pub id: AgentId,
    /// Where it runs.
    pub site: Site,
    /// What it was started with.
    pub labels: BTreeMap<String, String>,
    /// Its version.
    pub version: String,
    /// What is believed of it.
    pub liveness: Liveness,
    /// The run that it serves.
    pub run: Option<RunId>,
    /// What it last said of itself.
    pub vitals: Vitals,
    /// When it dialled in.
    pub joined: Instant,
}
