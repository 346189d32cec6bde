//! The agent: runs a segment of a plan close to the server under test, and reports what it measured.

pub mod limits;
pub mod recorder;
