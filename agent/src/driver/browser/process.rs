//! A Chromium process: found, started with a folder of its own, and ended so that nothing is left.
//!
//! Two processes are started. Chromium leads a process group of its own. The keeper, a shell that waits for the end of its
//! input, holds the way to end it: when its input closes it kills the whole group and removes the folder. The input closes
//! when we say so, when this value is dropped, and when the agent itself is killed, so that every end is the same one.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::driver::limits;

/// Names that a Chromium may have on the PATH.
const NAMES: [&str; 6] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
];

/// Names the program where a target does not.
const VARIABLE: &str = "TESTMESH_CHROMIUM";

/// Nothing of a first start, of updates, and of saving power in tabs that nobody looks at. Chromium's crash handlers leave its
/// process group, and end by themselves when it has ended; without them (`--disable-crashpad-for-testing`) no page loads.
const FLAGS: [&str; 19] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-breakpad",
    "--disable-extensions",
    "--disable-popup-blocking",
    "--disable-features=Translate,MediaRouter,OptimizationHints",
    "--password-store=basic",
    "--remote-debugging-port=0",
];

/// The keeper: reads the group to kill, waits for the end of its input, kills, and removes the folder, in which a process
/// that is just dying may still write.
const KEEPER: &str = r#"
read -r group
read -r _
[ -n "$group" ] && kill -s KILL -- "-$group" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  rm -rf -- "$1" 2>/dev/null
  [ -e "$1" ] || exit 0
  sleep 0.1
done
exit 1
"#;

/// Why no browser could be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// There is none.
    #[error(
        "no Chromium was found: {0}; install it (Debian: apt-get install chromium), or name it by `program` of the target or by TESTMESH_CHROMIUM on the agent"
    )]
    NotFound(String),
    /// The system did not let us.
    #[error("failed to {doing}")]
    Io {
        /// What.
        doing: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended at once.
    #[error("`{program}` ended before it could be used: {status}{said}")]
    Ended {
        /// The program.
        program: String,
        /// How.
        status: String,
        /// The end of what it said.
        said: String,
    },
    /// It never said where to connect.
    #[error("`{program}` was not ready within {limit:?}{said}", limit = limits::BROWSER_START)]
    Late {
        /// The program.
        program: String,
        /// The end of what it said.
        said: String,
    },
}

/// A Chromium that runs. Dropping it ends it, which nobody waits for then.
#[derive(Debug)]
pub(super) struct Chromium {
    /// Where its websocket is.
    pub(super) endpoint: String,
    child: Child,
    keeper: Child,
    /// What it says must be read, or it would stand still one day.
    stderr: ChildStderr,
}

impl Chromium {
    /// Starts one and waits until it can be connected to.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends what was started.
    pub(super) async fn start(program: Option<&Path>) -> Result<Self, StartError> {
        let program = find(program)?;
        let folder = folder()?;
        let mut keeper = keeper(&folder)?;
        let mut child = spawn(&program, &folder)?;
        let failed = |doing| move |source| StartError::Io { doing, source };
        let group = child.id().map(|id| format!("{id}\n")).unwrap_or_default();
        let input = keeper.stdin.as_mut().expect("the keeper has an input");
        input
            .write_all(group.as_bytes())
            .await
            .map_err(failed("tell the browser's keeper".to_owned()))?;
        let mut stderr = child.stderr.take().expect("what it says is piped");
        let mut said = Vec::new();
        let endpoint = timeout(limits::BROWSER_START, endpoint(&mut stderr, &mut said)).await;
        let program = program.display().to_string();
        let said_at_last = tail(&said);
        let endpoint = match endpoint {
            Ok(Ok(Some(endpoint))) => endpoint,
            Ok(Ok(None)) => {
                let status = match timeout(limits::BROWSER_END, child.wait()).await {
                    Ok(Ok(status)) => how(status),
                    _ => "it closed its output".to_owned(),
                };
                return Err(StartError::Ended {
                    program,
                    status,
                    said: said_at_last,
                });
            }
            Ok(Err(source)) => return Err(failed(format!("read what `{program}` says"))(source)),
            Err(_) => {
                return Err(StartError::Late {
                    program,
                    said: said_at_last,
                });
            }
        };
        Ok(Self {
            endpoint,
            child,
            keeper,
            stderr,
        })
    }

    /// Reads what it says until it says no more. Cancel safe: what is read is thrown away.
    pub(super) async fn drain(&mut self) -> Infallible {
        let mut buffer = vec![0; limits::BROWSER_SAID];
        while self
            .stderr
            .read(&mut buffer)
            .await
            .is_ok_and(|read| read > 0)
        {}
        std::future::pending().await
    }

    /// How it ended, if it has ended by itself, which may need a moment to be seen.
    pub(super) async fn ended(&mut self) -> Option<String> {
        let ended = timeout(limits::BROWSER_ENDED, self.child.wait()).await;
        Some(how(ended.ok()?.ok()?))
    }

