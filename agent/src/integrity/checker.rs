//! Checks the encoded messages of one stream as they come. No allocation per message once the first ones were seen, no lock,
//! no clock.

use testmesh_shared::integrity::{
    Key, Order, OrderCounts, Row, RowShape, ScanError, Scanner, Sequence, Splitter,
};
use testmesh_shared::plan::{ErrorKind, Integrity};
use tokio::time::Instant;

use super::faults::Faults;
use super::keys::Keys;
use super::latency::{Latency, ServerClock};
use super::layout::Layout;
use super::truth::{StreamDigest, Truth};
use crate::driver::contract::{Attempt, Meter, RowCounts, StageError};
use crate::limits;

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
    /// Divides payloads that many rows share. None: a message has one row.
    splitter: Option<Box<Splitter>>,
    rows: Rows<'a>,
    /// What of the order the meter knows already.
    told: OrderCounts,
    digest: Option<StreamDigest>,
    latency: Option<Latency>,
    sent_at_unit_ns: u64,
}

/// The rows of the stream, whichever way they were cut from their messages.
#[derive(Debug)]
struct Rows<'a> {
    sequence: Sequence,
    keys: Option<Box<Keys>>,
    truth: Truth<'a>,
    faults: Faults,
    /// What was counted since the meter was last told.
    news: RowCounts,
    /// Rows that are no stage error of their own.
    taken: u64,
    /// Rows have numbers.
    ordered: bool,
    /// Rows are compared one by one. If not, none is digested.
    compared: bool,
}

impl<'a> Checker<'a> {
    /// A checker for a stream that begins now, from a server whose clock was declared so; with `digest`, somebody reads what
    /// the whole stream digests to.
    ///
    /// # Errors
    ///
    /// If the truth's templates have no value.
    pub fn new(
        integrity: &Integrity,
        layout: &Layout,
        clock: Option<ServerClock>,
        attempt: &'a Attempt<'a>,
        digest: bool,
    ) -> Result<Self, StageError> {
        let truth = Truth::new(integrity.truth.as_ref(), attempt)?;
        let compared = layout.has_key || truth.compares_rows();
        let wanted = truth.needs_stream_digest() || digest;
        Ok(Self {
            meter: attempt.meter,
            scanner: layout.scanner.clone(),
            splitter: layout.splitter.clone().map(Box::new),
            rows: Rows {
                sequence: Sequence::numbered(layout.numbering),
                keys: layout.has_key.then(Box::default),
                truth,
                faults: Faults::default(),
                news: RowCounts::default(),
                taken: 0,
                ordered: layout.ordered,
                compared,
            },
            told: OrderCounts::default(),
            digest: wanted.then(StreamDigest::new),
            latency: (layout.sent_at_unit_ns).map(|_| Latency::of(clock, attempt.clock)),
            sent_at_unit_ns: layout.sent_at_unit_ns.unwrap_or_default(),
        })
    }

    /// Checks one message, and says how many rows it has, and whether it can be what the plan says. Rows of a message that
    /// cannot are counted all the same, as mismatched or unverified.
    ///
    /// The error is `protocol` with code `bad_message` if it is no such message; `integrity` with code `row_shape` or
    /// `key_not_unique`. It is boxed because the way back is taken for every message, and nearly always without one.
    #[inline]
    pub fn message(&mut self, at: Instant, message: &[u8]) -> (u64, Result<(), Box<StageError>>) {
        let found = match self.scanner.scan(message) {
            Ok(found) => found,
            Err(error) => {
                self.rows.news.mismatched += 1;
                return (1, Err(unreadable(error, message)));
            }
        };
        if let Some(latency) = &mut self.latency {
            latency.message(at, found.sent_at_ns(self.sent_at_unit_ns), self.meter);
        }
        if let Some(digest) = &mut self.digest {
            digest.add(&found);
        }
        if let Some(splitter) = &mut self.splitter {
            let mut all = Ok(());
            let rows = splitter.rows(&found, |row| {
                // Of a message with an error the other rows are rows all the same.
                let taken = self.rows.take(row.sequence, || row);
                if all.is_ok() {
                    all = taken;
                }
            });
            return match rows {
                Ok(0) => self.rows.none(message),
                Ok(rows) => (rows as u64, all),
                Err(shape) => self.rows.misshapen(shape),
            };
        }
        match found.number() {
            Ok(Some(number)) => (1, self.rows.take(number, || found.row(number))),
            // Without numbers a message is a row, and may well be empty.
            Ok(None) if !self.rows.ordered => (0, Ok(())),
            Ok(None) => self.rows.none(message),
            Err(shape) => self.rows.misshapen(shape),
        }
    }

    /// Whether so many rows wait for their truth to be read that the stream should not be read on.
    #[inline]
    pub fn is_behind(&self) -> bool {
        self.rows.truth.is_behind()
    }

    /// Waits until few rows wait for their truth, but not for ever.
    ///
    /// # Cancel safety
    ///
    /// It only waits, and compares.
    pub async fn catch_up(&mut self) {
        let until = Instant::now() + limits::TRUTH_HELD;
        while self.is_behind() && self.rows.truth.progress(until).await {
            self.rows.advance();
        }
    }

