//! Integrity of streams: where a message's rows are, whether they come in order, and what their bytes digest to.
//!
//! [`scan`] finds fields in an encoded message without decoding the rest, [`sequence`] judges the order of rows by their
//! [`numbering`], [`rows`] digests them and adds up what was found, and [`split`] divides a payload that many rows share. What
//! rows are compared with is the agent's and the coordinator's matter.

pub mod found;
pub mod numbering;
pub mod path;
pub mod rows;
pub mod scan;
pub mod sequence;
pub mod split;
mod wire_format;

pub use found::{Found, Key};
pub use numbering::{Numbering, NumberingError};
pub use path::{Cardinality, FieldPath, PathError, Scalar, Step};
pub use rows::{Row, RowShape};
pub use scan::{Layout, ScanError, Scanner};
pub use sequence::{Order, OrderCounts, Sequence};
pub use split::{Split, Splitter};
