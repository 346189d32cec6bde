//! The scheduler: from a plan's needs and the agents that are there to who runs what, and why. Pure.
mod explain;
mod placement;
mod requirements;
mod schedule;

#[cfg(test)]
mod tests;

pub use requirements::{Requirements, ScenarioNeed};
pub use schedule::{Candidate, Placed, Schedule, ScheduleError, schedule};
