//! The list of a historic stream's rows with their digests: what a plan compares a stream with.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::cache::compute;
use crate::archive::Recorded;
use crate::history::History;
use crate::limits::{MAX_MANIFEST_BYTES, MAX_MANIFEST_ROWS};
use crate::view::View;

/// Why there is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("only a historic job has a manifest: its rows are known beforehand")]
    Live,
    #[error("stream {stream} does not exist: the job has {streams} streams, counted from 0")]
    NoStream { stream: u32, streams: usize },
    #[error(
        "the range has {rows} lines of {bytes} bytes: too long for one manifest (at most {MAX_MANIFEST_ROWS} rows, {MAX_MANIFEST_BYTES} bytes)"
    )]
    TooLong { rows: u64, bytes: usize },
}

/// A row and the digest of its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowDigest {
    /// `timestamp_in_milis`.
    pub(crate) key: u64,
    /// XXH3-64 of `main_data`.
    pub(crate) digest: u64,
}

/// The rows of a historic view's stream, in order. Each is computed when it is asked for.
///
/// # Errors
///
/// The view is live, has no such stream, or is too long to be listed.
pub(crate) fn digests<'a>(
    view: &View,
    stream: u32,
    recorded: &'a Recorded,
) -> Result<impl Iterator<Item = RowDigest> + use<'a>, ManifestError> {
    let history = History::new(&view.request).ok_or(ManifestError::Live)?;
    let of = usize::try_from(stream)
        .ok()
        .and_then(|index| view.streams.get(index))
        .ok_or(ManifestError::NoStream {
            stream,
            streams: view.streams.len(),
        })?;
    let rows = history.lines();
    let bytes = of.field.values() * 2;
    let total = rows.saturating_mul(u64::try_from(bytes).unwrap_or(u64::MAX));
    if rows > MAX_MANIFEST_ROWS || total > MAX_MANIFEST_BYTES {
        return Err(ManifestError::TooLong { rows, bytes });
    }
    let field = Arc::clone(&of.field);
    let row = move |line| RowDigest {
        key: history.time_ms(line),
        digest: xxh3_64(&compute(&field, history.time_ns(line)).payload),
    };
    Ok(history.recorded(recorded).map(row))
}

/// Renders `[{"key": timestamp_in_milis, "digest": XXH3-64 of main_data as 16 lowercase hex digits}, …]`.
///
/// It computes every row: call it where blocking is allowed.
pub(crate) fn manifest(
    view: &View,
    stream: u32,
    recorded: &Recorded,
) -> Result<Bytes, ManifestError> {
    let mut out = Vec::from(*b"[");
    for RowDigest { key, digest } in digests(view, stream, recorded)? {
        if out.len() > 1 {
            out.push(b',');
        }
        write!(out, r#"{{"key":{key},"digest":"{digest:016x}"}}"#)
            .expect("writing to a vector does not fail");
    }
    out.push(b']');
    Ok(Bytes::from(out))
}
