//! Rows: what they contain, how they are kept for other calls, and the list of a job's rows.

mod cache;
mod field;
mod manifest;

pub(crate) use cache::{Row, RowCache};
pub(crate) use field::{Field, Signal};
pub(crate) use manifest::{RowDigest, digests, manifest};
