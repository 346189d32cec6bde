//! Findings and slow sessions of a run: equal ones counted, a few places kept, all bounded.
use crate::limits;
use crate::report::model::{Evidence, Finding, Severity, SlowSession};
use std::collections::BTreeMap;

/// What makes two findings equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    code: String,
    scenario: Option<String>,
    stage: Option<String>,
}

impl Key {
    fn of(finding: &Finding) -> Self {
        Self {
            code: finding.code.clone(),
            scenario: finding.evidence.scenario.clone(),
            stage: finding.evidence.stage.clone(),
        }
    }
}

/// All findings of one run.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    by_key: BTreeMap<Key, Finding>,
    overflow: u64,
}

/// Whether a finding is the first of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// Watchers want to hear of it.
    First,
    /// It was counted.
    Again,
}

impl Findings {
    /// Adds a finding; equal ones are those with the same code, scenario and stage.
    pub fn add(&mut self, finding: Finding) -> Novelty {
        let key = Key::of(&finding);
        if let Some(known) = self.by_key.get_mut(&key) {
            known.count = known.count.saturating_add(finding.count);
            known.severity = known.severity.max(finding.severity);
            let tells_more =
                finding.evidence.session.is_some() || finding.evidence.detail.is_some();
            if tells_more && known.more_evidence.len() + 1 < limits::MAX_EVIDENCE {
                known.more_evidence.push(finding.evidence);
            }
            return Novelty::Again;
        }
        if self.by_key.len() >= limits::MAX_FINDINGS {
            self.overflow = self.overflow.saturating_add(finding.count);
            return Novelty::Again;
        }
        self.by_key.insert(key, finding);
        Novelty::First
    }

    /// Whether the evidence of this finding would be kept.
    pub fn keeps(&self, finding: &Finding) -> bool {
        match self.by_key.get(&Key::of(finding)) {
            Some(known) => known.more_evidence.len() + 1 < limits::MAX_EVIDENCE,
            None => self.by_key.len() < limits::MAX_FINDINGS,
        }
    }

    /// Adds a finding of the coordinator itself.
    pub fn note(
        &mut self,
        severity: Severity,
        code: &str,
        message: String,
        evidence: Evidence,
    ) -> Novelty {
        let code = code.to_owned();
        self.add(Finding {
            severity,
            code,
            message,
            count: 1,
            evidence,
            more_evidence: Vec::new(),
        })
    }

    /// How often this code was found.
    pub fn count(&self, code: &str) -> u64 {
        self.by_key
            .values()
            .filter(|finding| finding.code == code)
            .map(|finding| finding.count)
            .fold(0, u64::saturating_add)
    }

    /// The worst and most frequent first.
    pub fn report(&self) -> Vec<Finding> {
        let mut findings: Vec<_> = self.by_key.values().cloned().collect();
        findings.sort_by(|a, b| b.severity.cmp(&a.severity).then(b.count.cmp(&a.count)));
        if self.overflow > 0 {
            findings.push(Finding {
                severity: Severity::Warning,
                code: "findings_limit".into(),
                message: format!(
                    "more than {} kinds of findings; the rest are only counted",
                    limits::MAX_FINDINGS
                ),
                count: self.overflow,
                evidence: Evidence::default(),
                more_evidence: Vec::new(),
            });
        }
        findings
    }
}

/// The slowest sessions of one run.
#[derive(Clone, Debug, Default)]
pub struct Slowest {
    sessions: Vec<SlowSession>,
}

impl Slowest {
    /// Keeps a session if it is among the slowest. A session that was told before is not kept twice.
    pub fn add(&mut self, session: SlowSession) {
        if self
            .sessions
            .iter()
            .any(|known| known.session == session.session && known.agent == session.agent)
        {
            return;
        }
        let place = self
            .sessions
            .partition_point(|known| known.duration >= session.duration);
        if place < limits::MAX_SLOWEST {
            self.sessions.insert(place, session);
            self.sessions.truncate(limits::MAX_SLOWEST);
        }
    }

    /// The slowest first.
    pub fn report(&self) -> Vec<SlowSession> {
        self.sessions.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(code: &str, stage: &str, session: Option<&str>) -> Finding {
        let evidence = Evidence {
            session: session.map(str::to_owned),
            stage: Some(stage.to_owned()),
            ..Evidence::default()
        };
        let (code, message) = (code.to_owned(), "it broke".to_owned());
        Finding {
            severity: Severity::Error,
            code,
            message,
            count: 2,
            evidence,
            more_evidence: Vec::new(),
        }
    }

    #[test]
    fn equal_findings_are_counted_and_a_few_places_kept() {
        let mut findings = Findings::default();
        assert_eq!(
            findings.add(finding("status", "a", Some("s/0"))),
            Novelty::First
        );
        for session in 1..10 {
            assert_eq!(
                findings.add(finding("status", "a", Some(&format!("s/{session}")))),
                Novelty::Again
            );
        }
        assert_eq!(findings.add(finding("status", "a", None)), Novelty::Again);
        assert_eq!(findings.add(finding("status", "b", None)), Novelty::First);
        let report = findings.report();
        assert_eq!(
            (report.len(), report[0].count, report[0].more_evidence.len()),
            (2, 22, limits::MAX_EVIDENCE - 1)
        );
        assert_eq!(findings.count("status"), 24);
    }

    #[test]
    fn kinds_are_bounded_and_the_rest_counted() {
        let mut findings = Findings::default();
        for kind in 0..limits::MAX_FINDINGS + 3 {
            findings.add(finding(&format!("c{kind}"), "a", None));
        }
        let report = findings.report();
        assert_eq!(report.len(), limits::MAX_FINDINGS + 1);
        assert_eq!(
            (
                report.last().unwrap().code.as_str(),
                report.last().unwrap().count
            ),
            ("findings_limit", 6)
        );
    }

    #[test]
    fn the_slowest_come_first_and_once() {
        let mut slowest = Slowest::default();
        let session = |index: u32| SlowSession {
            session: format!("s/{index}"),
            trace_id: String::new(),
            agent: "a".into(),
            site: "local".into(),
            duration: f64::from(index % 50),
            stages: Vec::new(),
        };
        (0..100)
            .chain(0..100)
            .for_each(|index| slowest.add(session(index)));
        let report = slowest.report();
        assert_eq!(report.len(), limits::MAX_SLOWEST);
        assert!(report.is_sorted_by(|a, b| a.duration >= b.duration));
        assert_eq!((report[0].duration, report[1].duration), (49.0, 49.0));
    }
}
