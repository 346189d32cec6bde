//! Pacing: when the sessions of a scenario start on one worker.
//!
//! A [`Pacer`] knows nothing of sessions, drivers or clocks: it is asked with the time of the run, and told when a virtual
//! user is free again. A load model is one file here and one line in [`for_scenario`].

mod closed;
mod contract;
mod table;

pub use closed::Closed;
pub use contract::{Freed, Pace, Pacer, Planned};
pub use table::{Paced, WorkerShare, for_scenario};
