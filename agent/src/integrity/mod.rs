//! Whether the data of a stream is what it must be: rows complete, in order, and equal to their truth.
//!
//! [`Layout`] knows where the checked fields are, from a plan's names and a message's descriptor; [`Checker`] reads the
//! encoded messages of one stream; a truth (`truth`) says what a row is compared with. Finding fields, judging order and
//! digesting are [`testmesh_shared::integrity`]'s, which the coordinator's tests and tools share.

mod checker;
mod clock;
mod documents;
mod faults;
mod keys;
mod latency;
mod layout;
mod truth;

pub use checker::{Checker, Ending};
pub use clock::{ClockReading, MeshClock};
pub use documents::Truths;
pub use latency::ServerClock;
pub use layout::{Layout, LayoutProblem};

#[cfg(feature = "mongodb")]
pub(crate) use documents::{Entry, ListingWriter, Source};
