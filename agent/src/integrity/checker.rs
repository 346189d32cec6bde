//! Checks the encoded messages of one stream as they come. No allocation per message once the first ones were seen, no lock,
//! no clock.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use testmesh_shared::integrity::{Key, Order, OrderCounts, RowShape, ScanError, Scanner, Sequence};
use testmesh_shared::plan::{ErrorKind, Integrity};
use tokio::time::Instant;

use super::faults::Faults;
use super::latency::Latency;
use super::layout::Layout;
use super::truth::{StreamDigest, Truth};
use crate::driver::contract::{Attempt, Meter, RowCounts, StageError};

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The server ended it, and said so.
    Whole,
    /// The stage's `stop` was met.
    Stopped,
    /// The session was cut: by a stop, a time-out, or a sibling's failure.
    Cut,
    /// It failed.
    Broken,
}

/// Checks one stream. A retry is a new stream, and so needs a new checker.
#[derive(Debug)]
pub struct Checker<'a> {
    meter: &'a dyn Meter,
    scanner: Scanner,
    sequence: Sequence,
    /// What of the order the meter knows already.
    told: OrderCounts,
    /// What was counted since the meter was last told.
    news: RowCounts,
    truth: Truth<'a>,
    rows: u64,
    digest: Option<StreamDigest>,
    keys: Option<Box<Keys>>,
    latency: Option<Latency>,
    faults: Faults,
    sent_at_unit_ns: u64,
    /// Rows have numbers.
    ordered: bool,
}

impl<'a> Checker<'a> {
    /// A checker for a stream that begins now.
    ///
    /// # Errors
    ///
    /// If the truth's templates have no value.
    pub fn new(
        integrity: &Integrity,
        layout: &Layout,
        attempt: &'a Attempt<'a>,
    ) -> Result<Self, StageError> {
        let truth = Truth::new(integrity.truth.as_ref(), attempt)?;
        let wanted = truth.needs_stream_digest() || attempt.stage.reads("stream");
        Ok(Self {
            meter: attempt.meter,
            scanner: layout.scanner.clone(),
            sequence: Sequence::new(),
            told: OrderCounts::default(),
            news: RowCounts::default(),
            truth,
            rows: 0,
            digest: wanted.then(StreamDigest::new),
            keys: layout.has_key.then(Box::default),
            latency: layout.sent_at_unit_ns.map(|_| Latency::new()),
            faults: Faults::default(),
            sent_at_unit_ns: layout.sent_at_unit_ns.unwrap_or_default(),
            ordered: layout.ordered,
        })
    }

    /// Checks one message, and says how many rows it has, and whether it can be what the plan says. Rows of a message that
    /// cannot are counted all the same, as mismatched or unverified.
    ///
    /// The error is `protocol` with code `bad_message` if it is no such message; `integrity` with code `row_shape` or
    /// `key_not_unique`.
    #[inline]
    pub fn message(&mut self, at: Instant, message: &[u8]) -> (u64, Result<(), StageError>) {
        let found = match self.scanner.scan(message) {
            Ok(found) => found,
            Err(error) => {
                self.news.mismatched += 1;
                return (1, Err(unreadable(error, message)));
            }
        };
        if let Some(latency) = &mut self.latency {
            latency.message(at, found.sent_at_ns(self.sent_at_unit_ns), self.meter);
        }
        if let Some(digest) = &mut self.digest {
            digest.add(&found);
        }
        match found.row() {
            Ok(Some(row)) => {
                if self.ordered {
                    let order = self.sequence.push(row.sequence);
                    if order != Order::Next {
                        self.faults.order(order, row.sequence);
                    }
                }
                if let Some(keys) = &mut self.keys
                    && !keys.is_unique(&row.key, row.digest.as_u64())
                {
                    self.news.unverified += 1;
                    return (1, Err(key_not_unique(&row.key)));
                }
                self.truth.row(&row, &mut self.news, &mut self.faults);
                self.rows += 1;
                (1, Ok(()))
            }
            // Without numbers a message is a row, and may well be empty.
            Ok(None) if !self.ordered => (0, Ok(())),
            Ok(None) => {
                self.news.mismatched += 1;
                (1, Err(no_row(message)))
            }
            Err(shape) => {
                self.news.mismatched += shape.rows();
                (shape.rows(), Err(row_shape(shape)))
            }
        }
    }

