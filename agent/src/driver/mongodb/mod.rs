//! The driver `mongodb`: one operation of the official driver's client, its errors in the closed vocabulary of stages, and
//! the documents of `truth: mongodb`.

mod client;
mod extended;
mod failure;
mod form;
mod health;
mod keys;
mod operation;
mod run;
mod source;
mod value;

pub(crate) use keys::FORM;
pub(crate) use source::Query;
