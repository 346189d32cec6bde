//! What the rows of a stream are compared with: one truth per variant.

use std::collections::HashMap;
use std::rc::Rc;

use testmesh_shared::digest::{Digest, Hasher, RowDigest};
use testmesh_shared::integrity::{Found, Key, Row};
use testmesh_shared::plan::expr::Value;
use testmesh_shared::plan::{self, TruthOf};
use tokio::time::Instant;

use super::checker::{Ending, Over};
use super::faults::Faults;
use crate::driver::contract::{Attempt, Meter, RowCounts, RowKey, StageError};
use crate::limits;

/// The truth of one stream.
#[derive(Debug)]
pub(super) enum Truth<'a> {
    /// None: rows need only be in order.
    Order,
    /// Other sessions, row by row. The coordinator compares.
    Agree(Group<'a>),
    /// Other sessions, stream by stream. The coordinator compares.
    AgreeStream(Group<'a>),
    /// A list that an earlier stage saved.
    Rows(Listed),
    /// Documents that are read beside the streams.
    #[cfg(feature = "mongodb")]
    Documents(Box<super::documents::Join>),
    /// The digest of the whole stream, or why it is none.
    Digest(Result<Digest, String>),
}

/// A group of sessions that see the same.
pub(super) struct Group<'a> {
    meter: &'a dyn Meter,
    session: u64,
    name: Rc<str>,
}

impl std::fmt::Debug for Group<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Group").field(&self.name).finish()
    }
}

/// The digests of a list, by key.
#[derive(Debug)]
pub(super) enum Listed {
    Read {
        rows: HashMap<RowKey, Entry>,
        /// Whether it has every row that is to come.
        complete: bool,
    },
    /// The list could not be read, and why.
    Unreadable(String),
}

/// One row of a list.
#[derive(Debug)]
pub(super) struct Entry {
    digest: RowDigest,
    seen: bool,
}

impl<'a> Truth<'a> {
    /// The truth that the plan names, for one stream.
    ///
    /// # Errors
    ///
    /// If the group has no name. A list that cannot be read is no error: its rows are unverified.
    pub(super) fn new(
        truth: Option<&plan::Truth>,
        attempt: &'a Attempt<'a>,
    ) -> Result<Self, StageError> {
        Ok(match truth {
            None => Self::Order,
            Some(plan::Truth::Agree { group, of }) => {
                let name = group
                    .text(attempt.scope)
                    .map_err(|error| StageError::template("truth", &error))?;
                if name.len() > limits::GROUP_BYTES {
                    let message = format!(
                        "the name of the group has {} bytes, and {} are allowed",
                        name.len(),
                        limits::GROUP_BYTES
                    );
                    let error = StageError::new(plan::ErrorKind::Expectation, message);
                    return Err(error.with_code("bad_group"));
                }
                let group = Group {
                    meter: attempt.meter,
                    session: attempt.session,
                    name: Rc::from(&*name),
                };
                match of {
                    TruthOf::Rows => Self::Agree(group),
                    TruthOf::Stream => Self::AgreeStream(group),
                }
            }
            Some(plan::Truth::Rows { list, complete }) => {
                let read = list
                    .evaluate(attempt.scope)
                    .map_err(|error| error.to_string());
                let read = read.and_then(|list| Listed::read(&list, *complete));
                Self::Rows(read.unwrap_or_else(Listed::Unreadable))
            }
            Some(plan::Truth::Digest { digest }) => {
                let read = digest
                    .text(attempt.scope)
                    .map_err(|error| error.to_string());
                let parse = |text: &str| match text.parse() {
                    Ok(digest) => Ok(digest),
                    Err(_) => Err(format!(
                        "{} is not a digest of 32 lowercase hex digits",
                        quoted(text)
                    )),
                };
                Self::Digest(read.and_then(|text| parse(&text)))
            }
            #[cfg(feature = "mongodb")]
            Some(plan::Truth::Mongodb(documents)) => {
                let query = crate::driver::mongodb::Query::render(documents, attempt.scope);
                let gate = attempt.connections.gate();
                let listing = query.and_then(|query| attempt.truths.listing(query, gate));
                match listing {
                    Ok(listing) => {
                        let join = super::documents::Join::new(listing, documents.complete);
                        Self::Documents(Box::new(join))
                    }
                    Err(reason) => Self::Rows(Listed::Unreadable(reason)),
                }
            }
            Some(other) => {
                let message = format!("this build cannot compare with {other:?}");
                return Err(StageError::new(plan::ErrorKind::Internal, message));
            }
        })
    }

