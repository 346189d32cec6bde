//! Rows and streams that sessions of one worker saw, equal ones collapsed, for truths that compare users with each other.
//!
//! A row is counted once per session between two cuts, however many of the session's streams brought it. What the bound
//! leaves no room for is counted as a loss, and the coordinator reports those rows as unverified.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use crate::driver::RowKey;
use crate::limits;

/// The rows that are compared with each other: those of one group in one stage.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey {
    /// The scenario.
    pub scenario: Arc<str>,
    /// The stage.
    pub stage: Arc<str>,
    /// As the plan names it, resolved.
    pub group: Arc<str>,
}

/// How many distinct sessions saw something, and one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRow {
    /// The index of the first session that saw it.
    pub witness: u64,
    /// The others, each once.
    others: Vec<u64>,
}

impl SeenRow {
    fn new(session: u64) -> Self {
        Self {
            witness: session,
            others: Vec::new(),
        }
    }

    /// How many distinct sessions saw the row.
    pub fn sessions(&self) -> u32 {
        u32::try_from(self.others.len() + 1).unwrap_or(u32::MAX)
    }

    /// The sessions that saw the row, each once.
    #[cfg(test)]
    pub(crate) fn all(&self) -> Vec<u64> {
        let mut all = self.others.clone();
        all.push(self.witness);
        all
    }

    #[inline]
    fn add(&mut self, session: u64) {
        // Sessions come in bursts: the last one is the likeliest.
        if self.witness != session
            && self.others.last() != Some(&session)
            && !self.others.contains(&session)
        {
            self.others.push(session);
        }
    }

    /// Adds what another worker saw; no session runs on two workers.
    fn merge(&mut self, other: &Self) {
        self.add(other.witness);
        for &session in &other.others {
            self.add(session);
        }
    }
}

/// One whole stream that a session saw.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenStream {
    /// What it is compared with.
    pub group: GroupKey,
    /// XXH3-128 of its payload.
    pub digest: u128,
    /// Its rows.
    pub rows: u64,
    /// The index of the session.
    pub session: u64,
}

/// Rows of one group by key and digest.
pub(crate) type Rows = HashMap<(RowKey, u64), SeenRow, BuildHasherDefault<RowHasher>>;

/// A table of rows that sessions share, and the place that is left for more.
type Shared = Rc<RefCell<Rows>>;

/// Every group of one worker.
#[derive(Debug, Default)]
pub(crate) struct Witnesses {
    groups: HashMap<GroupKey, Shared>,
    streams: Vec<SeenStream>,
    room: Rc<Room>,
}

#[derive(Debug)]
struct Room {
    rows: Cell<usize>,
    lost: Cell<u64>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            rows: Cell::new(limits::WITNESS_ROWS),
            lost: Cell::new(0),
        }
    }
}

impl Witnesses {
    pub(crate) fn group(&mut self, key: GroupKey, session: u64) -> RowWitness {
        let rows = Rc::clone(self.groups.entry(key).or_default());
        RowWitness {
            rows,
            room: Rc::clone(&self.room),
            session,
        }
    }

    pub(crate) fn stream(&mut self, stream: SeenStream) {
        if self.streams.len() < limits::WITNESS_STREAMS {
            self.streams.push(stream);
        } else {
            self.room.lost.set(self.room.lost.get() + stream.rows);
        }
    }

    /// Takes rows, streams and the number of rows there was no room for; groups nobody watches any more are forgotten.
    pub(crate) fn take(&mut self) -> (HashMap<GroupKey, Rows>, Vec<SeenStream>, u64) {
        let mut taken = HashMap::new();
        self.groups.retain(|key, rows| {
            let content = std::mem::take(&mut *rows.borrow_mut());
            if !content.is_empty() {
                taken.insert(key.clone(), content);
            }
            Rc::strong_count(rows) > 1
        });
        self.room.rows.set(limits::WITNESS_ROWS);
        (
            taken,
            std::mem::take(&mut self.streams),
            self.room.lost.take(),
        )
    }
}

