//! Exactly once: which batches of an agent are merged, which are repeats, and which are missing. Pure.
//!
//! A link keeps order and an agent repeats what was not acknowledged, so batches come as 1, 2, 3 … with repeats. A gap can
//! only be a broken agent; a few batches beyond it are remembered, so that what is told of a gap is exact.
use crate::limits;
use std::collections::BTreeSet;

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is new: merge it.
    Merge,
    /// It was merged before: acknowledge it again.
    Repeat,
    /// It is impossible: too far ahead, or of an earlier start of the agent.
    Nonsense,
}

/// The watermark of one agent in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingest {
    epoch: Option<u64>,
    through: u64,
    beyond: BTreeSet<u64>,
}

impl Ingest {
    /// Decides over a batch, and remembers it as merged if it is to be.
    pub fn admit(&mut self, epoch: u64, seq: u64) -> Admission {
        if *self.epoch.get_or_insert(epoch) != epoch || seq == 0 {
            return Admission::Nonsense;
        }
        if seq <= self.through || self.beyond.contains(&seq) {
            return Admission::Repeat;
        }
        if seq == self.through + 1 {
            self.through = seq;
            while self.beyond.remove(&(self.through + 1)) {
                self.through += 1;
            }
            return Admission::Merge;
        }
        if self.beyond.len() >= limits::MAX_OUT_OF_ORDER {
            return Admission::Nonsense;
        }
        self.beyond.insert(seq);
        Admission::Merge
    }

    /// Everything up to this number is merged.
    pub fn through(&self) -> u64 {
        self.through
    }

    /// Batches that are known to be missing: gaps before the greatest number heard of.
    pub fn missing(&self, last_seq: Option<u64>) -> u64 {
        let last = self
            .beyond
            .last()
            .copied()
            .max(last_seq)
            .unwrap_or(self.through);
        let merged_beyond = u64::try_from(self.beyond.len()).unwrap_or(u64::MAX);
        last.saturating_sub(self.through)
            .saturating_sub(merged_beyond)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(seqs: &[u64], expect: &str, through: u64, missing: u64) {
        let mut ingest = Ingest::default();
        let word = |admission| match admission {
            Admission::Merge => 'm',
            Admission::Repeat => 'r',
            Admission::Nonsense => '!',
        };
        let got: String = seqs.iter().map(|seq| word(ingest.admit(7, *seq))).collect();
        assert_eq!(
            (got.as_str(), ingest.through(), ingest.missing(None)),
            (expect, through, missing),
            "{seqs:?}"
        );
    }

    #[test]
    fn batches_are_merged_once_and_gaps_are_known() {
        check(&[1, 2, 3], "mmm", 3, 0);
        check(&[1, 1, 2, 1, 2], "mrmrr", 2, 0);
        check(&[2, 1], "mm", 2, 0);
        check(&[1, 4, 4, 6], "mmrm", 1, 3);
        check(&[0], "!", 0, 0);
        let mut ingest = Ingest::default();
        assert_eq!(
            (ingest.admit(7, 1), ingest.admit(8, 2)),
            (Admission::Merge, Admission::Nonsense)
        );
        assert_eq!(ingest.missing(Some(5)), 4);
    }

    proptest! {
        /// However often and in whatever order batches come, each is merged exactly once.
        #[test]
        fn every_batch_is_merged_exactly_once(seqs in proptest::collection::vec(1..30_u64, 0..100)) {
            let mut ingest = Ingest::default();
            let mut merged = BTreeSet::new();
            for seq in &seqs {
                match ingest.admit(1, *seq) {
                    Admission::Merge => prop_assert!(merged.insert(*seq)),
                    Admission::Repeat => prop_assert!(merged.contains(seq)),
                    Admission::Nonsense => prop_assert!(false, "no batch of this test is nonsense"),
                }
            }
            let last = seqs.iter().max().copied().unwrap_or(0);
            prop_assert_eq!(ingest.missing(None), last - u64::try_from(merged.len()).unwrap());
            prop_assert!((1..=ingest.through()).all(|seq| merged.contains(&seq)));
        }
    }
}
