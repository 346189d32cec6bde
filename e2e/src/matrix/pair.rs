//! One pair of the matrix: runs the plan's short form with the behavior, and compares.

use anyhow::Result;

use super::form::Form;
use super::row::{Row, Sign};
use crate::{Expected, Outcome};

const MANY: f64 = 1e9;
/// The most runs of one pair.
pub(crate) const RUNS: usize = 3;

/// A healthy server passes the plan.
///
/// # Errors
///
/// If the run cannot be started or does not end.
///
/// # Panics
///
/// If it does not pass.
pub async fn check_healthy(form: &Form) -> Result<()> {
    Expected::passed().check(&run(form, "").await?);
    Ok(())
}

/// The plan catches the row's behavior by its own sign and no other, or passes if it cannot see it.
///
/// # Errors
///
/// If the run cannot be started or does not end.
///
/// # Panics
///
/// If the plan does otherwise.
#[expect(
    clippy::print_stderr,
    reason = "a test that fails must say with which of its pairs"
)]
pub async fn check_pair(row: &Row, form: &Form) -> Result<()> {
    eprintln!("{} × {}", row.behavior, form.plan);
    let outcome = run(form, row.behavior).await?;
    check_sign(row.sign(form.plan), &outcome);
    Ok(())
}

/// A run shows a sign and no other, or passes if there is none to show.
///
/// # Panics
///
/// If it does otherwise.
pub fn check_sign(sign: Option<Sign>, outcome: &Outcome) {
    let Some(sign) = sign else {
        Expected::passed().check(outcome);
        return;
    };
    let expected = Expected::failed().because(&sign.reason());
    match sign {
        Sign::Rows(counter) => expected
            .with(&format!("/integrity/{counter}"), 1.0, MANY)
            .check(outcome),
        Sign::RowsAndBroken(counter, thresholds) => {
            expected
                .because("threshold_broken")
                .with(&format!("/integrity/{counter}"), 1.0, MANY)
                .check(outcome);
            check_broken(thresholds, outcome);
        }
        // The threshold on failed sessions is broken too, and `ended_early` stands for it.
        Sign::EndedEarly([]) => expected.check(outcome),
        Sign::EndedEarly(missed) => {
            expected.because("threshold_broken").check(outcome);
            check_broken(&[missed, &["count(sessions_failed)"]].concat(), outcome);
        }
        Sign::BrokenWithoutData(thresholds) => {
            expected.because("no_data").check(outcome);
            check_broken(thresholds, outcome);
        }
        Sign::Broken(thresholds) => {
            expected.check(outcome);
            check_broken(thresholds, outcome);
        }
    }
}

/// Runs a short form. A run whose generator was saturated says itself that it is no evidence about the server: on a busy
/// machine it is repeated, and the last one counts whatever it says.
async fn run(form: &Form, behaviors: &str) -> Result<Outcome> {
    for _ in 1..RUNS {
        let outcome = form.run(behaviors).finish().await?;
        if !is_saturated(&outcome) {
            return Ok(outcome);
        }
    }
    form.run(behaviors).finish().await
}

/// Whether the run itself says that its generator was too slow.
pub(crate) fn is_saturated(outcome: &Outcome) -> bool {
    let reasons = outcome.report["reasons"].as_array();
    reasons
        .into_iter()
        .flatten()
        .any(|reason| reason["code"] == "generator_saturated")
}

/// The thresholds that broke are those of the sign: a behavior that breaks others is caught by accident.
fn check_broken(thresholds: &[&str], outcome: &Outcome) {
    let broken: Vec<&str> = outcome.report["thresholds"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|threshold| threshold["outcome"] == "failed")
        .filter_map(|threshold| threshold["expr"].as_str())
        .collect();
    let all = thresholds
        .iter()
        .all(|start| broken.iter().any(|expr| expr.starts_with(start)));
    let only = broken
        .iter()
        .all(|expr| thresholds.iter().any(|start| expr.starts_with(start)));
    assert!(
        all && only,
        "broken are {broken:?}, expected {thresholds:?}\n--- stdout\n{}\n--- stderr\n{}",
        outcome.stdout,
        outcome.stderr
    );
}
