//! The scanner against prost: whatever prost decodes, the scanner reads the same from.

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::digest::RowDigest;
use crate::integrity::found::{Key, float_ns};
use crate::integrity::path::Step;
use crate::integrity::rows::{Row, RowShape};

/// A message of a stream, with one row.
#[derive(Clone, PartialEq, prost::Message)]
struct Frame {
    #[prost(int32, tag = "1")]
    before: i32,
    #[prost(int64, tag = "2")]
    row_index: i64,
    #[prost(message, optional, tag = "3")]
    meta: Option<Meta>,
    #[prost(float, repeated, tag = "4")]
    samples: Vec<f32>,
    #[prost(bytes = "vec", tag = "16")]
    main_data: Vec<u8>,
    #[prost(string, tag = "536870911")]
    last: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Meta {
    #[prost(sint64, tag = "1")]
    key: i64,
    #[prost(double, tag = "2")]
    sent_at: f64,
    #[prost(string, tag = "3")]
    name: String,
}

/// A message with many rows, side by side or each its own.
#[derive(Clone, PartialEq, prost::Message)]
struct Block {
    #[prost(int32, repeated, tag = "1")]
    packed: Vec<i32>,
    #[prost(sint32, repeated, packed = "false", tag = "2")]
    unpacked: Vec<i32>,
    #[prost(message, repeated, tag = "3")]
    rows: Vec<Meta>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    pieces: Vec<Vec<u8>>,
    #[prost(fixed64, repeated, tag = "5")]
    wide: Vec<u64>,
}

fn single(number: u32, scalar: Scalar) -> FieldPath {
    FieldPath::top(number, Cardinality::Single, scalar).unwrap()
}

fn repeated(number: u32, scalar: Scalar) -> FieldPath {
    FieldPath::top(number, Cardinality::Repeated, scalar).unwrap()
}

fn below(parent: u32, of: Cardinality, number: u32, scalar: Scalar) -> FieldPath {
    let leaf = Step {
        number,
        cardinality: Cardinality::Single,
    };
    FieldPath::new(
        vec![Step {
            number: parent,
            cardinality: of,
        }],
        leaf,
        scalar,
    )
    .unwrap()
}

fn only(sequence: FieldPath) -> Layout {
    Layout {
        sequence,
        key: None,
        payload: None,
        sent_at: None,
    }
}

fn frame_layout() -> Layout {
    Layout {
        sequence: single(2, Scalar::Int64),
        key: Some(below(3, Cardinality::Single, 1, Scalar::Sint64)),
        payload: Some(single(16, Scalar::Bytes)),
        sent_at: Some(below(3, Cardinality::Single, 2, Scalar::Double)),
    }
}

fn only_row<'a>(found: &Found<'a>) -> Row<'a> {
    let number = found.number().unwrap().unwrap();
    found.row(number)
}

/// Checks that the scanner finds in encoded frames what prost finds.
#[track_caller]
fn check_frame(bytes: &[u8]) {
    let frame = Frame::decode(bytes).unwrap();
    let meta = frame.meta.unwrap_or_default();
    let mut scanner = Scanner::new(&frame_layout());
    let found = scanner.scan(bytes).unwrap();
    assert_eq!(found.sequence().collect::<Vec<_>>(), [frame.row_index]);
    let row = only_row(&found);
    assert_eq!(
        (row.sequence, row.key),
        (frame.row_index, Key::Number(meta.key))
    );
    assert_eq!(
        (row.digest, row.bytes),
        (RowDigest::of(&frame.main_data), frame.main_data.len())
    );
    let sent_at = float_ns(meta.sent_at * 1e9);
    assert_eq!(found.sent_at_ns(1_000_000_000), sent_at);
}

#[test]
fn absent_fields_are_their_default() {
    check_frame(&[]);
    let mut scanner = Scanner::new(&only(single(2, Scalar::Int64)));
    let found = scanner.scan(b"").unwrap();
    assert_eq!(
        (found.rows(), found.key(0), found.payload_len()),
        (1, Some(Key::Number(0)), 0)
    );
    assert_eq!(found.sent_at_ns(1), None);
}

#[test]
fn a_message_is_its_own_payload_where_none_is_named() {
    let bytes = Frame {
        row_index: 5,
        main_data: vec![1; 9],
        ..Frame::default()
    }
    .encode_to_vec();
    let mut scanner = Scanner::new(&only(single(2, Scalar::Int64)));
    let row = only_row(&scanner.scan(&bytes).unwrap());
    assert_eq!(
        (row.digest, row.bytes, row.key),
        (RowDigest::of(&bytes), bytes.len(), Key::Number(5))
    );
}

#[test]
fn rows_in_repeated_messages_have_one_value_each() {
    let rows = [5, 0, 7]
        .map(|key| Meta {
            key,
            name: format!("n{key}"),
            ..Meta::default()
        })
        .to_vec();
    let bytes = Block {
        rows,
        ..Block::default()
    }
    .encode_to_vec();
    let mut layout = only(below(3, Cardinality::Repeated, 1, Scalar::Sint64));
    layout.key = Some(below(3, Cardinality::Repeated, 3, Scalar::String));
    let mut scanner = Scanner::new(&layout);
    let found = scanner.scan(&bytes).unwrap();
    assert_eq!(
        found.sequence().collect::<Vec<_>>(),
        [5, 0, 7],
        "the default of one is read too"
    );
    assert_eq!(found.key(1), Some(Key::Text("n0".into())));
    assert_eq!(found.number(), Err(RowShape::Several { rows: 3 }));
}

