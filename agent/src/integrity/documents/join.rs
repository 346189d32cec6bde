//! One stream's rows against the listing of its truth. Both are in the order of their keys, so a row is mostly compared with
//! the entry behind the last one; what comes out of order is searched for.
//!
//! Rows of which the truth has not been read yet wait, up to a bound.

use std::collections::VecDeque;
use std::sync::Arc;

use testmesh_shared::digest::RowDigest;
use testmesh_shared::integrity::{Key, Row};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::super::checker::{Ending, Over};
use super::super::faults::Faults;
use super::super::truth::row_key;
use super::listing::{Chunk, Ended, Listing, shown};
use super::seen::Seen;
use crate::driver::contract::{RowCounts, RowKey};
use crate::limits;

/// One stream's rows against the listing of its truth.
#[derive(Debug)]
pub(in super::super) struct Join {
    listing: Arc<Listing>,
    progress: watch::Receiver<()>,
    /// What this stream knows of the listing.
    chunks: Vec<Arc<Chunk>>,
    ended: Option<Ended>,
    /// The row that is to come next, if the stream leaves out none: its chunk, and its place there.
    next: (usize, usize),
    pending: VecDeque<(RowKey, RowDigest)>,
    /// Rows that there was no room for: they came, and nobody knows which they were.
    lost: u64,
    seen: Seen,
    complete: bool,
}

/// What a listing says of a key.
enum Found {
    /// The row's number in the listing, and what it must digest to.
    Row(usize, RowDigest),
    Absent,
    NotYet,
    Unreadable(Arc<str>),
}

impl Join {
    /// A stream that begins; with `complete`, all rows of the listing are to come.
    pub(in super::super) fn new(listing: Arc<Listing>, complete: bool) -> Self {
        let progress = listing.progress();
        let mut chunks = Vec::new();
        let ended = listing.refresh(&mut chunks);
        Self {
            listing,
            progress,
            chunks,
            ended,
            next: (0, 0),
            pending: VecDeque::new(),
            lost: 0,
            seen: Seen::default(),
            complete,
        }
    }

    /// Compares a row, or lets it wait.
    pub(in super::super) fn row(
        &mut self,
        row: &Row<'_>,
        counts: &mut RowCounts,
        faults: &mut Faults,
    ) {
        let key = row_key(&row.key);
        if self.pending.is_empty() && self.judge(&key, row.digest, counts, faults) {
            return;
        }
        if self.pending.len() >= limits::TRUTH_PENDING {
            counts.unverified += 1;
            self.lost += 1;
            faults.unreadable("rows come faster than its documents are read");
            return;
        }
        self.pending.push_back((key, row.digest));
    }

    /// Compares the rows that wait with what has been read since.
    pub(in super::super) fn advance(&mut self, counts: &mut RowCounts, faults: &mut Faults) {
        while let Some((key, digest)) = self.pending.pop_front() {
            if !self.judge(&key, digest, counts, faults) {
                self.pending.push_front((key, digest));
                return;
            }
        }
    }

    /// Whether so many rows wait that the stream should wait too.
    pub(in super::super) fn is_behind(&self) -> bool {
        self.pending.len() >= limits::TRUTH_PENDING / 2
    }

    /// Whether the rows and the end of the stream can be judged without reading on.
    pub(in super::super) fn is_settled(&mut self) -> bool {
        self.refresh();
        self.ended.is_some() || (self.pending.is_empty() && !self.complete)
    }

    /// Waits until more of the truth has been read; false: not by then.
    ///
    /// # Cancel safety
    ///
    /// It only waits.
    pub(in super::super) async fn progress(&mut self, until: Instant) -> bool {
        // The sender lives in the listing.
        timeout_at(until, self.progress.changed()).await.is_ok()
    }

    /// Says what becomes of a row, unless its truth has not been read yet.
    fn judge(
        &mut self,
        key: &RowKey,
        digest: RowDigest,
        counts: &mut RowCounts,
        faults: &mut Faults,
    ) -> bool {
        let fault = |faults: &mut Faults, truth| {
            let key = match key {
                RowKey::Number(number) => Key::Number(*number),
                RowKey::Text(text) => Key::Text((&**text).into()),
            };
            faults.mismatched(&key, digest, truth);
        };
        match self.find(key) {
            Found::NotYet => return false,
            Found::Row(at, truth) => {
                self.seen.insert(at);
                if truth == digest {
                    counts.verified += 1;
                } else {
                    counts.mismatched += 1;
                    fault(faults, Some(truth));
                }
            }
            // A row that is not in the truth should not be in the stream.
            Found::Absent => {
                counts.mismatched += 1;
                fault(faults, None);
            }
            Found::Unreadable(reason) => {
                counts.unverified += 1;
                faults.unreadable(&reason);
            }
        }
        true
    }

