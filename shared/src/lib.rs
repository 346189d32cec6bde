//! Placeholder.

pub mod plan;

pub use plan::ErrorKind;
