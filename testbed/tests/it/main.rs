//! The testbed's integration tests, in one binary so that they link once.

#![cfg(test)]

mod bootstrap;
mod broker;
mod contract;
mod faults;
mod findings;
mod foreign;
mod kit;
mod life;
mod proxy;
mod store;
mod streams;
mod task_flow;
mod tracing_join;