    /// Whether the digest of the whole stream is needed.
    pub(super) const fn needs_stream_digest(&self) -> bool {
        matches!(self, Self::AgreeStream(_) | Self::Digest(Ok(_)))
    }

    /// Whether rows are compared one by one, by their key and digest.
    pub(super) const fn compares_rows(&self) -> bool {
        match self {
            Self::Agree(_) | Self::Rows(_) => true,
            #[cfg(feature = "mongodb")]
            Self::Documents(_) => true,
            Self::Order | Self::AgreeStream(_) | Self::Digest(_) => false,
        }
    }

    /// Takes rows that are not compared one by one.
    #[inline]
    pub(super) const fn uncompared(&self, rows: u64, counts: &mut RowCounts) {
        if matches!(self, Self::Order) {
            counts.verified += rows;
        }
    }

    /// Compares one row, or leaves that to the coordinator.
    #[inline]
    pub(super) fn row(&mut self, row: &Row<'_>, counts: &mut RowCounts, faults: &mut Faults) {
        match self {
            Self::Order | Self::AgreeStream(_) | Self::Digest(_) => self.uncompared(1, counts),
            Self::Agree(group) => {
                group.meter.agree_row(
                    &group.name,
                    &row_key(&row.key),
                    row.digest.as_u64(),
                    group.session,
                );
            }
            #[cfg(feature = "mongodb")]
            Self::Documents(join) => join.row(row, counts, faults),
            Self::Rows(Listed::Unreadable(reason)) => {
                if counts.unverified == 0 {
                    faults.unreadable(reason);
                }
                counts.unverified += 1;
            }
            Self::Rows(Listed::Read { rows, .. }) => {
                let listed = rows.get_mut(&row_key(&row.key)).map(|entry| {
                    entry.seen = true;
                    entry.digest
                });
                if listed == Some(row.digest) {
                    counts.verified += 1;
                } else {
                    // A row that is not in the list should not be in the stream.
                    counts.mismatched += 1;
                    faults.mismatched(&row.key, row.digest, listed);
                }
            }
        }
    }

    /// Compares rows that waited for their truth to be read.
    #[inline]
    pub(super) fn advance(&mut self, counts: &mut RowCounts, faults: &mut Faults) {
        #[cfg(feature = "mongodb")]
        if let Self::Documents(join) = self {
            join.advance(counts, faults);
        }
        let _ = (counts, faults);
    }

    /// Whether so many rows wait for their truth that the stream should wait too.
    #[inline]
    pub(super) fn is_behind(&self) -> bool {
        #[cfg(feature = "mongodb")]
        if let Self::Documents(join) = self {
            return join.is_behind();
        }
        false
    }

    /// Whether everything that came can be judged, and what did not come too.
    pub(super) fn is_settled(&mut self) -> bool {
        #[cfg(feature = "mongodb")]
        if let Self::Documents(join) = self {
            return join.is_settled();
        }
        true
    }

    /// Waits until more of the truth has been read; false: not by then.
    pub(super) async fn progress(&mut self, until: Instant) -> bool {
        #[cfg(feature = "mongodb")]
        if let Self::Documents(join) = self {
            return join.progress(until).await;
        }
        let _ = until;
        false
    }

    /// The stream is over: what could not be said row by row.
    pub(super) fn end(&mut self, over: &Over<'_>, counts: &mut RowCounts, faults: &mut Faults) {
        match self {
            Self::AgreeStream(group) => group.end(over, counts),
            #[cfg(feature = "mongodb")]
            Self::Documents(join) => join.end(over, counts, faults),
            Self::Rows(Listed::Read {
                rows,
                complete: true,
            }) if over.ending == Ending::Whole => {
                if let Some((missing, first)) = absent(rows, over) {
                    counts.missing += missing;
                    faults.absent(missing, format!("first key {first}"));
                }
            }
            Self::Digest(truth) => end_of_digested(truth, over, counts, faults),
            Self::Order | Self::Agree(_) | Self::Rows(_) => {}
        }
    }
}

impl Group<'_> {
    fn end(&self, over: &Over<'_>, counts: &mut RowCounts) {
        match (over.digest, over.ending) {
            (Some(digest), Ending::Whole | Ending::Stopped) if over.rows > 0 => {
                self.meter
                    .agree_stream(&self.name, digest, over.rows, self.session);
            }
            // A part of a stream is equal to no whole one, and proves nothing.
            _ => counts.unwitnessed += over.rows,
        }
    }
}

