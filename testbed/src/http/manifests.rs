//! Manifests that have been computed: every session of a plan asks for the same few.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::limits::MANIFESTS_KEPT;

/// Identifies a manifest: the request it answers, its stream, and the identity of its recordings.
pub(crate) type Key = (String, u32, u64);

/// The last few manifests, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    kept: VecDeque<(Key, Bytes)>,
}

impl Manifests {
    pub(crate) fn find(&self, key: &Key) -> Option<Bytes> {
        self.kept
            .iter()
            .find(|(kept, _)| kept == key)
            .map(|(_, bytes)| bytes.clone())
    }

    pub(crate) fn keep(&mut self, key: Key, manifest: Bytes) {
        if self.kept.len() == MANIFESTS_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back((key, manifest));
    }
}
