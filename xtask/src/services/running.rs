//! One server that was started here, in a process group of its own, so that it can be ended with all its children.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this program has no runtime, and no clock that a test could pause"
)]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process::{on_path, succeeds};

/// Until a server answers, on a machine that builds something else meanwhile.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// Until a server has ended by itself; `RabbitMQ` takes seven seconds.
const ENDED_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// How much of a log an error shows.
const SHOWN: usize = 2_000;

/// A running server. Dropping it ends it and waits.
#[derive(Debug)]
pub struct Running {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a program with its output in `log`. It ends with this process, however that ends.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be started.
    pub fn start(name: &'static str, command: &Command, log: &Path) -> Result<Self> {
        let file = File::create(log)
            .with_context(|| format!("failed to create the log `{}`", log.display()))?;
        let mut command = tied(command);
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("failed to share a log")?)
            .stderr(file)
            .process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("failed to start {name}"))?;
        Ok(Self {
            name,
            child,
            log: log.to_path_buf(),
        })
    }

    /// Waits until `answers` does.
    ///
    /// # Errors
    ///
    /// Fails when the program ends first, or takes too long; the error shows the end of its log.
    pub fn wait_until(&mut self, answers: impl Fn() -> bool) -> Result<()> {
        let started = Instant::now();
        while !answers() {
            self.still_runs()?;
            anyhow::ensure!(
                started.elapsed() < READY_WITHIN,
                "{} does not answer after {READY_WITHIN:?}; {}",
                self.name,
                self.told()
            );
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Whether it has not ended.
    ///
    /// # Errors
    ///
    /// Fails when it has; the error shows the end of its log.
    pub fn still_runs(&mut self) -> Result<()> {
        let ended = self.child.try_wait().context("failed to wait")?;
        match ended {
            Some(status) => anyhow::bail!("{} ended: {status}; {}", self.name, self.told()),
            None => Ok(()),
        }
    }

    fn told(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = text
            .get(text.len().saturating_sub(SHOWN)..)
            .unwrap_or(&text);
        format!(
            "{} ends with:\n{}",
            self.log.display(),
            String::from_utf8_lossy(text)
        )
    }

    fn signal(&self, name: &str) {
        // A negative number is a whole process group.
        let group = format!("-{}", self.child.id());
        let _gone = succeeds(Command::new("kill").args([&format!("-{name}"), "--", &group]));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal("TERM");
        let started = Instant::now();
        while started.elapsed() < ENDED_WITHIN {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(POLL);
        }
        // Whatever of its children is left, or the whole of it.
        self.signal("KILL");
        let _ended = self.child.wait();
    }
}

/// The same command, made to end when this process does: a developer's Ctrl-C, or a killed build, leaves nothing behind.
fn tied(command: &Command) -> Command {
    let mut tied = match on_path("setpriv") {
        Some(setpriv) => {
            let mut tied = Command::new(setpriv);
            tied.args(["--pdeathsig", "TERM", "--"])
                .arg(command.get_program());
            tied
        }
        None => Command::new(command.get_program()),
    };
    tied.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(name, value),
            None => tied.env_remove(name),
        };
    }
    tied
}

/// A port of the loopback that nobody listens on.
///
/// # Errors
///
/// Fails when there is none.
pub(super) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr().context("no port is free")?.port())
}

/// What a server says to `greeting`, as far as it comes in one piece.
pub(super) fn answer(port: u16, greeting: &[u8]) -> Option<Vec<u8>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(greeting).ok()?;
    let mut said = vec![0; 1024];
    let length = stream.read(&mut said).ok()?;
    said.truncate(length);
    (length > 0).then_some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_is_told_with_its_log() {
        let log = std::env::temp_dir().join(format!("xtask-{}.log", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such port; exit 3"]);
        let mut running = Running::start("something", &command, &log).unwrap();
        let error = running.wait_until(|| false).unwrap_err().to_string();
        assert!(error.contains("something ended: exit status: 3"), "{error}");
        assert!(error.contains("no such port"), "{error}");
        std::fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_server_is_ended_with_its_children() {
        let log = std::env::temp_dir().join(format!("xtask-{}-group.log", std::process::id()));
        let mut command = Command::new("sh");
        // The child ignores the polite signal.
        command.args(["-c", "(trap '' TERM; sleep 60) & echo $!; wait"]);
        let mut running = Running::start("something", &command, &log).unwrap();
        let child = || {
            std::fs::read_to_string(&log)
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        running.wait_until(|| !child().is_empty()).unwrap();
        let child = child();
        drop(running);
        assert!(!succeeds(Command::new("kill").args(["-0", &child])) || is_zombie(&child));
        std::fs::remove_file(log).unwrap();
    }

    /// Nobody may have waited for it yet.
    fn is_zombie(process: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.contains(") Z ")
    }
}