/// Rows of a complete list that never came and that the sequence does not miss already, and the key of the first of them.
///
/// Where rows are listed by their number, each is looked up. Where they have keys of their own, nobody knows which of them a
/// gap of the sequence stands for; that every gap is one of the list is then assumed, so that no row is counted twice.
fn absent(rows: &HashMap<RowKey, Entry>, over: &Over<'_>) -> Option<(u64, String)> {
    let never_came = rows.iter().filter(|(_, entry)| !entry.seen);
    let (mut missing, mut first) = (0_u64, None);
    for (key, _) in never_came {
        let counted = match key {
            RowKey::Number(number) => over.by_number && over.sequence.spans(*number),
            RowKey::Text(_) => false,
        };
        if !counted {
            missing += 1;
            first = first.min(Some(key)).or(Some(key));
        }
    }
    if !over.by_number {
        missing = missing.saturating_sub(over.gaps);
    }
    let first = match first? {
        RowKey::Number(number) => number.to_string(),
        RowKey::Text(text) => text.to_string(),
    };
    (missing > 0).then_some((missing, first))
}

/// All rows of a stream are right or wrong together, and nobody knows of a part of it.
fn end_of_digested(
    truth: &Result<Digest, String>,
    over: &Over<'_>,
    counts: &mut RowCounts,
    faults: &mut Faults,
) {
    let found = over.digest.map(Digest::from_u128);
    match (truth, found) {
        (Ok(truth), Some(found)) if over.ending == Ending::Whole => {
            if *truth == found {
                counts.verified += over.rows;
            } else if over.rows > 0 {
                counts.mismatched += over.rows;
                faults.stream_mismatched(over.rows, found, *truth);
            } else {
                // It has no row to be wrong; what was to come, one row at least, did not.
                counts.missing += 1;
                faults.absent(1, format!("of a stream whose digest is to be {truth}"));
            }
        }
        (Ok(_), _) => {
            counts.unverified += over.rows;
            if over.rows > 0 {
                faults.unreadable(
                    "the stream did not end by itself, and the digest is that of all of it",
                );
            }
        }
        (Err(reason), _) => {
            counts.unverified += over.rows;
            faults.unreadable(reason);
        }
    }
}

/// A key as it is shipped.
#[inline]
pub(super) fn row_key(key: &Key<'_>) -> RowKey {
    match key {
        Key::Number(number) => RowKey::Number(*number),
        Key::Text(text) if text.len() <= limits::KEY_BYTES => RowKey::Text(Box::from(&**text)),
        // The same on every agent, and as different as the texts are.
        Key::Text(text) => {
            let start = &text[..text.floor_char_boundary(limits::KEY_BYTES / 4)];
            let digest = RowDigest::of(text.as_bytes());
            RowKey::Text(format!("{start}…#{digest}").into())
        }
    }
}

impl Listed {
    /// Reads a list of `{key, digest}`.
    fn read(list: &Value, complete: bool) -> Result<Self, String> {
        let items = list
            .as_list()
            .ok_or_else(|| format!("a list is expected, not a {}", list.type_name()))?;
        let mut rows = HashMap::with_capacity(items.len());
        for item in items {
            let (key, digest) = (item.get("key"), item.get("digest"));
            let key = match key.map(|key| (key.as_i64(), key.as_str())) {
                Some((Some(number), _)) => RowKey::Number(number),
                Some((None, Some(text))) => row_key(&Key::Text(text.into())),
                _ => {
                    return Err(format!(
                        "{} has no `key` that is a number or a text",
                        shown(item)
                    ));
                }
            };
            let digest = digest
                .and_then(Value::as_str)
                .and_then(|digest| digest.parse::<RowDigest>().ok());
            let digest = digest.ok_or_else(|| {
                format!("{} has no `digest` of 16 lowercase hex digits", shown(item))
            })?;
            let entry = Entry {
                digest,
                seen: false,
            };
            let known = rows.insert(key, entry);
            if known.is_some_and(|known| known.digest != digest) {
                return Err(format!(
                    "{} is listed twice, with different digests",
                    shown(item)
                ));
            }
        }
        Ok(Self::Read { rows, complete })
    }
}

/// As much of an item as a message needs.
fn shown(item: &Value) -> String {
    quoted(&item.to_string())
}

/// As much of a text as a message needs.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(80) {
        None => format!("`{text}`"),
        Some((end, _)) => format!("`{}…`", &text[..end]),
    }
}

/// Digests the payload of a whole stream.
#[derive(Debug)]
pub(super) struct StreamDigest(Box<Hasher>);

impl StreamDigest {
    pub(super) fn new() -> Self {
        Self(Box::new(Hasher::new()))
    }

    pub(super) fn add(&mut self, found: &Found<'_>) {
        found.payload().for_each(|piece| self.0.update(piece));
    }

    pub(super) fn digest(&self) -> u128 {
        self.0.digest().as_u128()
    }
}
