//! The protobuf wire format, read forward over one contiguous message without copying. Every read is checked: what comes
//! from a server under test may be anything.

use super::scan::ScanError;
use crate::varint::{self, VarintError};

/// Deepest group that is skipped. Groups have been deprecated since 2008; nothing real nests them.
const GROUP_MAX: usize = 32;

/// How a field's value is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireType {
    Varint,
    Fixed64,
    Len,
    StartGroup,
    EndGroup,
    Fixed32,
}

/// A place in a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'m> {
    pub(super) message: &'m [u8],
    pub(super) place: usize,
    pub(super) end: usize,
}

impl<'m> Cursor<'m> {
    pub(super) const fn new(message: &'m [u8]) -> Self {
        Self {
            message,
            place: 0,
            end: message.len(),
        }
    }

    /// A part of the message.
    pub(super) const fn within(self, (start, end): (usize, usize)) -> Self {
        Self {
            message: self.message,
            place: start,
            end,
        }
    }

    #[inline]
    pub(super) const fn is_at_end(&self) -> bool {
        self.place >= self.end
    }

    #[inline]
    fn rest(&self) -> &'m [u8] {
        self.message.get(self.place..self.end).unwrap_or_default()
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, ScanError> {
        let (value, len) = varint::read(self.rest()).map_err(|error| match error {
            VarintError::Truncated => ScanError::Truncated,
            VarintError::Wide => ScanError::Varint,
        })?;
        self.place += len;
        Ok(value)
    }

    #[inline]
    pub(super) fn tag(&mut self) -> Result<(u32, WireType), ScanError> {
        let tag = u32::try_from(self.varint()?).map_err(|_| ScanError::Tag)?;
        let wire_type = match tag & 7 {
            0 => WireType::Varint,
            1 => WireType::Fixed64,
            2 => WireType::Len,
            3 => WireType::StartGroup,
            4 => WireType::EndGroup,
            5 => WireType::Fixed32,
            _ => return Err(ScanError::Tag),
        };
        let number = tag >> 3;
        if number == 0 {
            Err(ScanError::Tag)
        } else {
            Ok((number, wire_type))
        }
    }

    #[inline]
    fn skip_bytes(&mut self, count: usize) -> Result<(usize, usize), ScanError> {
        let start = self.place;
        let end = start
            .checked_add(count)
            .filter(|end| *end <= self.end)
            .ok_or(ScanError::Truncated)?;
        self.place = end;
        Ok((start, end))
    }

    /// Where a length-delimited value lies in the message.
    #[inline]
    pub(super) fn len_value(&mut self) -> Result<(usize, usize), ScanError> {
        let count = usize::try_from(self.varint()?).map_err(|_| ScanError::Truncated)?;
        self.skip_bytes(count)
    }

    #[inline]
    pub(super) fn fixed32(&mut self) -> Result<u32, ScanError> {
        let bytes = *self.rest().first_chunk::<4>().ok_or(ScanError::Truncated)?;
        self.place += 4;
        Ok(u32::from_le_bytes(bytes))
    }

    #[inline]
    pub(super) fn fixed64(&mut self) -> Result<u64, ScanError> {
        let bytes = *self.rest().first_chunk::<8>().ok_or(ScanError::Truncated)?;
        self.place += 8;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Skips the value of a field that nobody asked for.
    #[inline]
    pub(super) fn skip(&mut self, number: u32, wire_type: WireType) -> Result<(), ScanError> {
        match wire_type {
            WireType::Varint => self.varint().map(drop),
            WireType::Fixed64 => self.skip_bytes(8).map(drop),
            WireType::Len => self.len_value().map(drop),
            WireType::Fixed32 => self.skip_bytes(4).map(drop),
            WireType::StartGroup => self.skip_group(number),
            WireType::EndGroup => Err(ScanError::Group),
        }
    }

    #[cold]
    fn skip_group(&mut self, number: u32) -> Result<(), ScanError> {
        let mut open = [0; GROUP_MAX];
        let mut depth = 1;
        open[0] = number;
        while depth > 0 {
            let (number, wire_type) = self.tag()?;
            match wire_type {
                WireType::StartGroup => {
                    *open.get_mut(depth).ok_or(ScanError::Group)? = number;
                    depth += 1;
                }
                WireType::EndGroup => {
                    depth -= 1;
                    if open[depth] != number {
                        return Err(ScanError::Group);
                    }
                }
                WireType::Varint | WireType::Fixed64 | WireType::Len | WireType::Fixed32 => {
                    self.skip(number, wire_type)?;
                }
            }
        }
        Ok(())
    }
}
