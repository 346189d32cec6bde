//! What `cargo xtask` does, as a library, so that its rules are tested like any other code.
//!
//! It depends on nothing of the workspace: it must build in seconds, before anything else does.

pub mod ci;
pub mod process;
pub mod servers;
pub mod services;
pub mod steps;
pub mod test;
pub mod tidy;
pub mod tools;
pub mod workspace;
