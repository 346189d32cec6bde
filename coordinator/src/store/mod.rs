//! What outlives a run: sealed runs with their reports, and the blobs that plans are made of.
pub mod blobs;
mod contract;
mod memory;

#[cfg(test)]
pub(crate) mod laws;

pub use contract::{RunStore, StoreError, StoredRevert, StoredRun};
pub use memory::MemoryStore;
