//! Truths that are read from elsewhere, row after row, beside the streams that they are compared with.
//!
//! [`Truths`] belongs to a run on one agent: streams of all its workers that name the same truth share one `Listing` of keys
//! and digests, which a thread of its own reads from a [`Source`]. A [`Join`] is one stream's place in it.

#![cfg_attr(
    not(feature = "mongodb"),
    expect(
        dead_code,
        unused_imports,
        reason = "of the drivers that a build may lack, one alone is a source"
    )
)]

mod join;
#[cfg(test)]
mod join_tests;
mod listing;
mod seen;
mod truths;
#[cfg(test)]
mod truths_tests;

pub(super) use join::Join;
pub(crate) use listing::{Entry, ListingWriter};
pub(crate) use truths::Source;
pub use truths::Truths;
