//! Plans and the files they name, as the coordinator sends them: addressed by their content, in chunks, bounded.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use testmesh_proto::v1::BlobChunk;
use testmesh_shared::digest::Digest;
use thiserror::Error;

/// Why a chunk was not taken.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BlobError {
    /// Larger than an agent holds.
    #[error("blob {digest} of {total} bytes is larger than the {bound} that an agent holds")]
    TooLarge {
        /// The blob.
        digest: String,
        /// Its size.
        total: u64,
        /// The bound.
        bound: usize,
    },
    /// Out of order, or beyond its own size.
    #[error("a chunk of blob {digest} begins at {offset}, but {have} bytes are there")]
    Gap {
        /// The blob.
        digest: String,
        /// Where the chunk begins.
        offset: u64,
        /// What is there.
        have: u64,
    },
    /// What came is not what was named.
    #[error("blob {digest} arrived with other content: its digest is {found}")]
    Digest {
        /// The blob.
        digest: String,
        /// What came instead.
        found: String,
    },
}

/// Blobs by digest. When they are more than the bound, the oldest go; a run keeps what it has read.
#[derive(Debug)]
pub struct Blobs {
    bound: usize,
    held: usize,
    whole: HashMap<String, Arc<[u8]>>,
    order: VecDeque<String>,
    /// One blob comes at a time.
    coming: Option<(String, Vec<u8>)>,
}

impl Blobs {
    /// Holds at most so many bytes.
    pub fn new(bound: usize) -> Self {
        Self {
            bound,
            held: 0,
            whole: HashMap::new(),
            order: VecDeque::new(),
            coming: None,
        }
    }

    /// The content of a blob that has arrived whole.
    pub fn content(&self, digest: &str) -> Option<Arc<[u8]>> {
        self.whole.get(digest).map(Arc::clone)
    }

    /// Takes a chunk in. A first chunk (offset 0) begins its blob anew.
    ///
    /// # Errors
    ///
    /// See [`BlobError`]; the blob is forgotten.
    pub fn add(&mut self, chunk: BlobChunk) -> Result<(), BlobError> {
        let digest = chunk.digest;
        if self.whole.contains_key(&digest) {
            return Ok(());
        }
        let total = usize::try_from(chunk.total)
            .ok()
            .filter(|total| *total <= self.bound);
        let Some(total) = total else {
            return Err(BlobError::TooLarge {
                digest,
                total: chunk.total,
                bound: self.bound,
            });
        };
        let mut content = match self.coming.take() {
            Some((coming, content)) if coming == digest && chunk.offset != 0 => content,
            _ => Vec::new(),
        };
        let have = content.len() as u64;
        if chunk.offset != have || content.len() + chunk.content.len() > total {
            return Err(BlobError::Gap {
                digest,
                offset: chunk.offset,
                have,
            });
        }
        content.extend_from_slice(&chunk.content);
        if content.len() < total {
            self.coming = Some((digest, content));
            return Ok(());
        }
        let found = Digest::of(&content).to_string();
        if found != digest {
            return Err(BlobError::Digest { digest, found });
        }
        self.keep(digest, content.into());
        Ok(())
    }

    fn keep(&mut self, digest: String, content: Arc<[u8]>) {
        self.held += content.len();
        self.order.push_back(digest.clone());
        self.whole.insert(digest, content);
        while self.held > self.bound {
            let oldest = self.order.pop_front().expect("what is held is in order");
            let content = self
                .whole
                .remove(&oldest)
                .expect("what is in order is held");
            self.held -= content.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(content: &[u8], size: usize) -> Vec<BlobChunk> {
        let digest = Digest::of(content).to_string();
        let total = content.len() as u64;
        let parts = content.chunks(size).enumerate();
        parts
            .map(|(at, part)| BlobChunk {
                digest: digest.clone(),
                total,
                offset: (at * size) as u64,
                content: part.to_vec(),
            })
            .collect()
    }

    #[test]
    fn a_blob_arrives_in_chunks_and_is_checked() {
        let mut blobs = Blobs::new(100);
        let parts = chunks(b"hello world", 4);
        let digest = parts[0].digest.clone();
        for part in parts.clone() {
            assert_eq!(blobs.content(&digest), None);
            blobs.add(part).unwrap();
        }
        assert_eq!(&*blobs.content(&digest).unwrap(), b"hello world");
        blobs.add(parts[1].clone()).unwrap();
    }

    #[test]
    fn gaps_lies_and_giants_are_refused() {
        let mut blobs = Blobs::new(20);
        let parts = chunks(b"hello world", 4);
        assert!(matches!(
            blobs.add(parts[1].clone()),
            Err(BlobError::Gap { .. })
        ));
        let mut lie = chunks(b"abc", 3).remove(0);
        lie.content = b"abd".to_vec();
        assert!(matches!(blobs.add(lie), Err(BlobError::Digest { .. })));
        let giant = BlobChunk {
            total: 21,
            ..parts[0].clone()
        };
        assert!(matches!(blobs.add(giant), Err(BlobError::TooLarge { .. })));
    }

    #[test]
    fn the_oldest_blobs_make_room() {
        let mut blobs = Blobs::new(10);
        for content in [b"aaaaaa", b"bbbbbb"] {
            chunks(content, 6)
                .into_iter()
                .for_each(|part| blobs.add(part).unwrap());
        }
        assert_eq!(blobs.content(&Digest::of(b"aaaaaa").to_string()), None);
        assert!(blobs.content(&Digest::of(b"bbbbbb").to_string()).is_some());
    }
}
