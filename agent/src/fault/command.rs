//! A program that a fault runs: in a process group of its own, for a bounded time, with the end of its output kept.
use crate::limits;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

/// Why a command did not do its work.
#[derive(Debug, Error)]
pub(super) enum CommandError {
    /// There is no such program, or it may not be run.
    #[error("`{program}` cannot be run: {source}")]
    Start {
        /// As the plan writes it.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It ended, and not with 0.
    #[error("`{program}` ended with {status}{output}")]
    Status {
        /// As the plan writes it.
        program: String,
        /// How.
        status: ExitStatus,
        /// What it printed.
        output: String,
    },
    /// It did not end.
    #[error(
        "`{program}` did not end within {within:?}, and was ended with all that it had started"
    )]
    Timeout {
        /// As the plan writes it.
        program: String,
        /// The bound.
        within: Duration,
    },
}

/// Runs a program with its arguments, and waits for its end. Returns the end of what it printed.
///
/// # Errors
///
/// If it cannot be run, ends with something else than 0, or does not end in time.
///
/// # Cancel safety
///
/// Dropping the future ends the program and everything in its process group.
pub(super) async fn run(words: &[String], within: Duration) -> Result<String, CommandError> {
    let program = words.first().cloned().unwrap_or_default();
    let failed = |source| CommandError::Start {
        program: program.clone(),
        source,
    };
    let mut child = Command::new(&program)
        .args(words.iter().skip(1))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let mut group = Group(child.id());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = async {
        // Whoever keeps the pipes open (a daemon that it started) is not waited for once the program has ended.
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let reading = async { tokio::join!(keep(stdout, &mut out), keep(stderr, &mut err)) };
        let status = {
            tokio::pin!(reading);
            let status = tokio::select! {
                status = child.wait() => status,
                _ = &mut reading => child.wait().await,
            };
            let _ = timeout(Duration::from_millis(100), reading).await;
            status
        };
        status.map(|status| (status, shown(&out, &err)))
    };
    match timeout(within, ended).await {
        Err(_) => Err(CommandError::Timeout { program, within }),
        Ok(Err(error)) => Err(failed(error)),
        Ok(Ok((status, output))) => {
            // What it started in the background is meant to stay.
            group.0 = None;
            if status.success() {
                return Ok(output);
            }
            let output = if output.is_empty() {
                output
            } else {
                format!(": {output}")
            };
            Err(CommandError::Status {
                program,
                status,
                output,
            })
        }
    }
}

/// Reads everything, and keeps the end.
async fn keep(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..read]);
        let over = kept.len().saturating_sub(limits::COMMAND_OUTPUT);
        kept.drain(..over);
    }
}

fn shown(out: &[u8], err: &[u8]) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
    let parts = [text(err), text(out)];
    let parts = parts.iter().filter(|part| !part.is_empty());
    parts.cloned().collect::<Vec<_>>().join(" | ")
}

/// A process group that ends with this, unless it is let go.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let Some(id) = self.0 else { return };
        // The leader alone is ended by its handle; a signal to a group needs the shell's own `kill`.
        let kill = std::process::Command::new("/bin/sh")
            .args(["-c", &format!("kill -KILL -{id}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if let Err(error) = kill {
            tracing::warn!(%error, id, "what a command had started may still run");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, sleep};

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    async fn shell(script: &str, ms: u64) -> Result<String, CommandError> {
        run(
            &words(&["/bin/sh", "-c", script]),
            Duration::from_millis(ms),
        )
        .await
    }

    #[tokio::test]
    async fn a_command_passes_with_0_and_tells_what_it_printed_otherwise() {
        assert_eq!(shell("echo done", 5_000).await.unwrap(), "done");
        let error = shell("echo why >&2; exit 3", 5_000).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "`/bin/sh` ended with exit status: 3: why"
        );
        let error = run(&words(&["/no/such/program"]), Duration::from_secs(5)).await;
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with("`/no/such/program` cannot be run"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn output_without_end_is_cut() {
        let printed = shell("yes | head -c 1000000; echo last", 20_000)
            .await
            .unwrap();
        assert!(printed.len() <= limits::COMMAND_OUTPUT && printed.ends_with("last"));
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_is_ended_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let script = format!("(sleep 1; touch {}) & sleep 30", mark.display());
        let began = Instant::now();
        let error = shell(&script, 200).await.unwrap_err();
        assert!(
            error.to_string().contains("did not end within 200ms"),
            "{error}"
        );
        assert!(began.elapsed() < Duration::from_secs(5));
        sleep(Duration::from_millis(1_500)).await;
        assert!(!mark.exists(), "a child of the command outlived it");
    }
}
