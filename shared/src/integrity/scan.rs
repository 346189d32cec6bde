//! Finds the fields that integrity is about in an encoded protobuf message: sequence, key, payload and time of sending. One
//! pass, no generated code, nothing decoded besides; values are numbers and places, and nothing is copied.
//!
//! The paths of a stage make a small tree, once. Scanning walks a message along it: a field on a path is read or entered, any
//! other is skipped by its length. The walk goes no deeper than the paths do, whatever a message nests. Protobuf's rules
//! hold: the last of a single field wins, an absent one is its default, and that of every element of a repeated message.

use super::found::Found;
use super::path::{Cardinality, FieldPath, Scalar};
use super::wire_format::{Cursor, WireType};

/// Why a message could not be read. Its rows count as mismatched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// A value goes beyond the end.
    #[error("the message ends within a field")]
    Truncated,
    /// A number wider than 64 bits.
    #[error("the message holds a number of more than 64 bits")]
    Varint,
    /// A tag without a meaning.
    #[error("the message holds an invalid field tag")]
    Tag,
    /// Groups that nest too deep, or do not end.
    #[error("the message holds a broken group")]
    Group,
    /// A field on a path is encoded as another type.
    #[error("field {number} of the message is encoded as another type than its descriptor says")]
    WireType {
        /// Its number.
        number: u32,
    },
}

/// Which fields of a message are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The numbers of the rows; has to be an integer.
    pub sequence: FieldPath,
    /// What rows are compared by; none: the sequence.
    pub key: Option<FieldPath>,
    /// What the checksum covers; none: the whole message.
    pub payload: Option<FieldPath>,
    /// When the server sent the message; has to be a number.
    pub sent_at: Option<FieldPath>,
}

pub(super) const SLOTS: usize = 4;
pub(super) const SEQUENCE: usize = 0;
pub(super) const KEY: usize = 1;
pub(super) const PAYLOAD: usize = 2;
pub(super) const SENT_AT: usize = 3;

/// What happens at a field of a message.
#[derive(Debug, Clone, Copy)]
enum Action {
    /// Its value goes to a slot.
    Read {
        slot: usize,
        scalar: Scalar,
        cardinality: Cardinality,
    },
    /// It is a message on a path.
    Enter { node: usize },
}

/// A message on a path.
#[derive(Debug, Clone, Default)]
struct Node {
    actions: Vec<(u32, Action)>,
    /// Slots that have one value per occurrence of this message: their default until it is read.
    singles: Vec<usize>,
}

/// Where a value lies in the message.
pub(super) type Place = (usize, usize);

/// What one slot found.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot {
    /// Whether values are collected as places rather than numbers.
    pub(super) as_places: bool,
    pub(super) numbers: Vec<u64>,
    pub(super) places: Vec<Place>,
    /// The value of a single field so far.
    number: u64,
    place: Place,
}

/// Reads the messages of one stream, or of many, with one scratch space.
#[derive(Debug, Clone)]
pub struct Scanner {
    nodes: Vec<Node>,
    slots: [Slot; SLOTS],
    fields: [Option<Field>; SLOTS],
}

/// A field that is looked for. Equal paths share a slot: a key is often the time of sending, too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) slot: usize,
    pub(super) scalar: Scalar,
}

impl Scanner {
    /// Compiles a layout.
    #[must_use]
    pub fn new(layout: &Layout) -> Self {
        let paths = [
            Some(&layout.sequence),
            layout.key.as_ref(),
            layout.payload.as_ref(),
            layout.sent_at.as_ref(),
        ];
        let mut scanner = Self {
            nodes: vec![Node::default()],
            slots: Default::default(),
            fields: [None; SLOTS],
        };
        for (slot, path) in paths.into_iter().enumerate() {
            let Some(path) = path else { continue };
            let as_places = slot == PAYLOAD || path.scalar().is_bytes();
            let same = |other: &usize| {
                paths[*other] == Some(path) && scanner.slots[*other].as_places == as_places
            };
            let known = (0..slot).find(same);
            scanner.fields[slot] = Some(Field {
                slot: known.unwrap_or(slot),
                scalar: path.scalar(),
            });
            if known.is_none() {
                scanner.slots[slot].as_places = as_places;
                scanner.add(slot, path);
            }
        }
        scanner
    }

    fn add(&mut self, slot: usize, path: &FieldPath) {
        let (mut node, mut element) = (0, 0);
        for step in path.parents() {
            node = self.enter(node, step.number);
            if step.cardinality == Cardinality::Repeated {
                element = node;
            }
        }
        let leaf = path.leaf();
        if leaf.cardinality == Cardinality::Single {
            self.nodes[element].singles.push(slot);
        }
        let action = Action::Read {
            slot,
            scalar: path.scalar(),
            cardinality: leaf.cardinality,
        };
        self.nodes[node].actions.push((leaf.number, action));
    }

    /// The node of a message field, made at its first use.
    fn enter(&mut self, node: usize, number: u32) -> usize {
        let known = self.nodes[node]
            .actions
            .iter()
            .find_map(|(other, action)| match action {
                Action::Enter { node } if *other == number => Some(*node),
                Action::Enter { .. } | Action::Read { .. } => None,
            });
        known.unwrap_or_else(|| {
            let new = self.nodes.len();
            self.nodes.push(Node::default());
            self.nodes[node]
                .actions
                .push((number, Action::Enter { node: new }));
            new
        })
    }

    /// Reads one message.
    ///
    /// # Errors
    /// [`ScanError`] if it is not an encoded message, as far as it had to be read.
    pub fn scan<'a>(&'a mut self, message: &'a [u8]) -> Result<Found<'a>, ScanError> {
        for slot in &mut self.slots {
            slot.numbers.clear();
            slot.places.clear();
        }
        walk(&self.nodes, &mut self.slots, 0, Cursor::new(message))?;
        Ok(Found {
            slots: &self.slots,
            fields: &self.fields,
            message,
        })
    }
}

