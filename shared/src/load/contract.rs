//! What a load model is, what it may know, and what it gives.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use super::slots::Slots;
use crate::id::SessionIndex;
use crate::plan::Item;
use crate::plan::keys::{Keys, State};
use crate::rng::SeedTree;
use crate::segment::Share;

/// A load model's part of the plan format.
#[derive(Debug)]
pub struct LoadForm {
    /// The key of `load` that chooses it.
    pub name: &'static str,
    /// What it does, for the reference.
    pub doc: &'static str,
    /// Whether this build runs it; of one that it does not, nothing else is read.
    pub state: State,
    /// The keys that `load` has with it, its own name among them.
    pub keys: &'static Keys,
    /// Reads the whole of `load`; none if that gave problems.
    pub read: fn(Item<'_>) -> Option<Box<dyn LoadModel>>,
}

/// How sessions begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// One session, in the run or on each agent.
    Once,
    /// Virtual users that run sessions one after another.
    Closed,
    /// Sessions that arrive when they are planned to, whatever became of those before: latency counts from then.
    Open,
}

/// Who starts sessions, and when, read from a plan.
pub trait LoadModel: Debug + Send + Sync {
    /// How sessions begin.
    fn model(&self) -> Model;

    /// From when on no session starts, since the scenario's start; none: the number of sessions ends it.
    fn end(&self) -> Option<Duration>;

    /// How many sessions the whole run is to have; none: as many as there is time for.
    fn planned(&self, whole: &Part) -> Option<u64>;

    /// The same load with so many sessions in the whole run at the most: those with the lowest numbers.
    fn at_most(self: Box<Self>, sessions: u64) -> Box<dyn LoadModel>;

    /// The most sessions at once in the whole run; none: the model bounds them itself.
    fn max_sessions(&self) -> Option<u64> {
        None
    }

    /// The starts of a part that are known beforehand, by time: in the closed model the first of each virtual user, because the
    /// others follow from how long sessions take.
    fn starts<'a>(&'a self, part: &'a Part) -> Box<dyn Iterator<Item = Start> + 'a>;

    /// What starts sessions on one worker.
    fn pacer(&self, share: WorkerShare) -> Box<dyn Pacer>;
}

/// A place in one scenario of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What the agent owns.
    pub share: Share,
    /// Its number among the agents of the run, from 0.
    pub agent: u32,
    /// How many agents there are.
    pub agents: u32,
    /// The scenario's place in the tree of seeds: the same for all.
    pub seeds: SeedTree,
}

impl Part {
    /// Everything, in a run of so many agents with this seed.
    #[must_use]
    pub fn whole(agents: u32, seed: u64, scenario: &str) -> Self {
        Self {
            share: Share::all(),
            agent: 0,
            agents,
            seeds: Self::seeds(seed, scenario),
        }
    }

    /// A scenario's place in the tree of seeds of a run.
    #[must_use]
    pub fn seeds(seed: u64, scenario: &str) -> SeedTree {
        SeedTree::new(seed).child("load").child(scenario)
    }
}

/// What one worker of an agent runs: every `of`-th virtual user or arrival of its part.
#[derive(Debug, Clone)]
pub struct WorkerShare {
    /// The agent's part.
    pub part: Part,
    /// This worker's turn.
    pub worker: usize,
    /// How many workers take turns.
    pub of: usize,
    /// The places for sessions that the agent's workers share, where the model has them.
    pub slots: Arc<Slots>,
}

/// The planned start of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Start {
    /// Since the start of the scenario.
    pub at: Duration,
    /// The session.
    pub session: SessionIndex,
}

/// One session that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its number in the scenario, over all agents.
    pub index: u64,
    /// The virtual user that runs it.
    pub virtual_user: u64,
    /// When it was planned to start, since the scenario's start.
    pub at: Duration,
}

/// A pacer's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// This session is due.
    Start(Planned),
    /// A session was due, and there was no place for it.
    Dropped,
    /// Nothing is due before this time of the scenario.
    Until(Duration),
    /// Nothing is due before a virtual user is released.
    Held,
    /// No session will be due any more.
    Done,
}

/// How a session left its virtual user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freed {
    /// The virtual user.
    pub virtual_user: u64,
    /// When its session started, since the scenario's start.
    pub started: Duration,
    /// When it ended.
    pub ended: Duration,
    /// Whether it failed.
    pub failed: bool,
}

/// Decides when the sessions of one scenario start on one worker. It knows nothing of sessions, drivers or clocks: it is asked
/// with the time, and told when a virtual user is free again.
///
/// Asking until nothing is due starts all that is due: a timer that comes late catches up, and the lateness is measured against
/// [`Planned::at`].
pub trait Pacer: Debug {
    /// How many sessions this worker will start or drop if nothing stops it; none if that is not known beforehand.
    fn planned(&self) -> Option<u64>;

    /// What is due at this time of the scenario. Time never runs backwards between two calls.
    fn try_acquire(&mut self, now: Duration) -> Pace;

    /// A virtual user is free again.
    fn release(&mut self, freed: Freed);
}

#[cfg(test)]
#[path = "most_tests.rs"]
mod tests;
