//! Rows of the calibration server: a function of their number, encoded beforehand, and wrong where a fault says so.

use std::ops::Range;

use bytes::Bytes;

/// Rows that are sent at once.
pub const ROWS_PER_CHUNK: u64 = 1_000;

/// What is wrong with one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataFault {
    /// It does not come.
    Drop,
    /// It comes twice.
    Repeat,
    /// It comes after its successor.
    Swap,
    /// One bit of its payload is another.
    Flip,
    /// Its payload lacks the last byte.
    Truncate,
    /// Its payload is that of another stream.
    WrongStream,
}

/// One wrong row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What is wrong.
    pub fault: DataFault,
    /// The stream, by the number that the client gives it.
    pub stream: u64,
    /// The row. A row that is swapped is not the last of its chunk.
    pub row: u64,
}

/// The rows of a range as they go out, with those that are wrong.
pub(super) fn chunk(rows: Range<u64>, wrong: &[Place]) -> Bytes {
    let mut bytes = Vec::with_capacity(32 * 1024);
    let mut late = None;
    for row in rows {
        let fault = wrong
            .iter()
            .find(|place| place.row == row)
            .map(|place| place.fault);
        let mut data = payload(row, 0);
        match fault {
            Some(DataFault::Drop) => continue,
            Some(DataFault::Swap) => {
                late = Some(row);
                continue;
            }
            Some(DataFault::Repeat) => message(row, &data, &mut bytes),
            Some(DataFault::Flip) => data[7] ^= 0b0001_0000,
            Some(DataFault::Truncate) => data.truncate(data.len() - 1),
            Some(DataFault::WrongStream) => data = payload(row, 1),
            None => {}
        }
        message(row, &data, &mut bytes);
        if let Some(late) = late.take() {
            message(late, &payload(late, 0), &mut bytes);
        }
    }
    assert_eq!(late, None, "the last row of a chunk has no successor in it");
    bytes.into()
}

/// A message of `rows.proto` with its prefix.
pub(super) fn message(row: u64, data: &[u8], bytes: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(32);
    body.push(0x08);
    let mut rest = row;
    while rest >= 0x80 {
        body.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    body.push(rest.to_le_bytes()[0]);
    body.push(0x12);
    body.push(u8::try_from(data.len()).expect("a payload is short"));
    body.extend_from_slice(data);
    bytes.push(0);
    let length = u32::try_from(body.len()).expect("a message is short");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&body);
}

/// 16 bytes that differ for every row and stream (`SplitMix64`, twice).
pub(super) fn payload(row: u64, stream: u64) -> Vec<u8> {
    let mix = |seed: u64| {
        let mut z = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let first = mix(row ^ (stream << 48));
    [first.to_le_bytes(), mix(first).to_le_bytes()].concat()
}
