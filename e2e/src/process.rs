//! A child process that says when it is ready, keeps what it printed, and never outlives its test.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

/// How long a process may take to say that it is ready, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What a process has printed on one of its streams.
#[derive(Clone)]
struct Transcript {
    text: Arc<Mutex<String>>,
    lines: watch::Receiver<usize>,
}

/// A running child process; dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    stdout: Transcript,
    stderr: Transcript,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts `program` with `args`, with `env` on top of the test's own environment. Its standard input stays open and empty
    /// as long as it is kept: some programs end with it.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(program: &Path, args: &[String], env: &[(String, String)]) -> Result<Self> {
        Self::start_in(Path::new("."), program, args, env)
    }

    /// The same in a folder of its own.
    ///
    /// # Errors
    ///
    /// As [`Process::start`].
    pub fn start_in(
        folder: &Path,
        program: &Path,
        args: &[String],
        env: &[(String, String)],
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .current_dir(folder)
            .args(args)
            .env_remove("TESTMESH_COORDINATOR")
            .envs(env.iter().cloned())
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .with_context(|| format!("failed to start `{}`", program.display()))?;
        let (stdout, out_reader) = transcribe(child.stdout.take().expect("stdout is piped"));
        let (stderr, err_reader) = transcribe(child.stderr.take().expect("stderr is piped"));
        Ok(Self {
            name: program.display().to_string(),
            child,
            stdout,
            stderr,
            readers: vec![out_reader, err_reader],
        })
    }

    /// Waits until a line of either stream contains `marker`, and returns that line.
    ///
    /// # Errors
    ///
    /// If the process ends first, or says nothing of the kind within a minute; the error shows what it did say.
    pub async fn line_with(&mut self, marker: &str) -> Result<String> {
        let (mut out, mut err) = (self.stdout.clone(), self.stderr.clone());
        let found = timeout(READY_WITHIN, async {
            loop {
                if let Some(line) = out.find(marker).or_else(|| err.find(marker)) {
                    return Some(line);
                }
                let more = tokio::select! {
                    more = out.lines.changed() => more,
                    more = err.lines.changed() => more,
                };
                if more.is_err() {
                    return out.find(marker).or_else(|| err.find(marker));
                }
            }
        })
        .await;
        match found {
            Ok(Some(line)) => Ok(line),
            Ok(None) => bail!(
                "`{}` ended before it said `{marker}`:\n{}",
                self.name,
                self.said()
            ),
            Err(_) => bail!(
                "`{}` did not say `{marker}` in time:\n{}",
                self.name,
                self.said()
            ),
        }
    }

    /// The id of the process, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a signal by its name, for instance `INT`.
    ///
    /// # Errors
    ///
    /// If the process has ended.
    pub async fn signal(&self, name: &str) -> Result<()> {
        let id = self.id().context("the process has ended")?;
        let status = Command::new("kill")
            .args([&format!("-{name}"), &id.to_string()])
            .status()
            .await?;
        if !status.success() {
            bail!("kill -{name} {id} failed");
        }
        Ok(())
    }

    /// Waits for the process to end, at most `limit`.
    ///
    /// # Errors
    ///
    /// If it still runs by then; the error shows what it said.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let Ok(status) = timeout(limit, self.child.wait()).await else {
            bail!(
                "`{}` still runs after {limit:?}:\n{}",
                self.name,
                self.said()
            );
        };
        for reader in self.readers.drain(..) {
            reader.await?;
        }
        Ok(status?)
    }

    /// All of standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.all()
    }

    /// All of standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.all()
    }

    fn said(&self) -> String {
        format!(
            "--- stdout\n{}\n--- stderr\n{}",
            self.stdout(),
            self.stderr()
        )
    }
}

impl Transcript {
    fn all(&self) -> String {
        self.text
            .lock()
            .expect("no reader panics while it holds the text")
            .clone()
    }

    fn find(&self, marker: &str) -> Option<String> {
        self.all()
            .lines()
            .find(|line| line.contains(marker))
            .map(str::to_owned)
    }
}

/// Keeps reading, so that the child never blocks on a full pipe.
fn transcribe(source: impl AsyncRead + Unpin + Send + 'static) -> (Transcript, JoinHandle<()>) {
    let text = Arc::new(Mutex::new(String::new()));
    let (sender, lines) = watch::channel(0);
    let sink = Arc::clone(&text);
    #[expect(
        clippy::disallowed_methods,
        reason = "the reader ends with the pipe, and `ended` waits for it"
    )]
    let reader = tokio::spawn(async move {
        let mut source = BufReader::new(source).lines();
        while let Ok(Some(line)) = source.next_line().await {
            let mut text = sink
                .lock()
                .expect("no reader panics while it holds the text");
            text.push_str(&line);
            text.push('\n');
            drop(text);
            sender.send_modify(|lines| *lines += 1);
        }
    });
    (Transcript { text, lines }, reader)
}
