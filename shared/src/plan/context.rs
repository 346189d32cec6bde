//! What reading a plan carries along: the problems so far, the variables, the files, the drivers.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::expr::{Names, Scope, Value};
use super::form::DriverForm;
use super::model::{PlanFile, Target};
use super::problem::{MAX_PROBLEMS, Problem, ProblemCode, Span};
use crate::digest::Digest;
use crate::feed::Feed;

/// The most bytes of all files that a plan names.
pub const MAX_FILES: usize = 64 << 20;

/// Stands for every feed where an expression reads `feed` as a whole; no feed has this name.
const ALL_FEEDS: &str = "*";

/// Where the files that a plan names come from.
pub trait Files {
    /// The content of a file, by its path as the plan wrote it.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, for people.
    fn read(&self, path: &str) -> Result<Arc<[u8]>, String>;
}

/// No files at all.
#[derive(Debug, Clone, Copy)]
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _path: &str) -> Result<Arc<[u8]>, String> {
        Err("there are no files here".to_owned())
    }
}

/// The state of one reading. Shared by reference, so that readers need no `&mut` of each other.
pub(super) struct Context<'r> {
    pub(super) source: &'r str,
    files: &'r dyn Files,
    pub(super) forms: &'r [&'static DriverForm],
    pub(super) vars: serde_json::Map<String, serde_json::Value>,
    /// The same for the evaluator, which shares it.
    pub(super) vars_value: Value,
    /// A scope with nothing but `vars`, for what is resolved now, and what may be read there.
    pub(super) scope: Scope<'static>,
    pub(super) names: Names,
    problems: RefCell<Vec<Problem>>,
    notes: RefCell<Vec<Problem>>,
    pub(super) targets: RefCell<Vec<Arc<Target>>>,
    named_files: RefCell<Vec<PlanFile>>,
    /// Fields of `feed` that expressions read since they were last taken.
    read_feeds: RefCell<BTreeSet<String>>,
}

impl<'r> Context<'r> {
    pub(super) fn new(
        source: &'r str,
        files: &'r dyn Files,
        forms: &'r [&'static DriverForm],
        vars: serde_json::Map<String, serde_json::Value>,
        problems: Vec<Problem>,
    ) -> Self {
        let mut scope = Scope::root();
        let vars_value = Value::from_json(&serde_json::Value::Object(vars.clone()));
        scope.set("vars", vars_value.clone());
        let mut names = Names::default();
        names.add_fields("vars", vars.keys());
        for name in ["secrets", "session", "run", "agent", "feed"] {
            let hint = "this is resolved when the plan is loaded, where only `vars` are known";
            names.explain(name, hint);
        }
        Self {
            source,
            files,
            forms,
            vars,
            vars_value,
            scope,
            names,
            problems: RefCell::new(problems),
            notes: RefCell::default(),
            targets: RefCell::default(),
            named_files: RefCell::default(),
            read_feeds: RefCell::default(),
        }
    }

    pub(super) fn report(&self, problem: Problem) {
        let mut problems = self.problems.borrow_mut();
        // Walk and readers may find the same twice; a plan of problems only must not cost memory.
        if problems.len() < 4 * MAX_PROBLEMS {
            problems.push(problem);
        }
    }

    /// Whether there are so many problems that no other would be told.
    pub(super) fn is_full(&self) -> bool {
        self.problems.borrow().len() >= 4 * MAX_PROBLEMS
    }

    pub(super) fn note(&self, problem: Problem) {
        let mut notes = self.notes.borrow_mut();
        if notes.len() < MAX_PROBLEMS && !notes.contains(&problem) {
            notes.push(problem);
        }
    }

    pub(super) fn form(&self, name: &str) -> Option<&'static DriverForm> {
        super::form::known(self.forms).find(|form| form.name == name)
    }

    /// Reads a file, once per path.
    pub(super) fn file(&self, path: &str) -> Result<PlanFile, Problem> {
        if let Some(file) = self
            .named_files
            .borrow()
            .iter()
            .find(|file| file.path == path)
        {
            return Ok(file.clone());
        }
        let at = Span::START;
        let bytes = self.files.read(path).map_err(|reason| {
            let message = format!("`{path}` cannot be read: {reason}");
            Problem::new(at, ProblemCode::File, message).hint("paths are relative to the plan")
        })?;
        let mut files = self.named_files.borrow_mut();
        let total: usize = files.iter().map(|file| file.bytes.len()).sum();
        if total + bytes.len() > MAX_FILES {
            let message =
                format!("with `{path}` the plan's files have more than {MAX_FILES} bytes");
            return Err(Problem::new(at, ProblemCode::TooLarge, message).hint("name smaller files"));
        }
        let digest = Digest::of(&bytes);
        let file = PlanFile {
            path: path.to_owned(),
            digest,
            bytes,
        };
        files.push(file.clone());
        Ok(file)
    }

    /// An expression reads these fields of `feed`; none: `feed` as a whole.
    pub(super) fn reads_feeds<'f>(&self, fields: impl Iterator<Item = Option<&'f str>>) {
        for field in fields {
            let mut read = self.read_feeds.borrow_mut();
            read.insert(field.unwrap_or(ALL_FEEDS).to_owned());
        }
    }

    /// The feeds of these that were read since this was last asked.
    pub(super) fn take_read_feeds(&self, feeds: &[Arc<Feed>]) -> Vec<Arc<Feed>> {
        let read = self.read_feeds.take();
        let read = |feed: &&Arc<Feed>| read.contains(&feed.name) || read.contains(ALL_FEEDS);
        feeds.iter().filter(read).cloned().collect()
    }

    /// Ends the reading: problems, notes and files.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<Problem>, Vec<PlanFile>) {
        (
            self.problems.into_inner(),
            self.notes.into_inner(),
            self.named_files.into_inner(),
        )
    }
}
