//! The verdict: pure functions from what was measured to `passed`, `failed` or `inconclusive`, with reasons.
//!
//! One file per source of reasons: data ([`integrity`]), thresholds ([`threshold`]), the measurement ([`validity`]) and the
//! ledger ([`ledger`]). `judge` puts them in order.
mod input;
pub mod integrity;
mod judge;
pub mod ledger;
mod reason;
pub mod threshold;
pub mod validity;

pub use input::{Criterion, Explained, Input, Process, Rules, StageFact};
pub use judge::{Verdict, judge, show};
pub use reason::{ReasonClass, ReasonCode, VerdictKind};
