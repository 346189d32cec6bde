//! Messages of a run to its agents.
use crate::limits;
use crate::registry::Outgoing;
use crate::run::StopMode;
use testmesh_proto::v1::{self, coordinator_message::Kind};

/// Wraps one kind of message.
pub(super) fn outgoing(kind: Kind) -> Outgoing {
    Outgoing::Message(v1::CoordinatorMessage { kind: Some(kind) })
}

/// A blob in chunks; an empty one is one empty chunk.
pub(super) fn chunks(digest: &str, content: &[u8]) -> impl Iterator<Item = Outgoing> {
    let total = u64::try_from(content.len()).unwrap_or(u64::MAX);
    let count = content.len().div_ceil(limits::CHUNK).max(1);
    (0..count).map(move |index| {
        let from = index * limits::CHUNK;
        let to = content.len().min(from + limits::CHUNK);
        outgoing(Kind::Blob(v1::BlobChunk {
            digest: digest.to_owned(),
            total,
            offset: u64::try_from(from).unwrap_or(u64::MAX),
            content: content[from..to].to_vec(),
        }))
    })
}

/// Stop, in the given way.
pub(super) fn stop(run: &str, mode: StopMode) -> Outgoing {
    let mode = match mode {
        StopMode::Drain => v1::stop::Mode::Drain,
        StopMode::Abort => v1::stop::Mode::Abort,
    };
    outgoing(Kind::Stop(v1::Stop {
        run: run.to_owned(),
        mode: mode.into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_cut_without_gaps() {
        for size in [0, 1, limits::CHUNK, limits::CHUNK + 1, 3 * limits::CHUNK] {
            let content: Vec<u8> = (0..size)
                .map(|at| u8::try_from(at % 251).unwrap())
                .collect();
            let mut whole = Vec::new();
            for message in chunks("d", &content) {
                let Outgoing::Message(v1::CoordinatorMessage {
                    kind: Some(Kind::Blob(chunk)),
                }) = message
                else {
                    panic!("a chunk")
                };
                assert_eq!(usize::try_from(chunk.offset).unwrap(), whole.len());
                assert_eq!(usize::try_from(chunk.total).unwrap(), size);
                whole.extend(chunk.content);
            }
            assert_eq!(whole, content);
        }
    }
}
