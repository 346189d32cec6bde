//! Plans and the files that they name, by their content, until a run takes them.
//!
//! In memory and bounded; the least recently used go first. A run holds its own files, so that what goes here harms none.
use crate::limits;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use testmesh_shared::digest::Digest;

/// Why a blob is not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The digest is no digest.
    #[error("`{0}` is not a digest: 32 lowercase hex digits are")]
    Digest(String),
    /// The blob is larger than allowed.
    #[error(
        "the file has {size} bytes, and the most that a plan may name is {} bytes",
        limits::MAX_BLOB
    )]
    TooLarge {
        /// Its size.
        size: u64,
    },
    /// A chunk does not continue the last one.
    #[error("a chunk begins at {offset}, and {expected} bytes have come before it")]
    Gap {
        /// Where the chunk says that it begins.
        offset: u64,
        /// Where it should.
        expected: u64,
    },
    /// Chunks of several blobs came in one call.
    #[error("chunks of two blobs came in one call")]
    Mixed,
    /// The content is shorter or longer than announced.
    #[error("{got} of {total} bytes came")]
    Length {
        /// What came.
        got: u64,
        /// What was announced.
        total: u64,
    },
    /// The content is not what the digest says.
    #[error("the content has digest {actual}, not {digest}: it was changed on its way")]
    Mismatch {
        /// What was announced.
        digest: String,
        /// What it is.
        actual: String,
    },
}

/// A blob on its way.
#[derive(Debug, Default)]
pub struct Incoming {
    digest: String,
    total: u64,
    content: Vec<u8>,
}

impl Incoming {
    /// Takes one chunk.
    ///
    /// # Errors
    ///
    /// If it does not continue the blob.
    pub fn take(
        &mut self,
        digest: &str,
        total: u64,
        offset: u64,
        chunk: &[u8],
    ) -> Result<(), BlobError> {
        if self.digest.is_empty() {
            digest
                .parse::<Digest>()
                .map_err(|_| BlobError::Digest(digest.chars().take(40).collect()))?;
            self.digest = digest.to_owned();
            self.total = total;
        }
        if digest != self.digest || total != self.total {
            return Err(BlobError::Mixed);
        }
        if total > limits::MAX_BLOB {
            return Err(BlobError::TooLarge { size: total });
        }
        let expected = length(&self.content);
        if offset != expected {
            return Err(BlobError::Gap { offset, expected });
        }
        let got = expected.saturating_add(length(chunk));
        if got > total {
            return Err(BlobError::Length { got, total });
        }
        self.content.extend_from_slice(chunk);
        Ok(())
    }

    /// The whole blob, checked against its digest.
    ///
    /// # Errors
    ///
    /// If it is not whole, or not what it was announced as.
    pub fn finish(self) -> Result<(String, Arc<[u8]>), BlobError> {
        let got = length(&self.content);
        if got != self.total || self.digest.is_empty() {
            return Err(BlobError::Length {
                got,
                total: self.total,
            });
        }
        let actual = Digest::of(&self.content).to_string();
        if actual != self.digest {
            return Err(BlobError::Mismatch {
                digest: self.digest,
                actual,
            });
        }
        Ok((self.digest, self.content.into()))
    }
}

fn length(content: &[u8]) -> u64 {
    u64::try_from(content.len()).unwrap_or(u64::MAX)
}

#[derive(Debug, Default)]
struct Shelf {
    blobs: HashMap<String, (u64, Arc<[u8]>)>,
    bytes: u64,
    used: u64,
}

/// All blobs.
#[derive(Debug, Default)]
pub struct Blobs {
    shelf: Mutex<Shelf>,
}

impl Blobs {
    /// Keeps a blob that was checked.
    pub fn put(&self, digest: String, content: Arc<[u8]>) {
        let mut shelf = self.lock();
        shelf.used += 1;
        let used = shelf.used;
        let size = length(&content);
        if shelf.blobs.insert(digest, (used, content)).is_none() {
            shelf.bytes += size;
        }
        while shelf.bytes > limits::MAX_BLOBS_TOTAL {
            let oldest = shelf
                .blobs
                .iter()
                .min_by_key(|(_, (used, _))| *used)
                .map(|(digest, _)| digest.clone());
            let Some((_, content)) = oldest.and_then(|digest| shelf.blobs.remove(&digest)) else {
                break;
            };
            shelf.bytes -= length(&content);
        }
    }

    /// A blob by its digest.
    pub fn find(&self, digest: &str) -> Option<Arc<[u8]>> {
        let mut shelf = self.lock();
        shelf.used += 1;
        let now = shelf.used;
        let (used, content) = shelf.blobs.get_mut(digest)?;
        *used = now;
        Some(Arc::clone(content))
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(
        digest: &str,
        total: u64,
        chunks: &[(u64, &[u8])],
    ) -> Result<(String, Arc<[u8]>), BlobError> {
        let mut incoming = Incoming::default();
        for (offset, chunk) in chunks {
            incoming.take(digest, total, *offset, chunk)?;
        }
        incoming.finish()
    }

    #[test]
    fn a_blob_is_kept_only_if_it_is_what_it_says() {
        let digest = Digest::of(b"hello").to_string();
        let (_, content) = send(&digest, 5, &[(0, b"he"), (2, b"llo")]).unwrap();
        assert_eq!(&*content, b"hello");
        for (name, got) in [
            ("a gap", send(&digest, 5, &[(0, b"he"), (3, b"lo")])),
            ("too short", send(&digest, 5, &[(0, b"he")])),
            ("too long", send(&digest, 5, &[(0, b"hello!")])),
            ("other content", send(&digest, 5, &[(0, b"jello")])),
            ("no digest", send("x", 5, &[(0, b"hello")])),
            (
                "too large",
                send(&digest, limits::MAX_BLOB + 1, &[(0, b"hello")]),
            ),
            ("nothing", send(&digest, 5, &[])),
        ] {
            assert!(got.is_err(), "{name}");
        }
    }

    #[test]
    fn the_least_recently_used_blobs_go_first() {
        let blobs = Blobs::default();
        let large: Arc<[u8]> = vec![0; usize::try_from(limits::MAX_BLOB).unwrap()].into();
        let fit = limits::MAX_BLOBS_TOTAL / limits::MAX_BLOB;
        for index in 0..fit {
            blobs.put(index.to_string(), Arc::clone(&large));
        }
        assert!(blobs.find("0").is_some());
        blobs.put("more".into(), large);
        assert!(
            blobs.find("0").is_some() && blobs.find("1").is_none() && blobs.find("more").is_some()
        );
    }
}
