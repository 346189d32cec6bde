//! Cuts messages out of a response body, without copying those that came in one piece and without allocating per message.

use bytes::Bytes;

/// A message's prefix: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Why a body is no sequence of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a message of {length} bytes is above the limit of {limit}")]
    TooLarge { length: usize, limit: usize },
    #[error("a message is compressed, which was not asked for")]
    Compressed,
    #[error("byte {0} begins no message")]
    Garbage(u8),
}

/// The part of a body that came and was not read yet.
#[derive(Debug)]
pub(crate) struct Frames {
    /// The newest piece of the body, and how far it was read.
    chunk: Bytes,
    read: usize,
    /// A message, with its prefix, that did not come in one piece. Its memory is used again for the next one.
    partial: Vec<u8>,
    /// The partial message was handed out.
    handed_out: bool,
    limit: usize,
}

impl Frames {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            chunk: Bytes::new(),
            read: 0,
            partial: Vec::new(),
            handed_out: false,
            limit,
        }
    }

    /// Takes the next piece of the body; the one before must have been read to its end.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        debug_assert_eq!(
            self.read,
            self.chunk.len(),
            "a piece is read whole before the next"
        );
        self.chunk = chunk;
        self.read = 0;
    }

    /// Whether the body ended in the middle of a message.
    pub(crate) fn is_cut(&self) -> bool {
        !self.partial.is_empty() && !self.handed_out
    }

    /// The next whole message, or `None` until more of the body came.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, FrameError> {
        if self.handed_out {
            self.partial.clear();
            self.handed_out = false;
        }
        if !self.partial.is_empty() {
            return self.complete();
        }
        let rest = &self.chunk[self.read..];
        if let Some(prefix) = rest.first_chunk::<PREFIX>() {
            let end = PREFIX + length(prefix, self.limit)?;
            if rest.len() >= end {
                let start = self.read + PREFIX;
                self.read += end;
                return Ok(Some(&self.chunk[start..self.read]));
            }
        }
        self.set_aside()
    }

    /// Keeps the beginning of a message whose rest has not come.
    #[cold]
    fn set_aside(&mut self) -> Result<Option<&[u8]>, FrameError> {
        if self.read < self.chunk.len() {
            self.complete()
        } else {
            Ok(None)
        }
    }

    /// Goes on with the partial message.
    fn complete(&mut self) -> Result<Option<&[u8]>, FrameError> {
        self.take(PREFIX);
        let Some(prefix) = self.partial.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let whole = PREFIX + length(prefix, self.limit)?;
        self.take(whole);
        if self.partial.len() < whole {
            return Ok(None);
        }
        self.handed_out = true;
        Ok(Some(&self.partial[PREFIX..]))
    }

    /// Moves bytes until the partial message has `wanted`, or the piece is at its end. Memory grows with what came, not with
    /// what a prefix announces.
    fn take(&mut self, wanted: usize) {
        let missing = wanted.saturating_sub(self.partial.len());
        let rest = &self.chunk[self.read..];
        let taken = rest.len().min(missing);
        self.partial.extend_from_slice(&rest[..taken]);
        self.read += taken;
    }
}

/// The length that a prefix announces.
#[inline]
fn length(prefix: &[u8; PREFIX], limit: usize) -> Result<usize, FrameError> {
    let [flag, length @ ..] = *prefix;
    match flag {
        0 => {}
        1 => return Err(FrameError::Compressed),
        other => return Err(FrameError::Garbage(other)),
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > limit {
        Err(FrameError::TooLarge { length, limit })
    } else {
        Ok(length)
    }
}

/// One message with its prefix, as it goes out.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a plan's message is far below 4 GiB");
    let mut framed = Vec::with_capacity(PREFIX + message.len());
    framed.push(0);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    framed.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &[u8], cuts: &[usize], limit: usize) -> Result<Vec<Vec<u8>>, FrameError> {
        let mut frames = Frames::new(limit);
        let mut messages = Vec::new();
        let mut at = 0;
        let ends = cuts.iter().copied().chain([body.len()]);
        for end in ends {
            frames.push(Bytes::copy_from_slice(&body[at..end]));
            at = end;
            while let Some(message) = frames.next()? {
                messages.push(message.to_vec());
            }
        }
        assert!(!frames.is_cut());
        Ok(messages)
    }

    proptest! {
        #[test]
        fn messages_survive_any_cut(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..12),
            cuts in proptest::collection::vec(0_usize..500, 0..20),
        ) {
            let body: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.sort_unstable();
            prop_assert_eq!(read(&body, &cuts, 64), Ok(messages));
        }
    }

    #[test]
    fn bodies_that_are_no_messages_are_refused_before_they_are_kept() {
        let huge = [0, 0xff, 0xff, 0xff, 0xff, 1, 2];
        assert_eq!(
            read(&huge, &[], 64),
            Err(FrameError::TooLarge {
                length: 0xffff_ffff,
                limit: 64
            })
        );
        assert_eq!(
            read(&huge, &[1, 4], 64),
            Err(FrameError::TooLarge {
                length: 0xffff_ffff,
                limit: 64
            })
        );
        assert_eq!(
            read(b"HTTP/1.1 400", &[], 64),
            Err(FrameError::Garbage(b'H'))
        );
        assert_eq!(read(&[1, 0, 0, 0, 0], &[], 64), Err(FrameError::Compressed));
        let mut cut = Frames::new(64);
        cut.push(framed(b"hello").slice(..7));
        assert_eq!(cut.next(), Ok(None));
        assert!(cut.is_cut());
    }
}
