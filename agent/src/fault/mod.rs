//! Faults: what this agent breaks on purpose, with leases, and the proxies that it runs for that.
//!
//! `proxy` is the TCP proxy, a child process of its own; `task` is one fault from its order to its end; `faults` owns the
//! tasks of one run.
mod command;
mod faults;
pub mod proxy;
mod task;

pub use faults::{Faults, FaultsError, Means, Told};
pub(crate) use task::longest;
