//! Faults of a run: when each begins and ends, who injects and reverts it, and what became of it.
//!
//! `timeline` decides; `spec` says what of plan and agents it must know; `record` is what it leaves for the report. What it
//! wants done is done by the run's driver, `run/faults.rs`.
mod record;
mod spec;
mod timeline;

pub use record::{Outcome, Record, Recovery};
pub use spec::{Begin, NoAgent, Spec, longest_revert, proxies, specs};
pub use timeline::{FaultAction, FaultEvent, FaultIndex, Heard, Timeline, Word};
