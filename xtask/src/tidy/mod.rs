//! Rules of the house that no compiler and no lint knows.
//!
//! Every rule is a pure function from a [`Source`] to [`Complaint`]s; [`check()`] applies all of them to a checkout.
//! It runs as a test (`xtask/tests/tidy.rs`), so that nobody has to remember it.

mod check;
mod markdown;
mod purity;
mod rust;
mod source;
mod words;

pub use check::{check, run};
pub use source::{Complaint, Source};
