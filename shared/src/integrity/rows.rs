//! The rows of a message.

use super::found::{Found, Key};
use crate::digest::RowDigest;

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
    /// The number of the message's row; none if it has neither row nor payload.
    ///
    /// # Errors
    /// [`RowShape`] if there are several rows, or the parts disagree.
    #[inline]
    pub fn number(&self) -> Result<Option<i64>, RowShape> {
        match (self.only_number(), self.keys()) {
            (Some(number), 1) => Ok(Some(number)),
            _ => self.other_shape(),
        }
    }

    /// The row of a message whose number is `sequence`, digested.
    #[inline]
    #[must_use]
    pub fn row(&self, sequence: i64) -> Row<'a> {
        Row {
            sequence,
            // Without a key of its own, a row is compared by its number.
            key: self.key(0).unwrap_or(Key::Number(sequence)),
            digest: self.payload_digest(),
            bytes: self.payload_len(),
        }
    }

    #[cold]
    fn other_shape(&self) -> Result<Option<i64>, RowShape> {
        let (rows, keys, bytes) = (self.rows(), self.keys(), self.payload_len());
        match (rows, keys) {
            (0, 0) if bytes == 0 => Ok(None),
            (several, same) if several > 1 && same == several => Err(RowShape::Several { rows }),
            _ => Err(RowShape::Disagree { rows, keys, bytes }),
        }
    }
}
