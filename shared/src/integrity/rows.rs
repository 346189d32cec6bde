//! Rows of a message, and what is known about the rows of a stream.

use super::found::{Found, Key};
use super::sequence::OrderCounts;
use crate::digest::RowDigest;

/// What integrity counts. `rows = verified + mismatched + unwitnessed + unverified` once all truths have been read; missing,
/// repeated and reordered stand beside it. Nothing cancels out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IntegrityCounts {
    /// Rows received.
    pub rows: u64,
    /// Rows that equal their truth.
    pub verified: u64,
    /// Rows that never came.
    pub missing: u64,
    /// Rows that came again.
    pub repeated: u64,
    /// Rows that came late.
    pub reordered: u64,
    /// Rows that differ from their truth, or could not be read.
    pub mismatched: u64,
    /// Rows that one session alone saw.
    pub unwitnessed: u64,
    /// Rows whose truth could not be read.
    pub unverified: u64,
}

impl IntegrityCounts {
    /// Adds what was found elsewhere.
    pub const fn merge(&mut self, other: &Self) {
        self.rows = self.rows.saturating_add(other.rows);
        self.verified = self.verified.saturating_add(other.verified);
        self.missing = self.missing.saturating_add(other.missing);
        self.repeated = self.repeated.saturating_add(other.repeated);
        self.reordered = self.reordered.saturating_add(other.reordered);
        self.mismatched = self.mismatched.saturating_add(other.mismatched);
        self.unwitnessed = self.unwitnessed.saturating_add(other.unwitnessed);
        self.unverified = self.unverified.saturating_add(other.unverified);
    }

    /// Adds what was wrong with the order of a stream.
    pub const fn add_order(&mut self, order: &OrderCounts) {
        self.missing = self.missing.saturating_add(order.missing);
        self.repeated = self.repeated.saturating_add(order.repeated);
        self.reordered = self.reordered.saturating_add(order.reordered);
    }

    /// Whether data is proven corrupt.
    #[must_use]
    pub const fn is_corrupt(&self) -> bool {
        self.missing > 0 || self.repeated > 0 || self.reordered > 0 || self.mismatched > 0
    }

    /// Whether every row received is accounted for.
    #[must_use]
    pub const fn is_balanced(&self) -> bool {
        let known = self.verified.saturating_add(self.mismatched);
        self.rows
            == known
                .saturating_add(self.unwitnessed)
                .saturating_add(self.unverified)
    }
}

/// One row of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<'m> {
    /// Its number.
    pub sequence: i64,
    /// What it is compared by.
    pub key: Key<'m>,
    /// What its payload digests to.
    pub digest: RowDigest,
    /// The length of its payload, in bytes.
    pub bytes: usize,
}

/// The rows of a message cannot be told apart: the stage error `integrity`, code `row_shape`. They count as mismatched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowShape {
    /// Several rows share one payload, and the plan does not say how to split it.
    #[error(
        "the message has {rows} rows in one payload, and the stage's `integrity` has no `split`"
    )]
    Several {
        /// How many.
        rows: usize,
    },
    /// Rows, keys and payload do not belong to each other.
    #[error("the message has {rows} rows, {keys} keys and {bytes} bytes of payload")]
    Disagree {
        /// Values of the sequence field.
        rows: usize,
        /// Values of the key field.
        keys: usize,
        /// Length of the payload.
        bytes: usize,
    },
}

impl RowShape {
    /// How many rows are mismatched by it: a message that has data has at least one.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let (Self::Several { rows } | Self::Disagree { rows, .. }) = self;
        (*rows as u64).max(1)
    }
}

impl<'a> Found<'a> {
    /// The message's row; none if it has neither row nor payload.
    ///
    /// # Errors
    /// [`RowShape`] if there are several rows, or the parts disagree.
    pub fn row(&self) -> Result<Option<Row<'a>>, RowShape> {
        let (rows, keys) = (self.rows(), self.keys());
        match (rows, keys) {
            (1, 1) => {}
            (0, 0) if self.payload_len() == 0 => return Ok(None),
            (several, same) if several > 1 && same == several => {
                return Err(RowShape::Several { rows });
            }
            _ => {
                return Err(RowShape::Disagree {
                    rows,
                    keys,
                    bytes: self.payload_len(),
                });
            }
        }
        let disagree = RowShape::Disagree {
            rows,
            keys,
            bytes: 0,
        };
        let sequence = self.sequence().next().ok_or(disagree)?;
        let key = self.key(0).ok_or(disagree)?;
        Ok(Some(Row {
            sequence,
            key,
            digest: self.payload_digest(),
            bytes: self.payload_len(),
        }))
    }
}