    /// Ends it with all its processes, and removes its folder.
    pub(super) async fn end(mut self) {
        drop(self.keeper.stdin.take());
        match timeout(limits::BROWSER_END, self.keeper.wait()).await {
            Ok(Ok(status)) if status.success() => {}
            result => tracing::warn!(?result, "a browser's folder could not be removed"),
        }
        // Without effect on one that is dead, as the keeper has seen to.
        let _ = self.child.start_kill();
        if timeout(limits::BROWSER_END, self.child.wait())
            .await
            .is_err()
        {
            tracing::warn!(pid = self.child.id(), "a browser did not end when killed");
        }
    }
}

/// How a process ended, in words.
fn how(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => status.to_string(),
    }
}

/// The program to start.
fn find(named: Option<&Path>) -> Result<PathBuf, StartError> {
    if let Some(name) = named {
        return on_path(name)
            .ok_or_else(|| StartError::NotFound(format!("`program` names `{}`", name.display())));
    }
    if let Some(name) = std::env::var_os(VARIABLE).filter(|name| !name.is_empty()) {
        let name = PathBuf::from(name);
        return on_path(&name)
            .ok_or_else(|| StartError::NotFound(format!("{VARIABLE} names `{}`", name.display())));
    }
    NAMES
        .iter()
        .find_map(|name| on_path(Path::new(name)))
        .ok_or_else(|| StartError::NotFound(format!("none of {} is on the PATH", NAMES.join(", "))))
}

/// A path as it is, a name where the PATH has it.
fn on_path(name: &Path) -> Option<PathBuf> {
    let runs = |path: &Path| {
        path.metadata()
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if name.components().count() > 1 {
        return runs(name).then(|| name.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|path| runs(path))
}

/// A new folder that nobody else can look into.
fn folder() -> Result<PathBuf, StartError> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("testmesh-browser-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            // Of a process with the same number that was killed together with its keeper.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => {
                let doing = format!("make the browser's folder `{}`", folder.display());
                return Err(StartError::Io { doing, source });
            }
        }
    }
}

fn keeper(folder: &Path) -> Result<Child, StartError> {
    Command::new("/bin/sh")
        .args(["-c", KEEPER, "testmesh-browser-keeper"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|source| {
            // Nobody else would.
            let _ = std::fs::remove_dir_all(folder);
            let doing = "start the browser's keeper, /bin/sh".to_owned();
            StartError::Io { doing, source }
        })
}

fn spawn(program: &Path, folder: &Path) -> Result<Child, StartError> {
    let temporary = folder.join("tmp");
    let profile = folder.join("profile");
    let mut flag = OsStr::new("--user-data-dir=").to_owned();
    flag.push(&profile);
    std::fs::create_dir(&temporary)
        .and_then(|()| {
            Command::new(program)
                .args(FLAGS)
                .arg(flag)
                .arg("about:blank")
                .env("HOME", folder)
                .env("TMPDIR", &temporary)
                .env("XDG_CONFIG_HOME", folder)
                .env("XDG_CACHE_HOME", folder)
                .env_remove("DISPLAY")
                .env_remove("DBUS_SESSION_BUS_ADDRESS")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .process_group(0)
                .spawn()
        })
        .map_err(|source| StartError::Io {
            doing: format!("start `{}`", program.display()),
            source,
        })
}

/// Reads until it says where to connect to; none: it says no more.
async fn endpoint(stderr: &mut ChildStderr, said: &mut Vec<u8>) -> io::Result<Option<String>> {
    const MARK: &str = "DevTools listening on ";
    let mut buffer = [0; 1024];
    loop {
        let read = stderr.read(&mut buffer).await?;
        if read == 0 {
            return Ok(None);
        }
        said.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(said);
        if let Some((_, after)) = text.split_once(MARK)
            && let Some((endpoint, _)) = after.split_once('\n')
        {
            return Ok(Some(endpoint.trim().to_owned()));
        }
        drop(text);
        let surplus = said.len().saturating_sub(limits::BROWSER_SAID);
        said.drain(..surplus);
    }
}

/// The last of what it said, as the end of a sentence.
fn tail(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = lines[lines.len().saturating_sub(3)..].join(" | ");
    if last.is_empty() {
        String::new()
    } else {
        format!("; it said: {last}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_told_with_the_way_out() {
        let error = find(Some(Path::new("/no/such/chromium"))).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("/no/such/chromium") && text.contains("apt-get install"),
            "{text}"
        );
        assert!(find(Some(Path::new("sh"))).is_ok());
        assert!(
            find(Some(Path::new("/etc/passwd"))).is_err(),
            "it cannot be run"
        );
    }

    #[tokio::test]
    async fn one_that_ends_at_once_is_told_with_what_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("chromium");
        std::fs::write(
            &program,
            "#!/bin/sh\necho cannot open display >&2\nexit 7\n",
        )
        .unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = Chromium::start(Some(&program))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("exit code 7"), "{error}");
        assert!(error.contains("cannot open display"), "{error}");
    }
}
