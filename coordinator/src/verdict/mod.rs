//! The verdict: pure functions from what was measured to `passed`, `failed` or `inconclusive`, with reasons.
//!
//! One file per source of reasons: data ([`integrity`]), thresholds ([`threshold`]), the measurement ([`validity`]) and the
//! ledger ([`ledger`]). [`reach`] knows what lost sessions could have changed, and `judge` puts all in order.
mod input;
pub mod integrity;
mod judge;
pub mod ledger;
pub mod reach;
mod reason;
pub mod threshold;
pub mod validity;

pub use input::{Criterion, Explained, Input, Process, Rules, StageFact};
pub use judge::{Verdict, judge, show};
pub use reason::{ReasonClass, ReasonCode, VerdictKind};
