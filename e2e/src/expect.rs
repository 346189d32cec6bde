//! The model of expected outcomes that every end-to-end test compares with, instead of asserts of its own.

use serde_json::Value;

use crate::Outcome;

/// The three answers of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Exit code 0.
    Passed,
    /// Exit code 100.
    Failed,
    /// Exit code 10.
    Inconclusive,
    /// Exit code 105: inconclusive, because a user stopped it.
    Stopped,
}

/// What a run must have come to.
#[derive(Clone, Debug)]
pub struct Expected {
    verdict: Verdict,
    reasons: Vec<String>,
    /// (pointer into the report, least, most)
    numbers: Vec<(String, f64, f64)>,
}

impl Expected {
    /// The run passed, without a reason.
    #[must_use]
    pub fn passed() -> Self {
        Self::new(Verdict::Passed)
    }

    /// The run failed, for exactly the reasons named with [`Self::because`].
    #[must_use]
    pub fn failed() -> Self {
        Self::new(Verdict::Failed)
    }

    /// The run could not be judged, for exactly the reasons named with [`Self::because`].
    #[must_use]
    pub fn inconclusive() -> Self {
        Self::new(Verdict::Inconclusive)
    }

    /// A user stopped the run before anything was proven.
    #[must_use]
    pub fn stopped() -> Self {
        Self::new(Verdict::Stopped).because("stopped")
    }

    fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            reasons: Vec::new(),
            numbers: Vec::new(),
        }
    }

    /// A reason code that must be given; no other may be.
    #[must_use]
    pub fn because(mut self, code: &str) -> Self {
        self.reasons.push(code.to_owned());
        self
    }

    /// A number of the report, by JSON pointer, that must lie within bounds, both included.
    #[must_use]
    pub fn with(mut self, pointer: &str, least: f64, most: f64) -> Self {
        self.numbers.push((pointer.to_owned(), least, most));
        self
    }

    /// Compares, and says everything that differs at once.
    ///
    /// # Panics
    ///
    /// If anything differs.
    pub fn check(&self, outcome: &Outcome) {
        let mut wrong = Vec::new();
        let (word, code) = match self.verdict {
            Verdict::Passed => ("passed", 0),
            Verdict::Failed => ("failed", 100),
            Verdict::Inconclusive => ("inconclusive", 10),
            Verdict::Stopped => ("inconclusive", 105),
        };
        if outcome.code != Some(code) {
            wrong.push(format!("exit code {:?}, expected {code}", outcome.code));
        }
        let report = &outcome.report;
        if report["verdict"] != word {
            wrong.push(format!("verdict {}, expected {word}", report["verdict"]));
        }
        let mut codes = reason_codes(report);
        codes.sort();
        codes.dedup();
        let mut expected = self.reasons.clone();
        expected.sort();
        if codes != expected {
            wrong.push(format!("reasons {codes:?}, expected {expected:?}"));
        }
        let last = outcome.stdout.trim_end().lines().last().unwrap_or_default();
        if !last.contains(word) {
            wrong.push(format!("the last line is not the verdict: `{last}`"));
        }
        for (pointer, least, most) in &self.numbers {
            match report.pointer(pointer).and_then(Value::as_f64) {
                Some(value) if (*least..=*most).contains(&value) => {}
                found => wrong.push(format!(
                    "{pointer} is {found:?}, expected {least} to {most}"
                )),
            }
        }
        for ledger in ledgers(report) {
            wrong.extend(unbalanced(ledger));
        }
        assert!(
            wrong.is_empty(),
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            wrong.join("\n"),
            outcome.stdout,
            outcome.stderr
        );
    }
}

fn reason_codes(report: &Value) -> Vec<String> {
    let reasons = report["reasons"].as_array().into_iter().flatten();
    reasons
        .filter_map(|reason| reason["code"].as_str().map(str::to_owned))
        .collect()
}

fn ledgers(report: &Value) -> impl Iterator<Item = &Value> {
    let scenarios = report["scenarios"].as_array().into_iter().flatten();
    std::iter::once(&report["sessions"]).chain(scenarios.map(|scenario| &scenario["sessions"]))
}

/// Every report, whatever its verdict, keeps the two sums of the ledger.
fn unbalanced(ledger: &Value) -> Option<String> {
    let count = |name: &str| ledger[name].as_u64().unwrap_or_default();
    let sum = |names: &[&str]| names.iter().map(|name| count(name)).sum::<u64>();
    let balanced = count("planned") == sum(&["started", "dropped", "unstarted"])
        && count("started") == sum(&["passed", "failed", "interrupted", "lost"]);
    (!balanced).then(|| format!("the ledger does not balance: {ledger}"))
}
