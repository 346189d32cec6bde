//! The coordinator of testmesh: takes a plan, splits it over agents, starts them together, merges what they measured,
//! and gives one verdict. The command line lives in the same crate, because a local run is a coordinator and agents in
//! one process.
pub mod report;
pub mod verdict;