    /// Tells the meter what was found; to be called once per wake-up.
    #[inline]
    pub fn flush(&mut self) {
        let order = self.sequence.counts();
        let told = std::mem::replace(&mut self.told, order);
        self.news.missing += order.missing - told.missing;
        self.news.repeated += order.repeated - told.repeated;
        self.news.reordered += order.reordered - told.reordered;
        let news = std::mem::take(&mut self.news);
        if news != RowCounts::default() {
            self.meter.integrity(&news);
        }
    }

    /// The stream is over. Returns the XXH3-128 of its payload, if somebody reads it.
    pub fn end(mut self, ending: Ending) -> Option<u128> {
        let digest = self.digest.as_ref().map(StreamDigest::digest);
        self.truth.end(digest, self.rows, ending, &mut self.news);
        self.flush();
        // Gaps below the greatest number are missing however the stream ended; what would have come after it never is.
        let first_gap = self.sequence.first_gap();
        let order = self.sequence.finish();
        let missing = order.missing - self.told.missing;
        if missing > 0 {
            self.meter.integrity(&RowCounts {
                missing,
                ..RowCounts::default()
            });
        }
        self.faults.tell(order, first_gap, self.meter);
        if let Some(latency) = self.latency {
            latency.end(self.meter);
        }
        digest
    }
}

fn unreadable(error: ScanError, message: &[u8]) -> StageError {
    let start = message[..message.len().min(16)].escape_ascii();
    let text = format!("a message of {} bytes ({start}…): {error}", message.len());
    StageError::new(ErrorKind::Protocol, text).with_code("bad_message")
}

fn no_row(message: &[u8]) -> StageError {
    let text = format!(
        "a message of {} bytes has no row: neither a number nor a payload",
        message.len()
    );
    StageError::new(ErrorKind::Integrity, text).with_code("row_shape")
}

fn row_shape(shape: RowShape) -> StageError {
    StageError::new(ErrorKind::Integrity, shape.to_string()).with_code("row_shape")
}

fn key_not_unique(key: &Key<'_>) -> StageError {
    let key = match key {
        Key::Number(number) => number.to_string(),
        Key::Text(text) => text.to_string(),
    };
    let text = format!(
        "the key {key} came twice in one stream, with different bytes: rows cannot be compared by it"
    );
    StageError::new(ErrorKind::Integrity, text).with_code("key_not_unique")
}

/// The keys of the last rows. One that comes again with other bytes is none: no truth can be found by it.
///
/// A table without probing: of keys that fall on one place the newest is remembered. So a reuse may be overlooked, which
/// costs a clear error and no wrong verdict, since rows that differ are then mismatched; and none is imagined.
#[derive(Debug)]
struct Keys([Option<(u64, u64)>; Keys::PLACES]);

impl Default for Keys {
    fn default() -> Self {
        Self([None; Self::PLACES])
    }
}

impl Keys {
    const PLACES: usize = 64;

    fn is_unique(&mut self, key: &Key<'_>, digest: u64) -> bool {
        let known = match key {
            Key::Number(number) => number.cast_unsigned(),
            Key::Text(text) => {
                let mut hasher = DefaultHasher::new();
                text.hash(&mut hasher);
                hasher.finish()
            }
        };
        // Fibonacci hashing: keys are often multiples of a step.
        let place =
            usize::try_from(known.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58).unwrap_or_default();
        match self.0[place].replace((known, digest)) {
            Some((before, other)) => before != known || other == digest,
            None => true,
        }
    }
}
