//! Rows and streams that sessions of one worker saw, equal ones collapsed, for truths that compare users with each other.
//!
//! A session is a witness of a row once, however often and in however many of its streams the row came: see [`SessionView`].
//! What the bounds leave no room for is refused, and counted as unverified by whoever brought it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

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

/// How many distinct sessions saw something, how many rows that was, and one of the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenRow {
    /// The index of one session that saw it.
    pub witness: u64,
    /// How many distinct sessions saw it first since their start. None: they had all reported it before.
    pub sessions: u32,
    /// How many rows that was: a session that sees a row again is no second witness, but its row wants to be counted.
    pub rows: u64,
}

impl SeenRow {
    const fn none(session: u64) -> Self {
        Self {
            witness: session,
            sessions: 0,
            rows: 0,
        }
    }

    #[inline]
    fn add(&mut self, session: u64, sight: Sight) {
        self.rows += 1;
        if sight == Sight::First {
            self.sessions = self.sessions.saturating_add(1);
            self.witness = session;
        }
    }

    /// Adds what another worker saw; no session runs on two workers.
    fn merge(&mut self, other: &Self) {
        self.rows = self.rows.saturating_add(other.rows);
        if self.sessions == 0 {
            self.witness = other.witness;
        }
        self.sessions = self.sessions.saturating_add(other.sessions);
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
    /// The session has reported an equal stream before: its rows count, and it is no further witness.
    pub again: bool,
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

/// What is left of a worker's bounds until the next cut.
#[derive(Debug)]
struct Room {
    /// For rows, in bytes on the wire.
    bytes: Cell<usize>,
    groups: Cell<usize>,
    /// Told once half of the bytes are taken, while there is time to cut.
    short: Rc<Notify>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            bytes: Cell::new(limits::WITNESS_BYTES),
            groups: Cell::new(limits::WITNESS_GROUPS),
            short: Rc::default(),
        }
    }
}

impl Room {
    fn take(&self, bytes: usize) -> Result<(), NoRoom> {
        let was_short = self.is_short();
        let left = self.bytes.get().checked_sub(bytes).ok_or(NoRoom)?;
        self.bytes.set(left);
        if self.is_short() && !was_short {
            self.short.notify_one();
        }
        Ok(())
    }

    fn is_short(&self) -> bool {
        self.bytes.get() < limits::WITNESS_BYTES / 2
    }
}

/// A bound left no place: the rows cannot be compared, and whoever brought them counts them as unverified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// What a row takes of a batch.
fn wire_bytes(key: &RowKey) -> usize {
    const NUMBERS: usize = 24;
    match key {
        RowKey::Number(_) => NUMBERS,
        RowKey::Text(text) => NUMBERS + text.len(),
    }
}

impl Witnesses {
    /// # Errors
    ///
    /// If there are too many groups since the last cut.
    pub(crate) fn group(
        &mut self,
        key: GroupKey,
        session: u64,
        view: &SessionView,
    ) -> Result<RowWitness, NoRoom> {
        let stream = view.stream(&key.group);
        let rows = match self.groups.get(&key) {
            Some(rows) => Rc::clone(rows),
            None => {
                let left = self.room.groups.get().checked_sub(1).ok_or(NoRoom)?;
                self.room.groups.set(left);
                Rc::clone(self.groups.entry(key).or_default())
            }
        };
        Ok(RowWitness {
            rows,
            room: Rc::clone(&self.room),
            session,
            stream,
        })
    }

    /// # Errors
    ///
    /// If there are too many streams since the last cut.
    pub(crate) fn stream(&mut self, stream: SeenStream) -> Result<(), NoRoom> {
        if self.streams.len() >= limits::WITNESS_STREAMS {
            return Err(NoRoom);
        }
        self.streams.push(stream);
        Ok(())
    }

    /// Told once half of the room for rows is taken.
    pub(crate) fn short(&self) -> Rc<Notify> {
        Rc::clone(&self.room.short)
    }

    /// Whether half of the room for rows is taken.
    pub(crate) fn is_short_of_room(&self) -> bool {
        self.room.is_short()
    }

    /// Takes rows and streams; groups nobody watches any more are forgotten.
    pub(crate) fn take(&mut self) -> (HashMap<GroupKey, Rows>, Vec<SeenStream>) {
        let mut taken = HashMap::new();
        self.groups.retain(|key, rows| {
            let content = std::mem::take(&mut *rows.borrow_mut());
            if !content.is_empty() {
                taken.insert(key.clone(), content);
            }
            Rc::strong_count(rows) > 1
        });
        self.room.bytes.set(limits::WITNESS_BYTES);
        let groups = limits::WITNESS_GROUPS.saturating_sub(self.groups.len());
        self.room.groups.set(groups);
        (taken, std::mem::take(&mut self.streams))
    }
}

