//! Protobuf's varints, read from the front of a slice. Most are one or two bytes long; timestamps are six to nine.

/// Why bytes are not a varint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VarintError {
    /// They end within it.
    Truncated,
    /// It is wider than 64 bits.
    Wide,
}

/// The number at the front, and how many bytes it takes.
#[inline]
pub(crate) fn read(bytes: &[u8]) -> Result<(u64, usize), VarintError> {
    match bytes {
        [a, ..] if *a < 0x80 => Ok((u64::from(*a), 1)),
        [a, b, ..] if *b < 0x80 => Ok((u64::from(a & 0x7f) | u64::from(*b) << 7, 2)),
        _ => read_long(bytes),
    }
}

fn read_long(bytes: &[u8]) -> Result<(u64, usize), VarintError> {
    const CONTINUES: u64 = 0x8080_8080_8080_8080;
    if let Some(chunk) = bytes.first_chunk() {
        let word = u64::from_le_bytes(*chunk);
        let last = !word & CONTINUES;
        if last != 0 {
            let bits = last.trailing_zeros() + 1;
            let word = word & (u64::MAX >> (u64::BITS - bits)) & !CONTINUES;
            return Ok((close_gaps(word), (bits / 8) as usize));
        }
    }
    let mut value = 0;
    for (place, byte) in bytes.iter().enumerate() {
        // The tenth byte has room for one bit.
        if place == 9 && *byte > 1 {
            return Err(VarintError::Wide);
        }
        value |= u64::from(byte & 0x7f) << (7 * place);
        if *byte < 0x80 {
            return Ok((value, place + 1));
        }
    }
    Err(VarintError::Truncated)
}

/// Eight groups of seven bits, each at the start of a byte, side by side: pairs, then pairs of pairs, then both halves.
const fn close_gaps(word: u64) -> u64 {
    let word = (word & 0x007f_007f_007f_007f) | ((word & 0x7f00_7f00_7f00_7f00) >> 1);
    let word = (word & 0x0000_3fff_0000_3fff) | ((word & 0x3fff_0000_3fff_0000) >> 2);
    (word & 0x0fff_ffff) | ((word & 0x0fff_ffff_0000_0000) >> 4)
}

/// Appends a number.
pub(crate) fn write(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(low_bits(value) | 0x80);
        value >>= 7;
    }
    bytes.push(low_bits(value));
}

const fn low_bits(value: u64) -> u8 {
    (value & 0x7f) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_does_not_end_or_fit_is_refused() {
        assert_eq!(read(&[]), Err(VarintError::Truncated));
        for len in 1..10 {
            assert_eq!(read(&vec![0xff; len]), Err(VarintError::Truncated));
        }
        let wide = [&[0xff; 9][..], &[0x02]].concat();
        assert_eq!(read(&wide), Err(VarintError::Wide));
        assert_eq!(read(&[0xff; 20]), Err(VarintError::Wide));
        // A number may be written longer than it needs to be.
        assert_eq!(
            read(&[0x81, 0x80, 0x80, 0x00, 0xff, 0xff, 0xff, 0xff]),
            Ok((1, 4))
        );
    }

    proptest! {
        #[test]
        fn numbers_of_every_width_are_read_as_they_were_written(value: u64, shift in 0u32..64, after in 0usize..12) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            let len = bytes.len();
            prop_assert_eq!(prost::encoding::encoded_len_varint(value), len);
            bytes.resize(len + after, 0xff);
            prop_assert_eq!(read(&bytes), Ok((value, len)));
        }
    }
}
