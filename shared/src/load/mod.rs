//! Load models: who starts sessions, and when.
//!
//! A load model is one file here and one line in [`table`]. It brings its keys and how they are read, knows its whole schedule
//! for any part of a run, and makes the pacer that starts sessions on one worker. Everything is arithmetic over numbers and
//! times: the parts of all agents make the schedule of one agent, and nobody asks anyone.

mod arrivals;
mod closed;
pub mod contract;
mod once;
mod profile;
mod slots;
pub mod table;
#[cfg(test)]
mod testing;
mod virtual_users;

pub use contract::{
    Freed, LoadForm, LoadModel, Model, Pace, Pacer, Part, Planned, Start, WorkerShare,
};
pub use slots::Slots;