/// Walks one message. It calls itself along the tree of paths only, which is at most [`PATH_MAX`](super::path::PATH_MAX)
/// deep.
fn walk(
    nodes: &[Node],
    slots: &mut [Slot; SLOTS],
    node: usize,
    mut cursor: Cursor<'_>,
) -> Result<(), ScanError> {
    let Node { actions, singles } = &nodes[node];
    for slot in singles {
        let slot = &mut slots[*slot];
        (slot.number, slot.place) = (0, (cursor.place, cursor.place));
    }
    while !cursor.is_at_end() {
        let (number, wire_type) = cursor.tag()?;
        let value = cursor.place;
        let mut read = false;
        // A field may be on several paths: a key that is also the time of sending.
        for (wanted, action) in actions {
            if *wanted != number {
                continue;
            }
            read = true;
            cursor.place = value;
            match action {
                Action::Read {
                    slot,
                    scalar,
                    cardinality,
                } => {
                    let slot = &mut slots[*slot];
                    slot.read(&mut cursor, number, wire_type, *scalar, *cardinality)?;
                }
                Action::Enter { node } if wire_type == WireType::Len => {
                    let part = cursor.len_value()?;
                    walk(nodes, slots, *node, cursor.within(part))?;
                }
                Action::Enter { .. } => return Err(ScanError::WireType { number }),
            }
        }
        if !read {
            cursor.skip(number, wire_type)?;
        }
    }
    for slot in singles {
        let slot = &mut slots[*slot];
        if slot.as_places {
            slot.places.push(slot.place);
        } else {
            slot.numbers.push(slot.number);
        }
    }
    Ok(())
}

impl Slot {
    /// Reads a field's value, which the cursor stands before.
    #[inline]
    fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
        number: u32,
        wire_type: WireType,
        scalar: Scalar,
        cardinality: Cardinality,
    ) -> Result<(), ScanError> {
        let repeated = cardinality == Cardinality::Repeated;
        if wire_type == WireType::Len && !scalar.is_bytes() {
            if !repeated {
                return Err(ScanError::WireType { number });
            }
            return self.read_packed(cursor, scalar);
        }
        let mut place = (cursor.place, cursor.place);
        let mut bits = 0;
        if wire_type != encoding(scalar) {
            return Err(ScanError::WireType { number });
        } else if scalar.is_bytes() {
            place = cursor.len_value()?;
        } else {
            bits = read_number(cursor, scalar)?;
            place.1 = cursor.place;
        }
        match (repeated, self.as_places) {
            (true, true) => self.places.push(place),
            (true, false) => self.numbers.push(bits),
            (false, true) => self.place = place,
            (false, false) => self.number = bits,
        }
        Ok(())
    }

    /// Reads numbers that lie side by side.
    fn read_packed(&mut self, cursor: &mut Cursor<'_>, scalar: Scalar) -> Result<(), ScanError> {
        let part = cursor.len_value()?;
        if self.as_places {
            // As payload, packed numbers are their bytes; unpacked ones make the same bytes.
            self.places.push(part);
            return Ok(());
        }
        let mut packed = cursor.within(part);
        while !packed.is_at_end() {
            self.numbers.push(read_number(&mut packed, scalar)?);
        }
        Ok(())
    }
}

const fn encoding(scalar: Scalar) -> WireType {
    match scalar {
        Scalar::Int32
        | Scalar::Int64
        | Scalar::Uint32
        | Scalar::Uint64
        | Scalar::Sint32
        | Scalar::Sint64
        | Scalar::Bool => WireType::Varint,
        Scalar::Fixed32 | Scalar::Sfixed32 | Scalar::Float => WireType::Fixed32,
        Scalar::Fixed64 | Scalar::Sfixed64 | Scalar::Double => WireType::Fixed64,
        Scalar::String | Scalar::Bytes | Scalar::Message => WireType::Len,
    }
}

/// The bits of a number: those of an i64 for signed types, of a u64 for unsigned ones, of an f64 for floating ones.
#[inline]
fn read_number(cursor: &mut Cursor<'_>, scalar: Scalar) -> Result<u64, ScanError> {
    // Types of 32 bits keep the low half of what was sent.
    #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
    let low = |value: u64| value as u32;
    Ok(match scalar {
        Scalar::Int64 | Scalar::Uint64 => cursor.varint()?,
        Scalar::Int32 => extend(low(cursor.varint()?)),
        Scalar::Uint32 => u64::from(low(cursor.varint()?)),
        Scalar::Sint64 => {
            let value = cursor.varint()?;
            (value >> 1) ^ (value & 1).wrapping_neg()
        }
        Scalar::Sint32 => {
            let value = low(cursor.varint()?);
            extend((value >> 1) ^ (value & 1).wrapping_neg())
        }
        Scalar::Bool => u64::from(cursor.varint()? != 0),
        Scalar::Fixed32 => u64::from(cursor.fixed32()?),
        Scalar::Sfixed32 => extend(cursor.fixed32()?),
        Scalar::Fixed64 | Scalar::Sfixed64 | Scalar::Double => cursor.fixed64()?,
        Scalar::Float => f64::from(f32::from_bits(cursor.fixed32()?)).to_bits(),
        Scalar::String | Scalar::Bytes | Scalar::Message => {
            unreachable!("bytes are read as places")
        }
    })
}

/// The bits of an i32 as those of the same i64.
const fn extend(bits: u32) -> u64 {
    i64::from_le_bytes((bits.cast_signed() as i64).to_le_bytes()).cast_unsigned()
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
