//! What the kernel accounts to processes: CPU time of those that ended, memory of those that run.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Runs a command to its end and tells the CPU time, user and system, of it and of the children that it waited for.
///
/// Commands must be run one at a time: the kernel sums over all children that were waited for.
pub(crate) fn of(command: &mut Command) -> Result<Duration> {
    of_fed(command, |_| Ok(()))
}

/// The same for a command that reads what `feed` writes. What feeding costs is this process's own, and not counted.
pub(crate) fn of_fed(
    command: &mut Command,
    feed: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<Duration> {
    let program = command.get_program().display().to_string();
    let before = of_children()?;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start {program}"))?;
    let fed = child.stdin.take().map(|mut stdin| feed(&mut stdin));
    let output = child.wait_with_output()?;
    let after = of_children()?;
    // A command that failed has more to say than a pipe that broke because it did.
    anyhow::ensure!(
        output.status.success(),
        "{program} failed: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    fed.unwrap_or(Ok(()))?;
    Ok(after.saturating_sub(before))
}

/// Resident memory of a process that runs, in KiB.
pub(crate) fn resident_kib(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status =
        std::fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    resident(&status).with_context(|| format!("failed to parse {path}"))
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

fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194304 100 200 0 0 5 6 700 800 20 0 1 0 12345 1 1";
        assert_eq!(children_time(stat), Some(Duration::from_secs(15)));
        assert_eq!(children_time("nothing"), None);
        assert_eq!(
            resident("Name:\tx\nVmRSS:\t  1024 kB\nVmData:\t7 kB\n"),
            Some(1024)
        );
        assert_eq!(resident("Name:\tzombie\n"), None);
        assert!(resident_kib(std::process::id()).unwrap() > 100);
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

    #[test]
    fn what_is_fed_is_read() {
        let feed = |stdin: &mut dyn Write| Ok(stdin.write_all(b"ready\n")?);
        let mut reads = Command::new("sh");
        of_fed(reads.args(["-c", "read word; test $word = ready"]), feed).unwrap();
    }
}