    /// The stream is over, and waits until its truth has been read, but not for ever: what has not been read then is
    /// unverified.
    ///
    /// # Cancel safety
    ///
    /// It only waits, and compares.
    pub async fn settle(&mut self) {
        let until = Instant::now() + limits::TRUTH_SETTLES;
        loop {
            self.rows.advance();
            if self.rows.truth.is_settled() || !self.rows.truth.progress(until).await {
                return;
            }
        }
    }

    /// Tells the meter what was found; to be called once per wake-up.
    #[inline]
    pub fn flush(&mut self) {
        self.rows.advance();
        let order = self.rows.sequence.counts();
        let told = std::mem::replace(&mut self.told, order);
        let news = &mut self.rows.news;
        news.missing += order.missing - told.missing;
        news.repeated += order.repeated - told.repeated;
        news.reordered += order.reordered - told.reordered;
        let news = std::mem::take(news);
        if news != RowCounts::default() {
            self.meter.integrity(&news);
        }
    }

    /// The stream is over. Returns the XXH3-128 of its payload, if somebody reads it.
    pub fn end(mut self, ending: Ending) -> Option<u128> {
        let digest = self.digest.as_ref().map(StreamDigest::digest);
        self.flush();
        let Rows {
            sequence,
            mut truth,
            mut faults,
            mut news,
            taken,
            keys,
            ..
        } = self.rows;
        // Gaps below the greatest number are missing however the stream ended; what would have come after it only if a
        // truth says that it was to come.
        let first_gap = sequence.first_gap();
        let order = sequence.clone().finish();
        news.missing += order.missing - self.told.missing;
        let over = Over {
            ending,
            digest,
            rows: taken,
            by_number: keys.is_none(),
            sequence: &sequence,
            gaps: order.missing,
        };
        truth.end(&over, &mut news, &mut faults);
        if news != RowCounts::default() {
            self.meter.integrity(&news);
        }
        faults.tell(order, first_gap, self.meter);
        if let Some(latency) = self.latency {
            latency.end(self.meter);
        }
        digest
    }
}

/// What is known of a stream that is over.
#[derive(Debug)]
pub(super) struct Over<'a> {
    pub(super) ending: Ending,
    /// XXH3-128 of the payload, if it was computed.
    pub(super) digest: Option<u128>,
    /// Rows that were no stage error of their own.
    pub(super) rows: u64,
    /// Rows are compared by their number.
    pub(super) by_number: bool,
    pub(super) sequence: &'a Sequence,
    /// Rows that the sequence misses.
    pub(super) gaps: u64,
}

impl Rows<'_> {
    /// Compares rows that waited for their truth.
    #[inline]
    fn advance(&mut self) {
        self.truth.advance(&mut self.news, &mut self.faults);
    }

    /// Checks one row. What it holds besides its number is asked for only if it is compared with something.
    #[inline]
    fn take<'m>(
        &mut self,
        number: i64,
        row: impl FnOnce() -> Row<'m>,
    ) -> Result<(), Box<StageError>> {
        if self.ordered {
            let order = self.sequence.push(number);
            if order != Order::Next {
                self.faults.order(order, number);
            }
        }
        if self.compared {
            self.compare(&row())?;
        } else {
            self.truth.uncompared(1, &mut self.news);
        }
        self.taken += 1;
        Ok(())
    }

    #[inline]
    fn compare(&mut self, row: &Row<'_>) -> Result<(), Box<StageError>> {
        if let Some(keys) = &mut self.keys
            && !keys.is_unique(&row.key, row.digest.as_u64())
        {
            self.news.unverified += 1;
            return Err(key_not_unique(&row.key));
        }
        self.truth.row(row, &mut self.news, &mut self.faults);
        Ok(())
    }

    /// A message without a row counts as one that is mismatched.
    #[cold]
    fn none(&mut self, message: &[u8]) -> (u64, Result<(), Box<StageError>>) {
        self.news.mismatched += 1;
        (1, Err(no_row(message)))
    }

    /// Rows that cannot be told apart are mismatched.
    #[cold]
    fn misshapen(&mut self, shape: RowShape) -> (u64, Result<(), Box<StageError>>) {
        self.news.mismatched += shape.rows();
        (shape.rows(), Err(row_shape(shape)))
    }
}

#[cold]
fn unreadable(error: ScanError, message: &[u8]) -> Box<StageError> {
    let start = message[..message.len().min(16)].escape_ascii();
    let text = format!("a message of {} bytes ({start}…): {error}", message.len());
    Box::new(StageError::new(ErrorKind::Protocol, text).with_code("bad_message"))
}

#[cold]
fn no_row(message: &[u8]) -> Box<StageError> {
    let text = format!(
        "a message of {} bytes has no row: neither a number nor a payload",
        message.len()
    );
    Box::new(StageError::new(ErrorKind::Integrity, text).with_code("row_shape"))
}

#[cold]
fn row_shape(shape: RowShape) -> Box<StageError> {
    Box::new(StageError::new(ErrorKind::Integrity, shape.to_string()).with_code("row_shape"))
}

#[cold]
fn key_not_unique(key: &Key<'_>) -> Box<StageError> {
    let key = match key {
        Key::Number(number) => number.to_string(),
        Key::Text(text) => text.to_string(),
    };
    let text = format!(
        "the key {key} came twice in one stream, with different bytes: rows cannot be compared by it"
    );
    Box::new(StageError::new(ErrorKind::Integrity, text).with_code("key_not_unique"))
}
