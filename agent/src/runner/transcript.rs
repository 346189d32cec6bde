//! The transcript of sessions: every request and reply as text, without secrets, bounded.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use testmesh_shared::plan::expr::Secrets;

use super::session::bounded;
use crate::driver::StageError;
use crate::driver::transcript::{Listener, Said};

/// The most bytes of one body.
const BODY: usize = 8 << 10;
/// The most bytes that are searched for secrets: what lies beyond is not told, and no secret is longer than what lies between.
const SEARCHED: usize = 64 << 10;

/// Hears what sessions ask and are told, as text of one or more lines.
#[derive(Clone)]
pub struct Transcript(Arc<dyn Fn(&str) + Send + Sync>);

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transcript")
    }
}

impl Transcript {
    /// A transcript that goes there. It is called from the threads of workers and should not block.
    pub fn new(hear: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }
}

/// Tells the transcript of one stage of one session.
#[derive(Debug)]
pub(super) struct Teller<'s> {
    pub(super) transcript: &'s Transcript,
    pub(super) secrets: &'s Secrets,
    pub(super) session: String,
    pub(super) stage: &'s str,
}

impl Teller<'_> {
    /// A try, or the stage, did not come to a good end.
    pub(super) fn failed(&self, mark: &str, error: &StageError) {
        self.tell(mark, &error.to_string(), &[], "");
    }

    fn tell(&self, mark: &str, what: &str, headers: &[(Box<str>, Box<str>)], body: &str) {
        let mut text = format!("{}  {}  {mark} {what}", self.session, self.stage);
        for (name, value) in headers {
            // Writing to a string does not fail.
            let _ = write!(text, "\n    {name}: {value}");
        }
        // Masked whole, for a cut could leave a part of a secret.
        let masked = self.secrets.mask(&text).into_owned();
        let searched = &body[..body.floor_char_boundary(SEARCHED)];
        let body = bounded(self.secrets.mask(searched).into_owned(), BODY);
        let mut text = masked;
        for line in body.lines() {
            let _ = write!(text, "\n    {line}");
        }
        (self.transcript.0)(&text);
    }
}

impl Listener for Teller<'_> {
    fn asked(&self, said: &Said<'_>) {
        self.tell("→", said.what, said.headers, said.body);
    }

    fn answered(&self, said: &Said<'_>) {
        self.tell("←", said.what, said.headers, said.body);
    }
}
