//! The servers that clients of benchmarks talk to, each in a process of its own, so that its CPU is nobody's.
pub(crate) mod http;
pub(crate) mod process;
pub(crate) mod rows;
