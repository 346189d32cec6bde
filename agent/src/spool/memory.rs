//! The spool in memory.

use std::collections::VecDeque;
use std::fmt::Debug;

use prost::Message as _;
use testmesh_proto::v1::Batch;
use thiserror::Error;

/// No room for another batch: what it would have held must wait where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the spool is full: {batches} batches of {bytes} bytes wait for the coordinator")]
pub struct Full {
    /// Batches that wait.
    pub batches: usize,
    /// Their encoded size.
    pub bytes: usize,
}

/// Keeps batches, in the order of their numbers and without gaps, until they are acknowledged.
pub trait Spool: Debug + Send + Sync {
    /// Whether a further batch would be taken.
    ///
    /// # Errors
    ///
    /// [`Full`] if not.
    fn room(&self) -> Result<(), Full>;

    /// Takes a batch. Its number is one more than the last one's.
    fn push(&mut self, batch: Batch);

    /// The first batch whose number is at least `seq`.
    fn from(&self, seq: u64) -> Option<&Batch>;

    /// Forgets batches up to `seq`: they are merged and durable.
    fn acknowledge(&mut self, seq: u64);

    /// Whether everything was acknowledged.
    fn is_empty(&self) -> bool;
}

/// Keeps batches in memory.
#[derive(Debug)]
pub struct Memory {
    batches: VecDeque<(Batch, usize)>,
    bytes: usize,
    bound: usize,
}

impl Memory {
    /// Keeps about so many encoded bytes: the last batch may reach beyond.
    pub fn new(bound: usize) -> Self {
        Self {
            batches: VecDeque::new(),
            bytes: 0,
            bound,
        }
    }
}

impl Spool for Memory {
    fn room(&self) -> Result<(), Full> {
        if self.bytes < self.bound {
            Ok(())
        } else {
            Err(Full {
                batches: self.batches.len(),
                bytes: self.bytes,
            })
        }
    }

    fn push(&mut self, batch: Batch) {
        let size = batch.encoded_len();
        self.bytes += size;
        self.batches.push_back((batch, size));
    }

    fn from(&self, seq: u64) -> Option<&Batch> {
        let first = self.batches.front()?.0.seq;
        let at = usize::try_from(seq.saturating_sub(first)).ok()?;
        self.batches.get(at).map(|(batch, _)| batch)
    }

    fn acknowledge(&mut self, seq: u64) {
        while self
            .batches
            .front()
            .is_some_and(|(batch, _)| batch.seq <= seq)
        {
            let (_, size) = self
                .batches
                .pop_front()
                .expect("a front that was there can be popped");
            self.bytes -= size;
        }
    }

    fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(seq: u64) -> Batch {
        Batch {
            run: "r".into(),
            seq,
            ..Batch::default()
        }
    }

    #[test]
    fn batches_stay_until_they_are_acknowledged() {
        let mut spool = Memory::new(1_000);
        (1..=3).for_each(|seq| spool.push(batch(seq)));
        assert_eq!(spool.from(0).unwrap().seq, 1);
        assert_eq!(spool.from(3).unwrap().seq, 3);
        assert!(spool.from(4).is_none());
        spool.acknowledge(2);
        spool.acknowledge(1);
        assert_eq!(spool.from(1).unwrap().seq, 3);
        spool.acknowledge(9);
        assert!(spool.is_empty() && spool.bytes == 0);
    }

    #[test]
    fn a_full_spool_says_so() {
        let mut spool = Memory::new(5);
        assert_eq!(spool.room(), Ok(()));
        spool.push(batch(1));
        spool.push(batch(2));
        assert_eq!(
            spool.room(),
            Err(Full {
                batches: 2,
                bytes: 10
            })
        );
        spool.acknowledge(2);
        assert_eq!(spool.room(), Ok(()));
    }
}
