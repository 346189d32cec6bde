//! `junit.xml`, for CI systems: thresholds, scenarios and integrity as test cases.
//!
//! A case *fails* where the server under test is to blame and is an *error* where the measurement is, so that a build
//! page tells the two apart. The verdict is a case of its own: the file never shows success for a run that did not pass.
use super::format;
use super::model::{Integrity, Report, Scenario, Threshold, ThresholdOutcome};
use crate::verdict::{ReasonClass, VerdictKind};
use quick_junit::{NonSuccessKind, SerializeError, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// Renders the report as JUnit XML.
///
/// # Errors
/// If the XML cannot be written.
pub fn render(report: &Report) -> Result<String, SerializeError> {
    let mut root = quick_junit::Report::new(format!("testmesh {}", report.run.plan));
    let duration = Duration::try_from_secs_f64(report.run.duration).unwrap_or_default();
    root.set_time(duration);
    let suites = [
        ("verdict", vec![verdict(report)]),
        ("integrity", integrity(report)),
        (
            "thresholds",
            report.thresholds.iter().map(threshold).collect(),
        ),
        (
            "scenarios",
            report
                .scenarios
                .iter()
                .map(|one| scenario(one, report.verdict))
                .collect(),
        ),
    ];
    for (name, cases) in suites {
        let mut suite = TestSuite::new(name);
        suite.set_time(duration);
        if name == "verdict" {
            suite.add_property(("run", report.run.id.as_str()));
            suite.add_property(("seed", report.run.seed.to_string().as_str()));
            suite.add_property(("plan_digest", report.run.plan_digest.as_str()));
            suite.add_property(("exit_code", report.exit_code.to_string().as_str()));
        }
        for mut case in cases {
            case.set_classname(format!("{}.{name}", report.run.plan));
            suite.add_test_case(case);
        }
        root.add_test_suite(suite);
    }
    root.to_string()
}

/// A status that says why, on its one line and below.
fn broken(kind: NonSuccessKind, code: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(code).set_message(message);
    status
}

fn verdict(report: &Report) -> TestCase {
    let lines: Vec<_> = report
        .reasons
        .iter()
        .map(|reason| format!("{}: {}", reason.code, reason.message))
        .collect();
    let text = lines.join("\n");
    let first = report
        .reasons
        .first()
        .map_or("unexplained", |reason| reason.code.as_str());
    let status = match report.verdict {
        VerdictKind::Passed => TestCaseStatus::success(),
        VerdictKind::Failed => broken(NonSuccessKind::Failure, first, &text),
        VerdictKind::Inconclusive => broken(NonSuccessKind::Error, first, &text),
    };
    TestCase::new("verdict", status)
}

/// One case per kind of broken row, and one for every other reason that concerns the data or the measurement.
fn integrity(report: &Report) -> Vec<TestCase> {
    let Integrity {
        rows,
        verified,
        missing,
        repeated,
        reordered,
        mismatched,
        ..
    } = report.integrity;
    let counters = [
        ("rows_missing", missing),
        ("rows_repeated", repeated),
        ("rows_reordered", reordered),
        ("rows_mismatched", mismatched),
    ];
    let mut cases: Vec<TestCase> = counters
        .iter()
        .map(|(name, bad)| {
            // The plan may allow a share: the reasons say what is beyond it.
            let status = match report
                .reasons
                .iter()
                .find(|reason| reason.code.as_str() == *name)
            {
                Some(reason) => broken(NonSuccessKind::Failure, name, &reason.message),
                None => TestCaseStatus::success(),
            };
            let mut case = TestCase::new(*name, status);
            case.set_system_out(format!(
                "{} of {} rows; {} verified",
                format::count(*bad),
                format::count(rows),
                format::count(verified)
            ));
            case
        })
        .collect();
    cases.extend(
        report
            .reasons
            .iter()
            .filter(|reason| reason.code.class() == ReasonClass::Validity)
            .map(|reason| {
                TestCase::new(
                    reason.code.as_str(),
                    broken(NonSuccessKind::Error, reason.code.as_str(), &reason.message),
                )
            }),
    );
    cases
}

fn threshold(threshold: &Threshold) -> TestCase {
    let show = |value: Option<f64>| {
        value.map_or_else(
            || format::NOTHING.to_owned(),
            |value| format::value(value, threshold.unit),
        )
    };
    let text = format!(
        "observed {}, limit {}",
        show(threshold.observed),
        show(threshold.limit)
    );
    let status = match threshold.outcome {
        ThresholdOutcome::Passed => TestCaseStatus::success(),
        ThresholdOutcome::Failed if threshold.tainted_by.is_empty() => {
            broken(NonSuccessKind::Failure, "threshold_broken", &text)
        }
        ThresholdOutcome::Failed => {
            let codes: Vec<_> = threshold
                .tainted_by
                .iter()
                .map(|code| code.as_str())
                .collect();
            broken(
                NonSuccessKind::Error,
                "threshold_tainted",
                &format!("{text}; doubtful because of {}", codes.join(", ")),
            )
        }
        ThresholdOutcome::NoData => {
            broken(NonSuccessKind::Error, "no_data", "nothing was measured")
        }
        ThresholdOutcome::NotReached => {
            let mut status = TestCaseStatus::skipped();
            status.set_message("its stage was never reached");
            status
        }
    };
    let mut case = TestCase::new(threshold.expr.as_str(), status);
    case.set_system_out(text);
    case
}

fn scenario(scenario: &Scenario, verdict: VerdictKind) -> TestCase {
    let s = &scenario.sessions;
    let text = format!(
        "planned {}, started {}, passed {}, failed {}, dropped {}, unstarted {}, interrupted {}, lost {}",
        s.planned, s.started, s.passed, s.failed, s.dropped, s.unstarted, s.interrupted, s.lost
    );
    // How many sessions may fail or get lost is the plan's business: a run that passed has no broken scenario.
    let status = if verdict == VerdictKind::Passed {
        TestCaseStatus::success()
    } else if s.lost + s.interrupted + s.unstarted > 0 {
        broken(NonSuccessKind::Error, "sessions_unfinished", &text)
    } else if s.started > 0 && s.passed == 0 {
        broken(NonSuccessKind::Failure, "no_session_passed", &text)
    } else {
        TestCaseStatus::success()
    };
    let mut case = TestCase::new(scenario.name.as_str(), status);
    case.set_system_out(text);
    case
}
