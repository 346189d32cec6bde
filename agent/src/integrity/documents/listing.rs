//! The rows of one truth, as far as they have been read: written by one thread, read by the streams of all workers.
//!
//! Rows are handed over in chunks, so that a stream that looks at them takes a lock once for some hundred rows.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use testmesh_shared::digest::RowDigest;
use testmesh_shared::integrity::Key;
use tokio::sync::watch;

use super::super::truth::row_key;
use crate::driver::contract::RowKey;
use crate::limits;

/// One row of a truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(super) key: RowKey,
    pub(super) digest: RowDigest,
}

impl Entry {
    /// A row with this key.
    ///
    /// # Errors
    ///
    /// If the key is so long that only a part of it would be kept, which says nothing of its order.
    pub(crate) fn new(key: &Key<'_>, digest: RowDigest) -> Result<Self, String> {
        if let Key::Text(text) = key
            && text.len() > limits::KEY_BYTES
        {
            let (has, may) = (text.len(), limits::KEY_BYTES);
            return Err(format!("its key has {has} bytes, and {may} are allowed"));
        }
        let key = row_key(key);
        Ok(Self { key, digest })
    }

    fn bytes(&self) -> usize {
        let text = match &self.key {
            RowKey::Number(_) => 0,
            RowKey::Text(text) => text.len(),
        };
        size_of::<Self>() + text
    }
}

/// Rows that were handed over together: at least one, in ascending order.
#[derive(Debug)]
pub(super) struct Chunk {
    /// The number of the first one in the listing.
    pub(super) start: usize,
    pub(super) rows: Box<[Entry]>,
}

impl Chunk {
    pub(super) fn first(&self) -> &RowKey {
        &self.rows[0].key
    }

    pub(super) fn end(&self) -> usize {
        self.start + self.rows.len()
    }
}

/// How the reading of a truth ended; why not well, as a sentence.
pub(super) type Ended = Result<(), Arc<str>>;

/// The rows of one truth, as far as they have been read.
#[derive(Debug)]
pub(crate) struct Listing {
    state: Mutex<State>,
    progress: watch::Sender<()>,
    /// Of all listings of the agent.
    used: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct State {
    chunks: Vec<Arc<Chunk>>,
    ended: Option<Ended>,
    bytes: usize,
}

impl Listing {
    pub(super) fn new(used: &Arc<AtomicUsize>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            progress: watch::Sender::new(()),
            used: Arc::clone(used),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Told of everything that is read from now on.
    pub(super) fn progress(&self) -> watch::Receiver<()> {
        self.progress.subscribe()
    }

    /// Takes over the chunks that are new, and how the reading ended if it did.
    pub(super) fn refresh(&self, chunks: &mut Vec<Arc<Chunk>>) -> Option<Ended> {
        let state = self.state();
        chunks.extend(
            state
                .chunks
                .get(chunks.len()..)
                .unwrap_or_default()
                .iter()
                .cloned(),
        );
        state.ended.clone()
    }

    /// Whether it could not be read to its end.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.state().ended, Some(Err(_)))
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        let bytes = self.state().bytes;
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Writes a listing. If it is dropped before it was ended, the reading was cut.
#[derive(Debug)]
pub(crate) struct ListingWriter {
    listing: Arc<Listing>,
    open: Vec<Entry>,
    last: Option<Entry>,
    written: usize,
}

impl ListingWriter {
    pub(super) const fn new(listing: Arc<Listing>) -> Self {
        Self {
            listing,
            open: Vec::new(),
            last: None,
            written: 0,
        }
    }

    /// Adds the next row. One that comes twice, with the same digest, counts once.
    ///
    /// # Errors
    ///
    /// Rows out of order, a key with two digests, and more rows than there is room for.
    pub(crate) fn push(&mut self, entry: Entry) -> Result<(), String> {
        if let Some(last) = &self.last {
            if *last == entry {
                return Ok(());
            }
            let (before, key) = (shown(&last.key), shown(&entry.key));
            if last.key == entry.key {
                return Err(format!(
                    "the key {key} is there twice, with different bytes"
                ));
            }
            if last.key > entry.key {
                return Err(format!(
                    "the documents do not come in the order of their keys: {key} comes after {before}"
                ));
            }
        }
        let bytes = entry.bytes();
        if self.listing.used.fetch_add(bytes, Ordering::Relaxed) + bytes > limits::TRUTH_BYTES {
            self.listing.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(format!(
                "the truths of this agent have more than {} MiB of keys and digests (narrow the filter)",
                limits::TRUTH_BYTES >> 20
            ));
        }
        self.listing.state().bytes += bytes;
        self.last = Some(entry.clone());
        self.open.push(entry);
        if self.open.len() >= limits::TRUTH_CHUNK {
            self.hand_over(None);
        }
        Ok(())
    }

    /// The reading is over.
    pub(super) fn end(mut self, result: Result<(), String>) {
        self.hand_over(Some(result.map_err(Arc::from)));
    }

    fn hand_over(&mut self, ended: Option<Ended>) {
        let rows = std::mem::take(&mut self.open);
        let mut state = self.listing.state();
        if !rows.is_empty() {
            let start = self.written;
            self.written += rows.len();
            let rows = rows.into_boxed_slice();
            state.chunks.push(Arc::new(Chunk { start, rows }));
        }
        if state.ended.is_none() {
            state.ended = ended;
        }
        drop(state);
        self.listing.progress.send_replace(());
    }
}

impl Drop for ListingWriter {
    fn drop(&mut self) {
        // Nothing, if it was ended.
        self.hand_over(Some(Err("its reading was cut".into())));
    }
}

/// A key as messages show it.
pub(super) fn shown(key: &RowKey) -> String {
    match key {
        RowKey::Number(number) => number.to_string(),
        RowKey::Text(text) => text.to_string(),
    }
}
