//! Running: from an assignment to sessions.
//!
//! An assignment is the control side of one run on one agent, on the agent's own runtime. It hands its share to workers,
//! threads with a single-threaded runtime each; a worker runs one loop per scenario (its pacer asks, the pool starts, the
//! terminator stops), and every session is a task that never leaves its worker.

pub mod assignment;
pub mod blobs;
pub mod context;
mod during;
mod group;
pub mod pool;
pub mod prepare;
mod results;
mod retry;
pub mod scenario;
pub mod session;
mod stage;
pub mod terminate;
pub mod trace;
mod transcript;
mod watched;
pub mod worker;

pub use transcript::Transcript;

#[cfg(test)]
mod tests;