/// The rows and streams of several workers, within the bounds of one batch.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    pub(crate) rows: HashMap<GroupKey, Rows>,
    pub(crate) streams: Vec<SeenStream>,
    bytes: usize,
}

impl Merged {
    /// Whether the next batch is better made now than when a second is over.
    pub(crate) fn is_large(&self) -> bool {
        self.bytes >= limits::MERGED_BYTES / 2
    }

    /// Adds what one worker saw. What exceeds the bounds is handed to `lost`, by the number of its rows.
    pub(crate) fn add(
        &mut self,
        rows: HashMap<GroupKey, Rows>,
        streams: Vec<SeenStream>,
        mut lost: impl FnMut(&GroupKey, u64),
    ) {
        for (group, rows) in rows {
            if !self.rows.contains_key(&group) && self.rows.len() >= limits::WITNESS_GROUPS {
                lost(&group, rows.values().map(|seen| seen.rows).sum());
                continue;
            }
            let known = self.rows.entry(group.clone()).or_default();
            let mut beyond = 0;
            for (row, seen) in rows {
                let bytes = self.bytes + wire_bytes(&row.0);
                match known.get_mut(&row) {
                    Some(before) => before.merge(&seen),
                    None if bytes > limits::MERGED_BYTES => beyond += seen.rows,
                    None => {
                        self.bytes = bytes;
                        known.insert(row, seen);
                    }
                }
            }
            lost(&group, beyond);
        }
        for stream in streams {
            if self.streams.len() < limits::WITNESS_STREAMS {
                self.streams.push(stream);
            } else {
                lost(&stream.group, stream.rows);
            }
        }
    }
}

/// Whether a session sees a row for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    First,
    Again,
}

/// What one session has reported of each group, so that it is never its own second witness. Dropped with the session.
///
/// For each of its streams it remembers the least and the greatest key. A key that lies between those of any stream of the
/// session counts as seen before, even if it is new there because rows came out of order or were left out: a row then has one
/// witness less, and none too many. Keys that are texts have no order, so of the streams of one session that have them only
/// the first is a witness.
#[derive(Debug, Default)]
pub struct SessionView {
    groups: RefCell<HashMap<Box<str>, Rc<GroupView>>>,
}

#[derive(Debug, Default)]
struct GroupView {
    streams: RefCell<Vec<Rc<StreamView>>>,
    digests: RefCell<Vec<u128>>,
}

/// The keys of one stream.
#[derive(Debug, Default)]
struct StreamView {
    numbers: Cell<Option<(i64, i64)>>,
    text: RefCell<Option<Box<str>>>,
}

impl SessionView {
    fn group(&self, name: &str) -> Rc<GroupView> {
        let mut groups = self.groups.borrow_mut();
        match groups.get(name) {
            Some(group) => Rc::clone(group),
            None => Rc::clone(groups.entry(name.into()).or_default()),
        }
    }

    fn stream(&self, group: &str) -> (Rc<GroupView>, Rc<StreamView>) {
        let group = self.group(group);
        let stream = Rc::new(StreamView::default());
        let mut streams = group.streams.borrow_mut();
        // Streams that brought nothing, refused tries above all, have nothing to say.
        streams.retain(|one| Rc::strong_count(one) > 1 || !one.is_empty());
        if streams.len() >= limits::STREAMS_OF_A_SESSION {
            let oldest = streams.remove(0);
            streams[0].cover(&oldest);
        }
        streams.push(Rc::clone(&stream));
        drop(streams);
        (group, stream)
    }

    /// Whether the session has reported a stream of this group with this digest before.
    pub(crate) fn has_streamed(&self, group: &str, digest: u128) -> bool {
        let group = self.group(group);
        let mut digests = group.digests.borrow_mut();
        let again = digests.contains(&digest);
        if !again && digests.len() < limits::STREAMS_OF_A_SESSION {
            digests.push(digest);
        }
        // Beyond the bound a session is taken for one that has seen everything.
        again || digests.len() >= limits::STREAMS_OF_A_SESSION
    }
}

impl StreamView {
    fn is_empty(&self) -> bool {
        self.numbers.get().is_none() && self.text.borrow().is_none()
    }

    fn cover(&self, other: &Self) {
        let hull = match (self.numbers.get(), other.numbers.get()) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        self.numbers.set(hull);
        if self.text.borrow().is_none() {
            self.text.replace(other.text.take());
        }
    }

    fn holds(&self, key: i64) -> bool {
        self.numbers
            .get()
            .is_some_and(|(least, most)| (least..=most).contains(&key))
    }

