//! The testbed's integration tests, in one binary so that they link once.

#![cfg(test)]

mod bootstrap;
mod chromium;
mod contract;
mod faults;
mod findings;
mod kit;
mod life;
mod streams;
mod task_flow;
mod tracing_join;
mod ui;
mod ui_browser;
mod ui_kit;
mod ui_problems;
