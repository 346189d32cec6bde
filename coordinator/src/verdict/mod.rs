//! The verdict: pure functions from what was measured to `passed`, `failed` or `inconclusive`, with reasons.
//!
//! One file per source of reasons: data ([`integrity`]), thresholds ([`threshold`]), the measurement ([`validity`]) and the
//! ledger ([`ledger`]). `sample` reads what a threshold measures, over the run or (`window`) over each sliding span; [`reach`]
//! knows what lost sessions could have changed and [`stall`] what agents that stood still could have, and `judge` puts all in
//! order.
#[cfg(test)]
mod case;
mod input;
pub mod integrity;
mod judge;
pub mod ledger;
pub mod reach;
mod reason;
mod sample;
pub mod stall;
pub mod threshold;
pub mod validity;
mod window;

#[cfg(test)]
mod reason_tests;
#[cfg(test)]
mod threshold_tests;

pub use input::{
    Aborted, Criterion, Explained, FailedFault, Input, Operand, Process, Reading, Rules, StageFact,
};
pub use judge::{Verdict, broken, judge, show};
pub use reason::{ReasonClass, ReasonCode, VerdictKind};
