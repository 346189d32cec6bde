//! The rows of a message that share one payload. Messages of one row never come here: [`Found::number`] and
//! [`Found::row`] read those.

use std::num::NonZeroUsize;

use super::found::Found;
use super::rows::{Row, RowShape};
use crate::digest::RowDigest;

/// How the rows of a message share its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// One after another, each as long as the others.
    Rows,
    /// Side by side: an array in C order whose last dimension is the rows, of elements with so many bytes. A row is every
    /// element in its place, in their order.
    Stride(NonZeroUsize),
}

/// Divides the payloads of one stream, with one scratch space: at most one payload and one row of it.
#[derive(Debug, Clone)]
pub struct Splitter {
    split: Split,
    joined: Vec<u8>,
    row: Vec<u8>,
}

impl Splitter {
    /// Divides so.
    #[must_use]
    pub const fn new(split: Split) -> Self {
        Self {
            split,
            joined: Vec::new(),
            row: Vec::new(),
        }
    }

    /// Hands over every row of a message, in the order of their numbers, and says how many there are: none of a message that
    /// has neither numbers nor payload.
    ///
    /// # Errors
    /// [`RowShape::Disagree`], before any row is handed over, if there are not as many keys as rows, if the payload does not
    /// divide, or if it comes in as many pieces as there are rows and they are not equally long.
    pub fn rows<'f>(
        &mut self,
        found: &Found<'f>,
        mut take: impl FnMut(Row<'f>),
    ) -> Result<usize, RowShape> {
        let (rows, keys, bytes) = (found.rows(), found.keys(), found.payload_len());
        if (rows, keys, bytes) == (0, 0, 0) {
            return Ok(0);
        }
        let disagree = RowShape::Disagree { rows, keys, bytes };
        let element = match self.split {
            Split::Rows => 1,
            Split::Stride(element) => element.get(),
        };
        let together = rows.checked_mul(element).filter(|together| *together > 0);
        let fits = together.is_some_and(|together| bytes.is_multiple_of(together));
        if !fits || rows != keys || self.is_torn(found) {
            return Err(disagree);
        }
        let payload = joined(found, &mut self.joined);
        let length = bytes / rows;
        for (row, sequence) in found.sequence().enumerate() {
            let own = match self.split {
                Split::Rows => payload.get(row * length..(row + 1) * length),
                Split::Stride(_) => {
                    self.row.clear();
                    let elements = payload.chunks_exact(element).skip(row).step_by(rows);
                    elements.for_each(|element| self.row.extend_from_slice(element));
                    Some(self.row.as_slice())
                }
            };
            take(Row {
                sequence,
                key: found.key(row).ok_or(disagree)?,
                digest: RowDigest::of(own.ok_or(disagree)?),
                bytes: length,
            });
        }
        Ok(rows)
    }

    /// A piece for each row, and one of them is cut: dividing their sum evenly would cut all rows elsewhere.
    fn is_torn(&self, found: &Found<'_>) -> bool {
        let pieces = found.payload().count();
        let mut lengths = found.payload().map(<[u8]>::len);
        let first = lengths.next();
        self.split == Split::Rows
            && pieces == found.rows()
            && lengths.any(|length| Some(length) != first)
    }
}

