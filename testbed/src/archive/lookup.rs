//! Where recordings are looked up.

use std::time::Duration;

use super::recorded::Recorded;
use crate::limits::MAX_RECORDINGS;
use crate::recordings;
use crate::store::{Store, StoreError};

/// The recordings of one testbed.
#[derive(Debug, Clone)]
pub(crate) enum Archive {
    /// By rule: nothing is stored, nothing can fail.
    Embedded,
    /// In MongoDB, as a real server has them.
    MongoDb(Store),
}

/// What is looked up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookup {
    /// Epoch seconds.
    pub(crate) start: u64,
    /// Epoch seconds, not included.
    pub(crate) end: u64,
    /// The present in epoch seconds.
    pub(crate) now: u64,
    /// By how much a behavior makes MongoDB slower.
    pub(crate) slower: Duration,
}

/// A recording as the API lists it, in epoch seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recording {
    pub(crate) start: u64,
    /// None while it is still being written.
    pub(crate) end: Option<u64>,
}

impl Archive {
    /// What of a range was recorded.
    ///
    /// # Errors
    ///
    /// MongoDB did not answer in time, or lists more than can be held. Cancel safe: it only reads.
    pub(crate) async fn recorded(&self, lookup: Lookup) -> Result<Recorded, StoreError> {
        match self {
            Self::Embedded => Ok(Recorded::Rule { now: lookup.now }),
            Self::MongoDb(store) => store.recorded(lookup).await,
        }
    }

    /// The recordings that touch a range, oldest first, as many as an answer may list.
    ///
    /// # Errors
    ///
    /// As [`Archive::recorded`].
    pub(crate) async fn list(&self, lookup: Lookup) -> Result<Vec<Recording>, StoreError> {
        match self {
            Self::Embedded => Ok(by_rule(lookup)),
            Self::MongoDb(store) => store.list(lookup).await,
        }
    }

    /// The store, if there is one.
    pub(crate) fn store(&self) -> Option<&Store> {
        match self {
            Self::Embedded => None,
            Self::MongoDb(store) => Some(store),
        }
    }
}

fn by_rule(
    Lookup {
        start, end, now, ..
    }: Lookup,
) -> Vec<Recording> {
    let found = recordings::within(start, end, now, MAX_RECORDINGS).into_iter();
    found
        .map(|recording| Recording {
            start: recording.start,
            end: (!recordings::is_open(recording, now)).then(|| recording.end()),
        })
        .collect()
}