    fn refresh(&mut self) {
        if self.ended.is_none() {
            self.ended = self.listing.refresh(&mut self.chunks);
        }
    }

    fn find(&mut self, key: &RowKey) -> Found {
        if let Some(found) = self.expected(key) {
            return found;
        }
        let known = |chunks: &[Arc<Chunk>]| {
            let last = chunks.last().and_then(|chunk| chunk.rows.last());
            last.is_some_and(|last| *key <= last.key)
        };
        if !known(&self.chunks) {
            self.refresh();
        }
        let is_known = known(&self.chunks);
        let found = match is_known {
            true => self.search(key),
            false => Found::Absent,
        };
        match (found, &self.ended) {
            (Found::Absent, None) if !is_known => Found::NotYet,
            // What was read may not even have been in order: a row that is not in it may be somewhere else.
            (Found::Absent, Some(Err(reason))) => Found::Unreadable(Arc::clone(reason)),
            (found, _) => found,
        }
    }

    /// The entry behind the last one, if it is this one's.
    fn expected(&mut self, key: &RowKey) -> Option<Found> {
        let (mut chunk, mut place) = self.next;
        if place == self.chunks.get(chunk)?.rows.len() {
            (chunk, place) = (chunk + 1, 0);
        }
        let rows = self.chunks.get(chunk)?;
        let entry = rows.rows.get(place).filter(|entry| entry.key == *key)?;
        let found = Found::Row(rows.start + place, entry.digest);
        self.next = (chunk, place + 1);
        Some(found)
    }

    fn search(&mut self, key: &RowKey) -> Found {
        let behind = self.chunks.partition_point(|chunk| chunk.first() <= key);
        let Some(at) = behind.checked_sub(1) else {
            return Found::Absent;
        };
        let chunk = &self.chunks[at];
        match chunk.rows.binary_search_by(|entry| entry.key.cmp(key)) {
            Ok(place) => {
                self.next = (at, place + 1);
                Found::Row(chunk.start + place, chunk.rows[place].digest)
            }
            Err(_) => Found::Absent,
        }
    }

    /// The stream is over: rows whose truth was not read by now, and rows that never came.
    pub(in super::super) fn end(
        &mut self,
        over: &Over<'_>,
        counts: &mut RowCounts,
        faults: &mut Faults,
    ) {
        self.refresh();
        // Of rows that came out of order a later one may be known where an earlier one is not.
        for (key, digest) in std::mem::take(&mut self.pending) {
            if !self.judge(&key, digest, counts, faults) {
                counts.unverified += 1;
                faults.unreadable("the stream was over before its documents had been read");
            }
        }
        let whole = self.complete && over.ending == Ending::Whole;
        let total = self.chunks.last().map_or(0, |chunk| chunk.end());
        let total = match &self.ended {
            _ if !whole => None,
            Some(Ok(())) => Some(total),
            Some(Err(reason)) => {
                faults.unreadable(&format!("what was still to come is not known: {reason}"));
                None
            }
            None => {
                faults.unreadable("the stream was over before all of its documents had been read");
                None
            }
        };
        if let Some((missing, first)) = self.absent(over, total) {
            counts.missing += missing;
            faults.absent(missing, format!("first key {first}"));
        }
    }

    /// Rows that never came and that the sequence does not miss already, and the key of the first of them.
    ///
    /// Where rows have keys of their own nobody knows which of them a gap of the sequence stands for; that every gap is one of
    /// the listing is then assumed, so that no row is counted twice.
    fn absent(&self, over: &Over<'_>, total: Option<usize>) -> Option<(u64, String)> {
        // What the sequence numbers, it has counted itself.
        let (mut missing, first) = match self.seen.forgotten() {
            (rows, first) if !over.by_number => (rows, first),
            _ => (0, None),
        };
        let mut first = first.and_then(|first| self.key(first));
        for at in self.seen.missing(total) {
            let key = self.key(at)?;
            let counted = match key {
                RowKey::Number(number) => over.by_number && over.sequence.spans(*number),
                RowKey::Text(_) => false,
            };
            if !counted {
                missing += 1;
                first = first.or(Some(key));
            }
        }
        if !over.by_number {
            missing = missing.saturating_sub(over.gaps);
        }
        missing = missing.saturating_sub(self.lost);
        first
            .filter(|_| missing > 0)
            .map(|first| (missing, shown(first)))
    }

    fn key(&self, at: usize) -> Option<&RowKey> {
        let behind = self.chunks.partition_point(|chunk| chunk.start <= at);
        let chunk = self.chunks.get(behind.checked_sub(1)?)?;
        chunk.rows.get(at - chunk.start).map(|entry| &entry.key)
    }
}