/// The payload in one piece, where it lies if it is one.
fn joined<'s, 'f: 's>(found: &Found<'f>, scratch: &'s mut Vec<u8>) -> &'s [u8] {
    let mut pieces = found.payload();
    let first = pieces.next().unwrap_or_default();
    let Some(second) = pieces.next() else {
        return first;
    };
    scratch.clear();
    scratch.extend_from_slice(first);
    scratch.extend_from_slice(second);
    pieces.for_each(|piece| scratch.extend_from_slice(piece));
    scratch
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::integrity::{Cardinality, FieldPath, Key, Layout, Scalar, Scanner};

    #[derive(Clone, PartialEq, prost::Message)]
    struct Block {
        #[prost(int64, repeated, tag = "1")]
        numbers: Vec<i64>,
        #[prost(string, repeated, tag = "2")]
        keys: Vec<String>,
        #[prost(bytes = "vec", repeated, tag = "3")]
        pieces: Vec<Vec<u8>>,
    }

    fn scanner() -> Scanner {
        let list = |number, scalar| FieldPath::top(number, Cardinality::Repeated, scalar).unwrap();
        Scanner::new(&Layout {
            sequence: list(1, Scalar::Int64),
            key: Some(list(2, Scalar::String)),
            payload: Some(list(3, Scalar::Bytes)),
            sent_at: None,
        })
    }

    fn block(rows: usize, pieces: &[&[u8]]) -> Block {
        Block {
            numbers: (0..rows as i64).map(|row| 100 + row).collect(),
            keys: (0..rows).map(|row| format!("k{row}")).collect(),
            pieces: pieces.iter().map(|piece| piece.to_vec()).collect(),
        }
    }

    type Seen = Vec<(i64, String, RowDigest, usize)>;

    fn split(split: Split, block: &Block) -> Result<Seen, RowShape> {
        let (mut scanner, mut splitter) = (scanner(), Splitter::new(split));
        let bytes = block.encode_to_vec();
        let mut seen = Vec::new();
        let rows = splitter.rows(&scanner.scan(&bytes).unwrap(), |row| {
            let key = Key::into_owned(row.key).to_string();
            seen.push((row.sequence, key, row.digest, row.bytes));
        });
        assert_eq!(rows.unwrap_or_default(), seen.len());
        rows.map(|_| seen)
    }

    fn stride(element: usize) -> Split {
        Split::Stride(NonZeroUsize::new(element).unwrap())
    }

    #[track_caller]
    fn check(how: Split, pieces: &[&[u8]], expect: &[&[u8]]) {
        let expect: Seen = (0..)
            .zip(expect)
            .map(|(row, bytes)| {
                (
                    100 + row,
                    format!("k{row}"),
                    RowDigest::of(bytes),
                    bytes.len(),
                )
            })
            .collect();
        assert_eq!(split(how, &block(expect.len(), pieces)), Ok(expect));
    }

    #[test]
    fn a_payload_is_divided_among_its_rows() {
        check(Split::Rows, &[b"aabbcc"], &[b"aa", b"bb", b"cc"]);
        check(Split::Rows, &[b"aa", b"bb"], &[b"aa", b"bb"]);
        check(Split::Rows, &[b"a", b"abb", b"cc"], &[b"aab", b"bcc"]);
        check(Split::Rows, &[b"whole"], &[b"whole"]);
        check(Split::Rows, &[], &[b"", b""]);
        check(stride(1), &[b"abcabc"], &[b"aa", b"bb", b"cc"]);
        check(stride(2), &[b"aabbAABB"], &[b"aaAA", b"bbBB"]);
        check(stride(2), &[b"aab", b"bAABB"], &[b"aaAA", b"bbBB"]);
        check(stride(3), &[b"whole!"], &[b"whole!"]);
        assert_eq!(split(Split::Rows, &block(0, &[])), Ok(vec![]));
    }

    #[test]
    fn lengths_that_disagree_are_no_rows() {
        for (how, rows, pieces) in [
            (Split::Rows, 3, &[&b"1234"[..]][..]),
            (Split::Rows, 0, &[b"1234"]),
            (Split::Rows, 2, &[b"123", b"1"]),
            (stride(2), 3, &[b"12341234"]),
            (stride(8), 1, &[b"1234"]),
        ] {
            let block = block(rows, pieces);
            let found = split(how, &block).unwrap_err();
            assert_eq!(found.rows(), rows.max(1) as u64, "{how:?} {block:?}");
        }
        let mut fewer_keys = block(2, &[b"1122"]);
        fewer_keys.keys.pop();
        let disagree = RowShape::Disagree {
            rows: 2,
            keys: 1,
            bytes: 4,
        };
        assert_eq!(split(Split::Rows, &fewer_keys), Err(disagree));
    }

    fn rows() -> impl Strategy<Value = Vec<Vec<u8>>> {
        (1usize..8, 1usize..40).prop_flat_map(|(rows, bytes)| {
            prop::collection::vec(prop::collection::vec(any::<u8>(), bytes), rows)
        })
    }

    proptest! {
        /// However the payload is cut into pieces on its way, a row's digest is that of a message that has this row alone.
        #[test]
        fn rows_that_were_joined_digest_as_single_rows_do(rows in rows(), cut: prop::sample::Index, element in 1usize..5) {
            let single = |row: &Vec<u8>| {
                let block = Block { pieces: vec![row.clone()], ..block(1, &[]) };
                let bytes = block.encode_to_vec();
                let mut scanner = scanner();
                scanner.scan(&bytes).unwrap().payload_digest()
            };
            let digests = |block: &Block, how| -> Vec<RowDigest> {
                split(how, block).unwrap().into_iter().map(|(_, _, digest, _)| digest).collect()
            };
            let joined = rows.concat();
            let whole = block(rows.len(), &[&joined]);
            let expect: Vec<_> = rows.iter().map(single).collect();
            prop_assert_eq!(digests(&whole, Split::Rows), &expect[..]);
            let (before, after) = joined.split_at(cut.index(joined.len()));
            let middle = [before, b"", after];
            if middle.len() != rows.len() {
                prop_assert_eq!(digests(&block(rows.len(), &middle), Split::Rows), &expect[..]);
            }
            // The same rows, side by side: elements of each by turns.
            let wide: Vec<Vec<u8>> = rows.iter().map(|row| row.repeat(element)).collect();
            let turns = wide[0].len() / element;
            let mixed: Vec<u8> = (0..turns)
                .flat_map(|turn| wide.iter().flat_map(move |row| row[turn * element..][..element].to_vec()))
                .collect();
            let expect: Vec<_> = wide.iter().map(single).collect();
            prop_assert_eq!(digests(&block(rows.len(), &[&mixed]), stride(element)), expect);
        }
    }
}
