//! The link to the coordinator: one bidirectional stream that the agent opens and keeps open.
//!
//! [`state`] decides, purely, when to dial, greet, beat, hang up and give up; [`connection`] does it. Messages of runs pass
//! through unchanged: whoever sends them also repeats them after a reconnect.

pub mod connection;
pub mod state;

pub use connection::{Link, LinkConfig, LinkError, LinkEvent};