#[test]
fn elements_of_a_payload_are_concatenated() {
    let block = Block {
        unpacked: vec![-9],
        pieces: vec![b"ab".to_vec(), vec![], b"c".to_vec()],
        ..Block::default()
    };
    let bytes = block.encode_to_vec();
    let mut layout = only(repeated(2, Scalar::Sint32));
    layout.payload = Some(repeated(4, Scalar::Bytes));
    let mut scanner = Scanner::new(&layout);
    let row = only_row(&scanner.scan(&bytes).unwrap());
    assert_eq!(
        (row.sequence, row.digest, row.bytes),
        (-9, RowDigest::of(b"abc"), 3)
    );
    // Numbers as payload: packed or not, the same bytes.
    layout.payload = Some(repeated(4, Scalar::Float));
    layout.sequence = single(2, Scalar::Int64);
    let packed = Frame {
        samples: vec![1.5, -2.0],
        ..Frame::default()
    }
    .encode_to_vec();
    let mut unpacked = Vec::new();
    for sample in [1.5f32, -2.0] {
        unpacked.push(4 << 3 | 5);
        unpacked.extend(sample.to_le_bytes());
    }
    let mut scanner = Scanner::new(&layout);
    let digest = scanner.scan(&packed).unwrap().payload_digest();
    assert_eq!(scanner.scan(&unpacked).unwrap().payload_digest(), digest);
}

#[test]
fn parts_that_disagree_are_an_error_of_shape() {
    let mut layout = only(repeated(1, Scalar::Int32));
    layout.key = Some(repeated(5, Scalar::Fixed64));
    layout.payload = Some(repeated(4, Scalar::Bytes));
    let mut scanner = Scanner::new(&layout);
    let mut shape = |block: Block| {
        scanner
            .scan(&block.encode_to_vec())
            .unwrap()
            .number()
            .map(|number| number.is_some())
    };
    assert_eq!(shape(Block::default()), Ok(false));
    assert_eq!(
        shape(Block {
            packed: vec![1],
            wide: vec![1],
            ..Block::default()
        }),
        Ok(true)
    );
    assert_eq!(
        shape(Block {
            packed: vec![1],
            ..Block::default()
        }),
        Err(RowShape::Disagree {
            rows: 1,
            keys: 0,
            bytes: 0
        })
    );
    assert_eq!(
        shape(Block {
            pieces: vec![vec![0; 3]],
            ..Block::default()
        }),
        Err(RowShape::Disagree {
            rows: 0,
            keys: 0,
            bytes: 3
        })
    );
    assert_eq!(
        shape(Block {
            packed: vec![1, 2],
            wide: vec![1, 2],
            ..Block::default()
        }),
        Err(RowShape::Several { rows: 2 })
    );
}

#[test]
fn keys_that_no_i64_holds_are_text() {
    let mut layout = only(single(9, Scalar::Int32));
    layout.key = Some(repeated(5, Scalar::Fixed64));
    let bytes = Block {
        wide: vec![u64::MAX, 7],
        ..Block::default()
    }
    .encode_to_vec();
    let mut scanner = Scanner::new(&layout);
    let found = scanner.scan(&bytes).unwrap();
    assert_eq!(found.key(0), Some(Key::Text("18446744073709551615".into())));
    assert_eq!((found.key(1), found.key(2)), (Some(Key::Number(7)), None));
    layout.key = Some(single(16, Scalar::Bytes));
    let bytes = Frame {
        main_data: vec![0, 255],
        ..Frame::default()
    }
    .encode_to_vec();
    assert_eq!(
        Scanner::new(&layout).scan(&bytes).unwrap().key(0),
        Some(Key::Text("00ff".into()))
    );
}

#[test]
fn times_that_cannot_be_are_none() {
    let mut layout = only(single(1, Scalar::Int32));
    layout.sent_at = Some(single(2, Scalar::Int64));
    let mut scanner = Scanner::new(&layout);
    let mut at = |row_index, unit| {
        let bytes = Frame {
            row_index,
            ..Frame::default()
        }
        .encode_to_vec();
        scanner.scan(&bytes).unwrap().sent_at_ns(unit)
    };
    assert_eq!(
        at(1_795_367_730_123, 1_000_000),
        Some(1_795_367_730_123_000_000)
    );
    assert_eq!(
        (at(i64::MAX, 1_000_000), at(i64::MAX, u64::MAX)),
        (None, None)
    );
    assert_eq!(
        (
            float_ns(f64::NAN),
            float_ns(f64::INFINITY),
            float_ns(1e19),
            float_ns(-1.0)
        ),
        (None, None, None, Some(-1))
    );
}

