//! The kit that testmesh's end-to-end tests are written with: real binaries, real sockets, and one model of expected outcomes.
//!
//! A test starts a [`Mesh`] (or a single [`Cli`] run), and compares what came out with an [`Expected`] outcome.
//! Nothing here sleeps to synchronise: processes say when they are ready, and waits are on that.

mod binaries;
pub mod calibration;
mod collector;
mod expect;
pub mod matrix;
mod mesh;
mod process;
pub mod real;

pub use binaries::{binary, plan};
pub use collector::{Collector, Span};
pub use expect::{Expected, Verdict};
pub use mesh::{Cli, Mesh, MeshBuilder, Outcome, outcome};
pub use process::Process;
