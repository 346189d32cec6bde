//! Batches that the coordinator has not acknowledged.
//!
//! [`Spool`] is the seam: [`Memory`] keeps them in memory, bounded; a log on disk will keep them over a restart.

mod memory;

pub use memory::{Full, Memory, Spool};