    /// Looks at a key of this stream. Whether it is new to the stream.
    #[inline]
    fn look(&self, key: &RowKey) -> bool {
        match key {
            RowKey::Number(key) => {
                let new = !self.holds(*key);
                if new {
                    let (least, most) = self.numbers.get().unwrap_or((*key, *key));
                    self.numbers.set(Some((least.min(*key), most.max(*key))));
                }
                new
            }
            RowKey::Text(text) => {
                let mut last = self.text.borrow_mut();
                let new = last.as_ref() != Some(text);
                if new {
                    *last = Some(text.clone());
                }
                new
            }
        }
    }
}

/// One stream's view of one group: where it reports the rows it saw.
#[derive(Debug)]
pub struct RowWitness {
    rows: Shared,
    room: Rc<Room>,
    session: u64,
    stream: (Rc<GroupView>, Rc<StreamView>),
}

impl RowWitness {
    /// The session saw a row with this key and XXH3-64 digest.
    ///
    /// # Errors
    ///
    /// If there is no room for it before the next cut: it cannot be compared.
    #[inline]
    pub fn row(&self, key: &RowKey, digest: u64) -> Result<(), NoRoom> {
        let sight = self.sight(key);
        let mut rows = self.rows.borrow_mut();
        // A number's clone is a copy; text pays for its own.
        match rows.entry((key.clone(), digest)) {
            Entry::Occupied(known) => known.into_mut().add(self.session, sight),
            Entry::Vacant(place) => {
                self.room.take(wire_bytes(key))?;
                place
                    .insert(SeenRow::none(self.session))
                    .add(self.session, sight);
            }
        }
        Ok(())
    }

    #[inline]
    fn sight(&self, key: &RowKey) -> Sight {
        let (group, own) = &self.stream;
        let new = own.look(key);
        let streams = group.streams.borrow();
        if new && (streams.len() == 1 || !Self::known_to_others(&streams, own, key)) {
            Sight::First
        } else {
            Sight::Again
        }
    }

