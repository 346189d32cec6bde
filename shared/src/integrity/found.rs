//! What a scanned message holds: numbers, keys, and the pieces of the payload where they lie.

use std::borrow::Cow;
use std::fmt;

use super::path::Scalar;
use super::scan::{Field, KEY, PAYLOAD, Place, SENT_AT, SEQUENCE, SLOTS, Slot};
use crate::digest::{Hasher, RowDigest};

/// What rows are compared by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key<'m> {
    /// A number.
    Number(i64),
    /// A text; bytes as hex, and numbers that no i64 holds as they are written.
    Text(Cow<'m, str>),
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Key<'_> {
    /// The same key, holding its own text.
    #[must_use]
    pub fn into_owned(self) -> Key<'static> {
        match self {
            Self::Number(number) => Key::Number(number),
            Self::Text(text) => Key::Text(Cow::Owned(text.into_owned())),
        }
    }
}

/// What a message holds.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    pub(super) slots: &'a [Slot; SLOTS],
    pub(super) fields: &'a [Option<Field>; SLOTS],
    pub(super) message: &'a [u8],
}

impl<'a> Found<'a> {
    /// The numbers of the rows. An unsigned number above 2⁶³ − 1 is negative here, which no distance minds.
    pub fn sequence(&self) -> impl ExactSizeIterator<Item = i64> + 'a {
        self.slots[SEQUENCE]
            .numbers
            .iter()
            .map(|bits| bits.cast_signed())
    }

    /// The number of the only row, if there is exactly one.
    #[inline]
    pub(super) fn only_number(&self) -> Option<i64> {
        match *self.slots[SEQUENCE].numbers {
            [bits] => Some(bits.cast_signed()),
            _ => None,
        }
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.slots[SEQUENCE].numbers.len()
    }

    /// How many keys there are.
    #[must_use]
    #[inline]
    pub fn keys(&self) -> usize {
        let (slot, _) = self.key_slot();
        if slot.as_places {
            slot.places.len()
        } else {
            slot.numbers.len()
        }
    }

    /// A row's key, by its place among the rows.
    #[must_use]
    #[inline]
    pub fn key(&self, row: usize) -> Option<Key<'a>> {
        let (slot, scalar) = self.key_slot();
        if slot.as_places {
            let bytes = self.piece(*slot.places.get(row)?);
            let text = match scalar {
                Scalar::String => String::from_utf8_lossy(bytes),
                _ => Cow::Owned(hex::encode(bytes)),
            };
            return Some(Key::Text(text));
        }
        let bits = *slot.numbers.get(row)?;
        Some(match scalar {
            Scalar::Float | Scalar::Double => {
                Key::Text(Cow::Owned(f64::from_bits(bits).to_string()))
            }
            Scalar::Uint64 | Scalar::Fixed64 if bits.cast_signed() < 0 => {
                Key::Text(Cow::Owned(bits.to_string()))
            }
            _ => Key::Number(bits.cast_signed()),
        })
    }

    #[inline]
    fn key_slot(&self) -> (&'a Slot, Scalar) {
        match self.fields[KEY].or(self.fields[SEQUENCE]) {
            Some(field) => (&self.slots[field.slot], field.scalar),
            // A layout always has a sequence.
            None => (&self.slots[SEQUENCE], Scalar::Int64),
        }
    }

    /// The pieces of the payload, in order. None of a message whose payload is its whole.
    #[inline]
    pub fn payload(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let whole = self.fields[PAYLOAD].is_none().then_some(self.message);
        let found = *self;
        whole.into_iter().chain(
            self.slots[PAYLOAD]
                .places
                .iter()
                .map(move |place| found.piece(*place)),
        )
    }

    /// The length of the payload, in bytes.
    #[must_use]
    #[inline]
    pub fn payload_len(&self) -> usize {
        self.payload().map(<[u8]>::len).sum()
    }

    /// The digest of the payload as one row.
    #[must_use]
    #[inline]
    pub fn payload_digest(&self) -> RowDigest {
        let mut pieces = self.payload();
        match (pieces.next(), pieces.next()) {
            (None, _) => RowDigest::of(&[]),
            (Some(only), None) => RowDigest::of(only),
            (Some(first), Some(second)) => {
                let mut hasher = Hasher::new();
                hasher.update(first);
                hasher.update(second);
                pieces.for_each(|piece| hasher.update(piece));
                hasher.row()
            }
        }
    }

    /// When the server says that it sent the message, in nanoseconds since the Unix epoch, given how many nanoseconds the
    /// field's unit has. `None` if the layout names no such field, or its value cannot be a time.
    #[must_use]
    #[inline]
    pub fn sent_at_ns(&self, unit_ns: u64) -> Option<i64> {
        let field = self.fields[SENT_AT]?;
        let bits = *self.slots[field.slot].numbers.last()?;
        match field.scalar {
            Scalar::Float | Scalar::Double => float_ns(f64::from_bits(bits) * unit_ns as f64),
            Scalar::Uint64 | Scalar::Fixed64 => i64::try_from(bits.checked_mul(unit_ns)?).ok(),
            _ => bits.cast_signed().checked_mul(i64::try_from(unit_ns).ok()?),
        }
    }

    #[inline]
    fn piece(&self, (start, end): Place) -> &'a [u8] {
        self.message.get(start..end).unwrap_or_default()
    }
}

pub(super) fn float_ns(ns: f64) -> Option<i64> {
    // The greatest f64 below 2^63, and its negative.
    const LIMIT: f64 = 9_223_372_036_854_774_784.0;
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    (-LIMIT..=LIMIT).contains(&ns).then_some(ns as i64)
}
