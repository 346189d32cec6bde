//! The testbed's integration tests, in one binary so that they link once.

#![cfg(test)]

mod bootstrap;
mod contract;
mod faults;
mod kit;
mod life;
mod streams;
mod tracing_join;
