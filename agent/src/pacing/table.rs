//! Which pacer a load model has. A new load model is one file and one arm here.

use std::time::Duration;

use testmesh_shared::plan::Load;
use testmesh_shared::schedule::{self, Part};

use super::closed::Closed;
use super::contract::Pacer;

/// What one worker runs of a scenario: every `of`-th virtual user of its agent.
#[derive(Clone, Debug)]
pub struct WorkerShare {
    /// The agent's part.
    pub part: Part,
    /// This worker's turn.
    pub worker: usize,
    /// How many workers take turns.
    pub of: usize,
}

/// How one scenario is paced on one worker.
#[derive(Debug)]
pub struct Paced {
    /// Says when sessions start.
    pub pacer: Box<dyn Pacer>,
    /// When the scenario ends by time.
    pub end: Option<Duration>,
}

/// The pacer of a scenario on one worker; none if this build knows no pacer for its load model.
pub fn for_scenario(load: &Load, share: &WorkerShare) -> Option<Paced> {
    let closed = schedule::Closed::of(load, share.part.agents)?;
    let users = closed
        .own_users(&share.part)
        .skip(share.worker)
        .step_by(share.of);
    Some(Paced {
        pacer: Box::new(Closed::new(closed, users)),
        end: closed.end,
    })
}
