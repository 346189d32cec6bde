//! What a pacer is.

use std::fmt::Debug;
use std::time::Duration;

/// One session that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its number in the scenario, over all agents.
    pub index: u64,
    /// The virtual user that runs it.
    pub virtual_user: u64,
    /// When it was planned to start, since the run's start.
    pub at: Duration,
}

/// A pacer's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// This session is due.
    Start(Planned),
    /// Nothing is due before this time of the run.
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
    /// When its session started, since the run's start.
    pub started: Duration,
    /// When it ended.
    pub ended: Duration,
    /// Whether it failed.
    pub failed: bool,
}

/// Decides when the sessions of one scenario start on one worker.
///
/// `while let Pace::Start(planned) = pacer.try_acquire(now)` starts all that is due: a timer that comes late catches up,
/// and the lateness is measured against [`Planned::at`].
pub trait Pacer: Debug {
    /// How many sessions this worker will start if nothing stops it; none if that follows from how long they take.
    fn planned(&self) -> Option<u64>;

    /// What is due at this time of the run. Time never runs backwards between two calls.
    fn try_acquire(&mut self, now: Duration) -> Pace;

    /// A virtual user is free again.
    fn release(&mut self, freed: Freed);
}