    #[cold]
    fn known_to_others(streams: &[Rc<StreamView>], own: &Rc<StreamView>, key: &RowKey) -> bool {
        let mut others = streams.iter().filter(|one| !Rc::ptr_eq(one, own));
        match key {
            RowKey::Number(key) => others.any(|one| one.holds(*key)),
            RowKey::Text(_) => {
                // The first stream with texts is the witness.
                let first = streams.iter().find(|one| one.text.borrow().is_some());
                first.is_some_and(|first| !Rc::ptr_eq(first, own))
            }
        }
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

    fn watch(witnesses: &mut Witnesses, session: u64, view: &SessionView) -> RowWitness {
        witnesses.group(key(), session, view).unwrap()
    }

    /// What is known of the row with that number and digest.
    fn seen(rows: &Rows, number: i64, digest: u64) -> (u32, u64) {
        let seen = rows[&(RowKey::Number(number), digest)];
        (seen.sessions, seen.rows)
    }

    #[test]
    fn distinct_sessions_are_counted_once_each() {
        let mut witnesses = Witnesses::default();
        let views: [SessionView; 4] = std::array::from_fn(|_| SessionView::default());
        for session in [0_u32, 1, 0, 2, 1] {
            let view = &views[usize::try_from(session).unwrap()];
            watch(&mut witnesses, session.into(), view)
                .row(&RowKey::Number(1), 99)
                .unwrap();
        }
        watch(&mut witnesses, 3, &views[3])
            .row(&RowKey::Number(1), 98)
            .unwrap();
        let (taken, streams) = witnesses.take();
        assert_eq!(seen(&taken[&key()], 1, 99), (3, 5));
        assert_eq!(seen(&taken[&key()], 1, 98), (1, 1));
        assert!(streams.is_empty());
    }

    #[tokio::test]
    async fn whoever_cuts_is_told_while_there_is_room() {
        let mut witnesses = Witnesses::default();
        let view = SessionView::default();
        let stream = watch(&mut witnesses, 1, &view);
        let short = witnesses.short();
        for round in 0..3 {
            for number in 0..120_000 {
                stream.row(&RowKey::Number(number), round).unwrap();
            }
            let told = tokio::time::timeout(std::time::Duration::ZERO, short.notified());
            told.await.expect("half of the room is taken");
            witnesses.take();
        }
        let again = tokio::time::timeout(std::time::Duration::ZERO, short.notified());
        again.await.expect_err("the room is empty");
    }

    #[test]
    fn a_session_is_never_its_own_second_witness() {
        let mut witnesses = Witnesses::default();
        let view = SessionView::default();
        let first = watch(&mut witnesses, 7, &view);
        (0..10).for_each(|number| first.row(&RowKey::Number(number), 1).unwrap());
        drop(first);
        witnesses.take();
        // After a cut, in another stream: a retry, a second round, another stage of the same group.
        let again = watch(&mut witnesses, 7, &view);
        (5..15).for_each(|number| again.row(&RowKey::Number(number), 1).unwrap());
        let beside = watch(&mut witnesses, 7, &view);
        (14..16).for_each(|number| beside.row(&RowKey::Number(number), 1).unwrap());
        let (taken, _) = witnesses.take();
        let rows = &taken[&key()];
        assert_eq!(seen(rows, 5, 1), (0, 1));
        assert_eq!(seen(rows, 9, 1), (0, 1));
        assert_eq!(seen(rows, 10, 1), (1, 1));
        assert_eq!(seen(rows, 14, 1), (1, 2));
        assert_eq!(seen(rows, 15, 1), (1, 1));
        assert!(!view.has_streamed("g", 5));
        assert!(view.has_streamed("g", 5));
        assert!(!view.has_streamed("other", 5));
    }

    #[test]
    fn a_row_that_comes_twice_in_one_stream_is_two_rows_and_one_witness() {
        let mut witnesses = Witnesses::default();
        let view = SessionView::default();
        let stream = watch(&mut witnesses, 1, &view);
        for number in [1, 2, 2, 3] {
            stream.row(&RowKey::Number(number), 9).unwrap();
        }
        for text in ["a", "b", "b"] {
            stream.row(&RowKey::Text(text.into()), 9).unwrap();
        }
        let (taken, _) = witnesses.take();
        let rows = &taken[&key()];
        assert_eq!(seen(rows, 2, 9), (1, 2));
        assert_eq!(rows[&(RowKey::Text("b".into()), 9)].rows, 2);
        assert_eq!(rows[&(RowKey::Text("b".into()), 9)].sessions, 1);
    }

    #[test]
    fn a_session_of_many_streams_stays_bounded() {
        let mut witnesses = Witnesses::default();
        let view = SessionView::default();
        for number in 0..1_000 {
            watch(&mut witnesses, 1, &view)
                .row(&RowKey::Number(number), 9)
                .unwrap();
        }
        let group = view.group("g");
        assert!(group.streams.borrow().len() <= limits::STREAMS_OF_A_SESSION);
        let late = watch(&mut witnesses, 1, &view);
        late.row(&RowKey::Number(0), 9).unwrap();
        assert_eq!(seen(&witnesses.take().0[&key()], 0, 9), (1, 2));
    }

    #[test]
    fn a_group_that_a_stream_still_watches_survives_the_cut() {
        let mut witnesses = Witnesses::default();
        let view = SessionView::default();
        let stream = watch(&mut witnesses, 1, &view);
        stream.row(&RowKey::Text("a".into()), 1).unwrap();
        assert_eq!(witnesses.take().0.len(), 1);
        stream.row(&RowKey::Text("b".into()), 2).unwrap();
        assert_eq!(witnesses.take().0.len(), 1);
        drop(stream);
        assert!(witnesses.take().0.is_empty());
        assert!(witnesses.groups.is_empty());
    }

    #[test]
    fn what_the_bounds_leave_no_room_for_is_refused() {
        let mut witnesses = Witnesses::default();
        witnesses.room.bytes.set(60);
        let view = SessionView::default();
        let stream = watch(&mut witnesses, 1, &view);
        assert_eq!(stream.row(&RowKey::Number(1), 1), Ok(()));
        assert_eq!(
            stream.row(&RowKey::Text("x".repeat(40).into()), 1),
            Err(NoRoom)
        );
        assert_eq!(stream.row(&RowKey::Number(2), 1), Ok(()));
        assert_eq!(stream.row(&RowKey::Number(3), 1), Err(NoRoom));
        assert_eq!(
            stream.row(&RowKey::Number(1), 1),
            Ok(()),
            "it has its place"
        );
        witnesses.room.groups.set(0);
        let other = GroupKey {
            group: "h".into(),
            ..key()
        };
        assert!(witnesses.group(other, 1, &view).is_err());
        assert_eq!(witnesses.take().0[&key()].len(), 2);
    }

    #[test]
    fn what_one_batch_has_no_room_for_is_counted_by_its_rows() {
        let mut merged = Merged {
            bytes: limits::MERGED_BYTES - 30,
            ..Merged::default()
        };
        let rows = |numbers: [i64; 2]| {
            let seen = SeenRow {
                witness: 1,
                sessions: 2,
                rows: 3,
            };
            let rows = numbers.map(|number| ((RowKey::Number(number), 1), seen));
            HashMap::from([(key(), rows.into_iter().collect::<Rows>())])
        };
        let mut lost = 0;
        merged.add(rows([1, 2]), Vec::new(), |_, rows| lost += rows);
        assert_eq!(lost, 3);
        assert_eq!(merged.rows[&key()].len(), 1);
    }
}
