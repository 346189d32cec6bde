//! What was recorded: by rule, or as MongoDB lists it.

mod lookup;
mod recorded;

pub(crate) use lookup::{Archive, Lookup, Recording};
pub(crate) use recorded::{Recorded, Span};
