//! Runs: one execution of a plan each, from the queue to the verdict.
//!
//! `state` decides, `driver` acts, `seal` ends; `runs` owns them all.
mod abort;
mod driver;
mod event;
mod faults;
mod fit;
mod inbox;
mod log;
mod message;
mod perform;
mod result;
mod roster;
mod runs;
mod seal;
mod settings;
mod state;
mod submission;

pub use driver::{Driver, Surroundings};
pub use event::{Action, AgentIndex, Ending, Event, Failure, Lifecycle, PlanAtFault, StopMode};
pub use inbox::{AgentInput, FromAgent, Inbox, Messages};
pub use log::{EventLog, Progress, ScenarioProgress, Told};
pub use result::{Facts, report};
pub use roster::{Roster, RosterEntry, Standing};
pub use runs::{Runs, RunsHandle, SubmitError};
pub use seal::{Renderer, Sealing};
pub use state::{RunState, Terms};
pub use submission::{RunCommand, RunHandle, RunOverview, Submission};
