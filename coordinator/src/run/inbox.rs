//! What agents say to a run, as their links hand it over.
use super::event::AgentIndex;
use crate::registry::Vitals;
use testmesh_proto::v1;
use tokio::sync::mpsc;

/// Where the links of a run's agents put their messages. Bounded: a full inbox holds the links back, and they the agents.
pub type Inbox = mpsc::Sender<FromAgent>;

/// One message of one agent.
#[derive(Debug)]
pub struct FromAgent {
    /// Who, by its number in the run.
    pub agent: AgentIndex,
    /// What.
    pub message: AgentInput,
}

/// What an agent says to its run.
#[derive(Debug)]
pub enum AgentInput {
    /// How it is.
    Heartbeat(Vitals),
    /// It cannot run the plan.
    Refused(v1::Refused),
    /// It is ready.
    Armed,
    /// Setup ended.
    SetUpDone(v1::SetUpDone),
    /// What it measured. Decoded where it is merged, because its buckets are borrowed, not copied.
    Batch(Box<v1::Batch>),
    /// No session is in flight and none will start.
    Drained(v1::Drained),
    /// Teardown ended.
    TearDownDone(v1::TearDownDone),
    /// Something that this build has no use for: faults.
    Unused(&'static str),
}
