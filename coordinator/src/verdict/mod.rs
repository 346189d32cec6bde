//! The verdict: pure functions from what was measured to `passed`, `failed` or `inconclusive`, with reasons.
mod reason;

pub use reason::{ReasonClass, ReasonCode, VerdictKind};
