//! Findings of one worker: observed problems, equal ones counted, the first few with their evidence.

use std::collections::HashMap;

use bytes::Bytes;

use crate::limits;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// May spoil a measurement.
    Warning,
    /// Something failed.
    Error,
}

/// What makes two findings equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FindingKey {
    /// How grave it is.
    pub severity: Severity,
    /// From the closed list in `docs/verdicts.md`, or the error kind of a stage.
    pub code: &'static str,
    /// The scenario it was seen in; empty if it belongs to none.
    pub scenario: String,
    /// The stage it was seen in; empty if it belongs to none.
    pub stage: String,
}

/// One observed problem, or several equal ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What makes it equal to others.
    pub key: FindingKey,
    /// In a sentence, masked.
    pub message: String,
    /// How many times it was seen.
    pub count: u64,
    /// `SCENARIO/INDEX`; empty where only the count is kept.
    pub session: String,
    /// 32 lowercase hex digits, or empty.
    pub trace_id: String,
    /// Nanoseconds since the run's start.
    pub at_ns: i64,
    /// Status, headers and the first 2 KiB of a body, masked.
    pub detail: String,
    /// A PNG of what was there, which holds no secret.
    pub screenshot: Option<Bytes>,
}

/// The findings of one worker, or of all workers of an agent.
///
/// The first [`limits::EVIDENCE_KEPT`] of each key in the run keep their evidence, later ones are counted. The number of
/// keys is bounded too; what lies beyond is counted as a loss.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    seen: HashMap<FindingKey, Seen>,
    ready: Vec<Finding>,
    lost: u64,
}

#[derive(Debug)]
struct Seen {
    kept: u32,
    /// Seen again since the last cut, beyond what keeps evidence.
    more: u64,
    message: String,
    at_ns: i64,
}

impl Findings {
    /// Adds a finding, with its evidence if it is among the first of its kind.
    pub(crate) fn add(&mut self, finding: Finding) {
        if !self.seen.contains_key(&finding.key) {
            if self.seen.len() >= limits::FINDING_KINDS {
                self.lost += finding.count;
                return;
            }
            let seen = Seen {
                kept: 0,
                more: 0,
                message: finding.message.clone(),
                at_ns: finding.at_ns,
            };
            self.seen.insert(finding.key.clone(), seen);
        }
        let seen = self
            .seen
            .get_mut(&finding.key)
            .expect("the key was there or has just been inserted");
        if seen.kept < limits::EVIDENCE_KEPT && !finding.session.is_empty() {
            seen.kept += 1;
            self.ready.push(finding);
        } else {
            seen.more += finding.count;
            seen.at_ns = finding.at_ns;
        }
    }

    /// Takes what was added since the last call, and how many findings no place was left for.
    pub(crate) fn take(&mut self) -> (Vec<Finding>, u64) {
        let mut taken = std::mem::take(&mut self.ready);
        for (key, seen) in &mut self.seen {
            let count = std::mem::take(&mut seen.more);
            if count > 0 {
                taken.push(Finding {
                    key: key.clone(),
                    message: seen.message.clone(),
                    count,
                    session: String::new(),
                    trace_id: String::new(),
                    at_ns: seen.at_ns,
                    detail: String::new(),
                    screenshot: None,
                });
            }
        }
        (taken, std::mem::take(&mut self.lost))
    }
}

/// The pictures that an agent has reported in a run: few, and few at once.
#[derive(Debug, Default)]
pub(crate) struct Pictures {
    count: usize,
    bytes: usize,
}

impl Pictures {
    /// Takes away the pictures that are too many for the run or for one batch. Returns how many.
    pub(crate) fn bound(&mut self, findings: &mut [Finding]) -> u64 {
        let mut batch = 0;
        let mut lost = 0;
        for finding in findings {
            let Some(picture) = &finding.screenshot else {
                continue;
            };
            let bytes = picture.len();
            if self.count < limits::SCREENSHOTS
                && self.bytes + bytes <= limits::SCREENSHOT_BYTES
                && batch + bytes <= limits::BATCH_SCREENSHOT_BYTES
            {
                self.count += 1;
                self.bytes += bytes;
                batch += bytes;
            } else {
                finding.screenshot = None;
                lost += 1;
            }
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_bounded_by_batch_and_by_run() {
        let mut pictures = Pictures::default();
        let with = |bytes: usize| Finding {
            screenshot: Some(vec![0; bytes].into()),
            ..finding("timeout", 1)
        };
        let large = limits::BATCH_SCREENSHOT_BYTES / 2;
        let mut batch = [with(large), finding("timeout", 2), with(large), with(1)];
        assert_eq!(pictures.bound(&mut batch), 1);
        let has: Vec<_> = batch.iter().map(|one| one.screenshot.is_some()).collect();
        assert_eq!(has, [true, false, true, false]);
        let mut batch: Vec<_> = (0..100).map(|_| with(1)).collect();
        assert_eq!(
            pictures.bound(&mut batch),
            100 - limits::SCREENSHOTS as u64 + 2
        );
    }

    fn finding(code: &'static str, session: u32) -> Finding {
        Finding {
            key: FindingKey {
                severity: Severity::Error,
                code,
                scenario: "s".into(),
                stage: "a".into(),
            },
            message: "broke".into(),
            count: 1,
            session: format!("s/{session}"),
            trace_id: String::new(),
            at_ns: i64::from(session),
            detail: "body".into(),
            screenshot: None,
        }
    }

    #[test]
    fn the_first_five_keep_their_evidence_and_the_rest_are_counted() {
        let mut findings = Findings::default();
        for session in 0..12 {
            findings.add(finding("status", session));
        }
        let (taken, lost) = findings.take();
        assert_eq!((taken.len(), lost), (6, 0));
        assert_eq!(taken.iter().filter(|one| one.detail == "body").count(), 5);
        assert_eq!(taken.iter().map(|one| one.count).sum::<u64>(), 12);
        findings.add(finding("status", 13));
        assert_eq!(
            findings.take().0.len(),
            1,
            "evidence is kept once per run, not once per cut"
        );
    }

    #[test]
    fn kinds_are_bounded_and_the_loss_is_counted() {
        let mut findings = Findings::default();
        for kind in 0..limits::FINDING_KINDS + 3 {
            let mut one = finding("status", 1);
            one.key.stage = format!("stage-{kind}");
            findings.add(one);
        }
        let (taken, lost) = findings.take();
        assert_eq!((taken.len(), lost), (limits::FINDING_KINDS, 3));
    }
}
