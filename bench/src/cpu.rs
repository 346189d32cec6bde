//! CPU time from the kernel's accounting of processes that ended.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Runs a command to its end and tells the CPU time, user and system, of it and of the children that it waited for.
///
/// Commands must be run one at a time: the kernel sums over all children that were waited for.
pub(crate) fn of(command: &mut Command) -> Result<Duration> {
    let before = of_children()?;
    let output = command
        .output()
        .with_context(|| format!("failed to start {}", command.get_program().display()))?;
    let after = of_children()?;
    anyhow::ensure!(
        output.status.success(),
        "{} failed: {}\n{}{}",
        command.get_program().display(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(after.saturating_sub(before))
}

/// CPU time of all children of this process that ended and were waited for.
fn of_children() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")
        .context("failed to read the kernel's accounting in /proc")?;
    children_time(&stat).context("failed to parse /proc/self/stat")
}

/// Fields 16 and 17 of `/proc/PID/stat`, in ticks of 10 ms.
fn children_time(stat: &str) -> Option<Duration> {
    // The second field is a name in parentheses, which may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(13);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194304 100 200 0 0 5 6 700 800 20 0 1 0 12345 1 1";
        assert_eq!(children_time(stat), Some(Duration::from_secs(15)));
        assert_eq!(children_time("nothing"), None);
    }

    #[test]
    fn a_child_that_works_is_charged_and_one_that_fails_is_named() {
        let busy =
            of(Command::new("sh")
                .args(["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"]))
            .unwrap();
        assert!(busy >= Duration::from_millis(20), "{busy:?}");
        let error = of(Command::new("sh").args(["-c", "echo broken >&2; exit 3"])).unwrap_err();
        assert!(
            error.to_string().contains("exit status: 3") && error.to_string().contains("broken"),
            "{error}"
        );
    }
}
