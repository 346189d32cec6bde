//! Everything that a change must pass, in order, with the time of each step and the name of the one that failed.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::say;
use crate::workspace::Workspace;
use crate::{steps, test, tidy};

/// A step: its name, and what it does.
pub type Step = (&'static str, fn(&Workspace) -> Result<()>);

/// All steps.
pub const ALL: &[Step] = &[
    ("test", |workspace| test::run(workspace, &[])),
    ("fmt", steps::format_check),
    ("clippy", steps::clippy),
    ("doc", steps::doc),
    ("deny", steps::deny),
    ("tidy", tidy::run),
];

/// All steps but the tests.
pub const AFTER_TEST: &[Step] = ALL.split_at(1).1;

/// Runs `steps` and stops at the first that fails.
///
/// # Errors
///
/// Fails with the name of the step that failed.
pub fn run(workspace: &Workspace, steps: &[Step]) -> Result<()> {
    let mut times = Vec::new();
    for (name, step) in steps {
        say(&format!("== {name}"));
        let started = monotonic();
        step(workspace).with_context(|| format!("step `{name}` failed"))?;
        times.push(format!(
            "{name} {:.0?}",
            monotonic().saturating_sub(started)
        ));
    }
    say(&format!("== all steps passed: {}", times.join(", ")));
    Ok(())
}

/// Time since the first call, for the log alone.
fn monotonic() -> Duration {
    #[expect(
        clippy::disallowed_types,
        reason = "there is no runtime here, and the time of a build step is no measurement"
    )]
    static START: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_failing_step_is_named_and_the_next_is_not_run() {
        let steps: &[Step] = &[
            ("first", |_| Ok(())),
            ("second", |_| anyhow::bail!("no")),
            ("third", |_| unreachable!("runs after a failed step")),
        ];
        let error = run(&Workspace::at(Path::new(".")), steps).unwrap_err();
        assert_eq!(format!("{error:#}"), "step `second` failed: no");
    }

    #[test]
    fn the_tests_come_first_and_the_rest_is_all_the_rest() {
        assert_eq!(ALL[0].0, "test");
        let names: Vec<_> = AFTER_TEST.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["fmt", "clippy", "doc", "deny", "tidy"]);
    }
}
