//! The coordinator of testmesh: takes a plan, splits it over agents, starts them together, merges what they measured,
//! and gives one verdict. The command line lives in the same crate, because a local run is a coordinator and agents in
//! one process.
pub mod aggregate;
pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod fault;
pub mod limits;
pub mod phase;
pub mod registry;
pub mod report;
pub mod run;
pub mod scheduler;
pub mod store;
pub mod telemetry;
pub mod verdict;
