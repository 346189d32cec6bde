//! Rows against a truth that is read while they come.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use testmesh_shared::digest::RowDigest;
use testmesh_shared::integrity::{Key, Numbering, Row, Sequence};
use tokio::time::Instant;

use super::join::Join;
use super::listing::{Entry, Listing, ListingWriter};
use crate::driver::contract::RowCounts;
use crate::integrity::checker::{Ending, Over};
use crate::integrity::faults::Faults;
use crate::limits;

/// A truth that is being read, and a stream that is compared with it.
struct Compared {
    writer: ListingWriter,
    join: Join,
    counts: RowCounts,
    faults: Faults,
}

fn digest(number: i64) -> RowDigest {
    RowDigest::from_u64(number.unsigned_abs())
}

impl Compared {
    fn new(complete: bool) -> Self {
        let listing = Listing::new(&Arc::new(AtomicUsize::new(0)));
        Self {
            writer: ListingWriter::new(Arc::clone(&listing)),
            join: Join::new(listing, complete),
            counts: RowCounts::default(),
            faults: Faults::default(),
        }
    }

    fn is_read(&mut self, rows: impl IntoIterator<Item = i64>) {
        for row in rows {
            let entry = Entry::new(&Key::Number(row), digest(row)).expect("a short key");
            self.writer.push(entry).expect("room");
        }
    }

    fn comes(&mut self, rows: impl IntoIterator<Item = i64>) {
        for number in rows {
            let row = Row {
                sequence: number,
                key: Key::Number(number),
                digest: digest(number),
                bytes: 1,
            };
            self.join.row(&row, &mut self.counts, &mut self.faults);
        }
    }

    fn advance(&mut self) {
        self.join.advance(&mut self.counts, &mut self.faults);
    }

    /// The stream is over, which nothing else has counted gaps of.
    fn end(mut self, ending: Ending) -> RowCounts {
        let sequence = Sequence::numbered(Numbering::by(1).expect("a step"));
        let over = Over {
            ending,
            digest: None,
            rows: 0,
            by_number: false,
            sequence: &sequence,
            gaps: 0,
        };
        self.join.end(&over, &mut self.counts, &mut self.faults);
        self.counts
    }
}

fn verified(verified: u64) -> RowCounts {
    RowCounts {
        verified,
        ..RowCounts::default()
    }
}

/// So many rows are handed over at once.
const CHUNK: i64 = limits::TRUTH_CHUNK as i64;

#[test]
fn rows_wait_until_their_truth_has_been_read() {
    let mut compared = Compared::new(false);
    compared.comes(0..CHUNK + 10);
    assert_eq!(compared.counts, RowCounts::default());
    compared.is_read(0..CHUNK);
    compared.advance();
    assert_eq!(compared.counts, verified(CHUNK.unsigned_abs()));
    assert!(!compared.join.is_settled());
    compared.is_read(CHUNK..2 * CHUNK);
    compared.advance();
    assert_eq!(compared.counts, verified(CHUNK.unsigned_abs() + 10));
    assert!(compared.join.is_settled());
    assert_eq!(
        compared.end(Ending::Whole),
        verified(CHUNK.unsigned_abs() + 10)
    );
}

#[test]
fn what_was_not_read_by_the_end_is_unverified_and_nothing_is_imagined() {
    let mut compared = Compared::new(true);
    // 5 came late, behind a row whose truth was never read.
    compared.comes([3, 4, 6, 7, CHUNK + 1, 5]);
    compared.is_read(0..CHUNK);
    let expect = RowCounts {
        unverified: 1,
        ..verified(5)
    };
    assert_eq!(compared.end(Ending::Whole), expect);
}

#[test]
fn rows_that_there_is_no_room_for_are_unverified_and_not_missing() {
    let most = limits::TRUTH_PENDING as i64;
    let mut compared = Compared::new(false);
    compared.comes(0..most / 2 - 1);
    assert!(!compared.join.is_behind());
    compared.comes(most / 2 - 1..most + 7);
    assert!(compared.join.is_behind());
    compared.is_read(0..most + 3 * CHUNK);
    compared.advance();
    compared.comes(most + 7..most + 10);
    let expect = RowCounts {
        unverified: 7,
        ..verified(most.unsigned_abs() + 3)
    };
    assert_eq!(compared.end(Ending::Stopped), expect);
}

#[test]
fn a_reading_that_fails_leaves_what_it_has_read() {
    let mut compared = Compared::new(true);
    compared.is_read(0..CHUNK + 5);
    let writer = std::mem::replace(&mut compared.writer, Compared::new(false).writer);
    writer.end(Err("it burns".to_owned()));
    compared.comes([0, 1, 2, 1_000]);
    assert!(compared.join.is_settled());
    let expect = RowCounts {
        unverified: 1,
        ..verified(3)
    };
    assert_eq!(compared.end(Ending::Whole), expect);
}

#[tokio::test]
async fn progress_is_told_and_not_waited_for_for_ever() {
    let mut compared = Compared::new(false);
    let soon = Instant::now() + Duration::from_millis(10);
    assert!(!compared.join.progress(soon).await);
    compared.is_read(0..CHUNK);
    assert!(
        compared
            .join
            .progress(Instant::now() + Duration::from_secs(10))
            .await
    );
}