/// Adds rows of one worker to those of another, of which at most `bound` are kept. Returns how many were not.
pub(crate) fn merge(
    into: &mut HashMap<GroupKey, Rows>,
    from: HashMap<GroupKey, Rows>,
    bound: usize,
) -> u64 {
    let mut room = bound.saturating_sub(into.values().map(HashMap::len).sum());
    let mut lost = 0;
    for (group, rows) in from {
        let known = into.entry(group).or_default();
        for (row, seen) in rows {
            match known.get_mut(&row) {
                Some(before) => before.merge(&seen),
                None if room == 0 => lost += 1,
                None => {
                    room -= 1;
                    known.insert(row, seen);
                }
            }
        }
    }
    lost
}

/// One session's view of one group: where a stream reports the rows it saw.
#[derive(Debug)]
pub struct RowWitness {
    rows: Shared,
    room: Rc<Room>,
    session: u64,
}

impl RowWitness {
    /// The session saw a row with this key and XXH3-64 digest.
    #[inline]
    pub fn row(&self, key: &RowKey, digest: u64) {
        let mut rows = self.rows.borrow_mut();
        // A number's clone is a copy; text pays for its own.
        let place = (key.clone(), digest);
        if let Some(seen) = rows.get_mut(&place) {
            seen.add(self.session);
            return;
        }
        let Some(left) = self.room.rows.get().checked_sub(1) else {
            self.room.lost.set(self.room.lost.get() + 1);
            return;
        };
        self.room.rows.set(left);
        rows.insert(place, SeenRow::new(self.session));
    }
}

/// Mixes keys whose digests are already as good as random. Rows come from the server under test, but only their bytes, not
/// their digests, are its to choose, and a table lives for a second.
#[derive(Debug, Default)]
pub(crate) struct RowHasher(u64);

impl Hasher for RowHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        // FxHash's step, with a final avalanche left to the digest that is always the last word.
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_i64(&mut self, word: i64) {
        self.write_u64(word.cast_unsigned());
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_isize(&mut self, word: isize) {
        self.write(&word.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> GroupKey {
        GroupKey {
            scenario: "s".into(),
            stage: "a".into(),
            group: "g".into(),
        }
    }

    #[test]
    fn distinct_sessions_are_counted_once_each() {
        let mut witnesses = Witnesses::default();
        for session in [3, 4, 3, 5, 4] {
            witnesses.group(key(), session).row(&RowKey::Number(1), 99);
        }
        witnesses.group(key(), 6).row(&RowKey::Number(1), 98);
        let (taken, streams, lost) = witnesses.take();
        let rows = &taken[&key()];
        assert_eq!(rows[&(RowKey::Number(1), 99)].sessions(), 3);
        assert_eq!(rows[&(RowKey::Number(1), 99)].witness, 3);
        assert_eq!(rows[&(RowKey::Number(1), 98)].sessions(), 1);
        assert!(streams.is_empty() && lost == 0);
    }

    #[test]
    fn a_group_that_a_stream_still_watches_survives_the_cut() {
        let mut witnesses = Witnesses::default();
        let watch = witnesses.group(key(), 1);
        watch.row(&RowKey::Text("a".into()), 1);
        assert_eq!(witnesses.take().0.len(), 1);
        watch.row(&RowKey::Text("b".into()), 2);
        assert_eq!(witnesses.take().0.len(), 1);
        drop(watch);
        assert!(witnesses.take().0.is_empty());
        assert!(witnesses.groups.is_empty());
    }

    #[test]
    fn rows_beyond_the_bound_are_counted_as_lost() {
        let mut witnesses = Witnesses::default();
        witnesses.room.rows.set(1);
        let watch = witnesses.group(key(), 1);
        watch.row(&RowKey::Number(1), 1);
        watch.row(&RowKey::Number(2), 1);
        watch.row(&RowKey::Number(1), 1);
        let (taken, _, lost) = witnesses.take();
        assert_eq!((taken[&key()].len(), lost), (1, 1));
    }
}
