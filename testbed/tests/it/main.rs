//! The testbed's integration tests, in one binary so that they link once.

#![cfg(test)]

mod bootstrap;
mod broker;
mod chromium;
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
mod ui;
mod ui_browser;
mod ui_kit;
mod ui_problems;
