//! The one way out: data to stdout, talk to stderr.
//!
//! A reader that closes our stdout ends the output, not the command: what was running goes on, and the exit code still
//! tells the verdict. Nothing here panics.
use super::error::CliError;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use testmesh_shared::error::Chain;

/// Where a command writes. One per process.
#[derive(Debug)]
pub struct Output {
    closed: AtomicBool,
    colour_out: bool,
    colour_err: bool,
    live: bool,
}

impl Output {
    /// Looks at the terminal and at `NO_COLOR` and `TERM`, once.
    pub fn detect() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = !set("NO_COLOR") && !dumb;
        let terminal = io::stderr().is_terminal();
        Self {
            closed: AtomicBool::new(false),
            colour_out: colour && io::stdout().is_terminal(),
            colour_err: colour && terminal,
            live: terminal && !dumb && !set("CI"),
        }
    }

    /// Whether stdout is shown to someone in colour.
    pub fn colour_out(&self) -> bool {
        self.colour_out
    }

    /// Whether stderr is shown to someone in colour.
    pub fn colour_err(&self) -> bool {
        self.colour_err
    }

    /// Whether stderr is a terminal on which lines may be redrawn.
    pub fn live(&self) -> bool {
        self.live
    }

    /// Writes data to stdout as it is. Nothing is written after its reader has gone.
    ///
    /// # Errors
    /// If stdout cannot be written to, such as on a full disk.
    pub fn data(&self, bytes: &[u8]) -> Result<(), CliError> {
        if self.closed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed.store(true, Ordering::Relaxed);
                Ok(())
            }
            other => other.map_err(CliError::Stdout),
        }
    }

    /// Writes text to stdout, with a newline at its end if it has none.
    ///
    /// # Errors
    /// As [`Output::data`].
    pub fn text(&self, text: &str) -> Result<(), CliError> {
        let mut whole = text.to_owned();
        if !whole.ends_with('\n') {
            whole.push('\n');
        }
        self.data(whole.as_bytes())
    }

    /// Writes one value as indented JSON to stdout.
    ///
    /// # Errors
    /// As [`Output::data`].
    pub fn json(&self, value: &serde_json::Value) -> Result<(), CliError> {
        self.text(&format!("{value:#}"))
    }

    /// Writes lines of talk to stderr. There is nobody to tell if that fails.
    pub fn talk(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        let newline = if text.ends_with('\n') { "" } else { "\n" };
        if stderr.write_all(text.as_bytes()).is_ok() {
            let _ = stderr.write_all(newline.as_bytes());
        }
    }

    /// Writes an error and the way out to stderr.
    pub fn error(&self, error: &CliError) {
        let start = self.label("error:", "1;31");
        self.talk(&format!("{start} {}", Chain(error)));
        self.hint(error);
    }

    /// Writes the way out of an error to stderr, if there is one.
    pub fn hint(&self, error: &CliError) {
        if let Some(hint) = error.hint() {
            self.talk(&format!("{} {hint}", self.label("hint:", "36")));
        }
    }

    fn label(&self, text: &str, colour: &str) -> String {
        if self.colour_err {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