#[track_caller]
fn refused(bytes: &[u8], expect: ScanError) {
    let mut scanner = Scanner::new(&frame_layout());
    assert_eq!(scanner.scan(bytes).err(), Some(expect));
    assert!(Frame::decode(bytes).is_err(), "prost refuses it too");
}

#[test]
fn what_is_malformed_is_refused() {
    refused(&[0x10], ScanError::Truncated);
    refused(&[0x10, 0x80], ScanError::Truncated);
    refused(
        &[
            0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02,
        ],
        ScanError::Varint,
    );
    refused(&[0x00, 0x00], ScanError::Tag);
    refused(&[0x16, 0x00], ScanError::Tag);
    refused(&[0x82, 0x01, 0x05, 0x00], ScanError::Truncated);
    refused(
        &[
            0x82, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
        ],
        ScanError::Truncated,
    );
    refused(&[0x12, 0x00], ScanError::WireType { number: 2 });
    refused(&[0x18, 0x00], ScanError::WireType { number: 3 });
    refused(&[0x1a, 0x02, 0x11, 0x00], ScanError::Truncated);
    // Groups: skipped if whole, whatever is in them.
    refused(&[0x6c], ScanError::Group);
    refused(&[0x6b, 0x74], ScanError::Group);
    refused(&[0x6b], ScanError::Truncated);
    refused(&[0x6b; 1_000_000], ScanError::Group);
    check_frame(&[0x6b, 0x73, 0x08, 0x01, 0x74, 0x6c, 0x10, 0x07]);
}

fn metas() -> impl Strategy<Value = Meta> {
    let name =
        prop::collection::vec(any::<char>(), 0..4).prop_map(|chars| chars.into_iter().collect());
    (any::<i64>(), -1e9..1e9f64, name).prop_map(|(key, sent_at, name)| Meta { key, sent_at, name })
}

fn frames() -> impl Strategy<Value = Frame> {
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    let samples = prop::collection::vec(any::<f32>(), 0..4);
    (
        any::<i32>(),
        any::<i64>(),
        prop::option::of(metas()),
        samples,
        bytes,
        "[a-z]{0,200}",
    )
        .prop_map(
            |(before, row_index, meta, samples, main_data, last)| Frame {
                before,
                row_index,
                meta,
                samples,
                main_data,
                last,
            },
        )
}

proptest! {
    /// Messages may be encoded in parts; of single fields the last one wins, and messages merge.
    #[test]
    fn the_scanner_reads_what_prost_reads(parts in prop::collection::vec(frames(), 1..4)) {
        let bytes: Vec<u8> = parts.iter().flat_map(Message::encode_to_vec).collect();
        check_frame(&bytes);
    }

    #[test]
    fn lists_are_read_in_order(
        packed: Vec<i32>, unpacked: Vec<i32>, rows in prop::collection::vec(metas(), 0..5), wide: Vec<u64>, cut in any::<bool>(),
    ) {
        let block = Block { packed, unpacked, rows, wide, pieces: Vec::new() };
        let mut bytes = block.encode_to_vec();
        let mut times = 1;
        if cut {
            // Twice the same: lists grow.
            bytes.extend(bytes.clone());
            times = 2;
        }
        let twice = |values: Vec<i64>| values.repeat(times);
        let mut layout = only(repeated(1, Scalar::Int32));
        layout.key = Some(repeated(5, Scalar::Fixed64));
        let mut scanner = Scanner::new(&layout);
        let found = scanner.scan(&bytes).unwrap();
        prop_assert_eq!(found.sequence().collect::<Vec<_>>(), twice(block.packed.iter().map(|n| i64::from(*n)).collect()));
        prop_assert_eq!(found.keys(), block.wide.len() * times);
        let mut scanner = Scanner::new(&only(repeated(2, Scalar::Sint32)));
        let found = scanner.scan(&bytes).unwrap();
        prop_assert_eq!(found.sequence().collect::<Vec<_>>(), twice(block.unpacked.iter().map(|n| i64::from(*n)).collect()));
        let mut scanner = Scanner::new(&only(below(3, Cardinality::Repeated, 1, Scalar::Sint64)));
        let found = scanner.scan(&bytes).unwrap();
        prop_assert_eq!(found.sequence().collect::<Vec<_>>(), twice(block.rows.iter().map(|row| row.key).collect()));
    }

    /// Truncated anywhere, or with bytes flipped: an error or a value, never a panic, and prost's value where it has one.
    #[test]
    fn hostile_bytes_never_panic(
        frame in frames(), keep in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>(), byte: u8,
    ) {
        let mut bytes = frame.encode_to_vec();
        bytes.push(0);
        bytes.truncate(keep.index(bytes.len()));
        if !bytes.is_empty() {
            let place = flip.index(bytes.len());
            bytes[place] = byte;
        }
        let mut scanner = Scanner::new(&frame_layout());
        let found = scanner.scan(&bytes).ok().map(|found| (found.sequence().next(), found.payload_digest()));
        if let Ok(frame) = Frame::decode(bytes.as_slice()) {
            prop_assert_eq!(found, Some((Some(frame.row_index), RowDigest::of(&frame.main_data))));
        }
    }
}
