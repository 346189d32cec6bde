//! What the rows of a stream are compared with: one truth per variant.

use std::collections::HashMap;
use std::rc::Rc;

use testmesh_shared::digest::{Hasher, RowDigest};
use testmesh_shared::integrity::{Found, Key, Row};
use testmesh_shared::plan::expr::Value;
use testmesh_shared::plan::{self, TruthOf};

use super::checker::Ending;
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
    Read(HashMap<RowKey, RowDigest>),
    /// The list could not be read, and why.
    Unreadable(String),
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
            Some(plan::Truth::Rows { list }) => {
                let read = list
                    .evaluate(attempt.scope)
                    .map_err(|error| error.to_string());
                let read = read.and_then(|list| Listed::read(&list));
                Self::Rows(read.unwrap_or_else(Listed::Unreadable))
            }
            Some(other) => {
                let message = format!("this build cannot compare with {other:?}");
                return Err(StageError::new(plan::ErrorKind::Internal, message));
            }
        })
    }

    /// Whether the digest of the whole stream is needed.
    pub(super) const fn needs_stream_digest(&self) -> bool {
        matches!(self, Self::AgreeStream(_))
    }

    /// Compares one row, or leaves that to the coordinator.
    #[inline]
    pub(super) fn row(&self, row: &Row<'_>, counts: &mut RowCounts, faults: &mut Faults) {
        match self {
            Self::Order => counts.verified += 1,
            Self::Agree(group) => {
                group.meter.agree_row(
                    &group.name,
                    &row_key(&row.key),
                    row.digest.as_u64(),
                    group.session,
                );
            }
            Self::AgreeStream(_) => {}
            Self::Rows(Listed::Unreadable(reason)) => {
                if counts.unverified == 0 {
                    faults.unreadable(reason);
                }
                counts.unverified += 1;
            }
            Self::Rows(Listed::Read(list)) => match list.get(&row_key(&row.key)) {
                Some(digest) if *digest == row.digest => counts.verified += 1,
                // A row that is not in the list should not be in the stream.
                other => {
                    counts.mismatched += 1;
                    faults.mismatched(&row.key, row.digest, other.copied());
                }
            },
        }
    }

    /// The stream is over: `rows` of it were not yet compared with anything.
    pub(super) fn end(
        &self,
        digest: Option<u128>,
        rows: u64,
        ending: Ending,
        counts: &mut RowCounts,
    ) {
        let Self::AgreeStream(group) = self else {
            return;
        };
        match (digest, ending) {
            (Some(digest), Ending::Whole | Ending::Stopped) if rows > 0 => {
                group
                    .meter
                    .agree_stream(&group.name, digest, rows, group.session);
            }
            // A part of a stream is equal to no whole one, and proves nothing.
            _ => counts.unwitnessed += rows,
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
    fn read(list: &Value) -> Result<Self, String> {
        let items = list
            .as_list()
            .ok_or_else(|| format!("a list is expected, not a {}", list.type_name()))?;
        let mut digests = HashMap::with_capacity(items.len());
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
            if digests
                .insert(key, digest)
                .is_some_and(|known| known != digest)
            {
                return Err(format!(
                    "{} is listed twice, with different digests",
                    shown(item)
                ));
            }
        }
        Ok(Self::Read(digests))
    }
}

/// As much of an item as a message needs.
fn shown(item: &Value) -> String {
    let text = item.to_string();
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
