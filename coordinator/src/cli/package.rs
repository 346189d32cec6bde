//! A plan with everything it names, read from this machine: what is checked, and what travels to a coordinator.
use super::args::Vars;
use super::error::CliError;
use super::output::Output;
use super::vars;
use crate::report::format;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use testmesh_agent::driver::DRIVERS;
use testmesh_proto::v1::FileRef;
use testmesh_shared::digest::Digest;
use testmesh_shared::plan::{
    self, Colour, Files, MAX_FILES, MAX_PLAN, Narrowing, NoScenario, Plan, Problem, ProblemCode,
    Source, Span, VarOverrides,
};

/// A plan that has no problems.
#[derive(Debug)]
pub struct Package {
    plan: Plan,
    notes: Vec<Problem>,
    overrides: VarOverrides,
}

/// A plan that has problems, with its text for the snippets.
#[derive(Debug)]
pub(super) struct Invalid {
    pub(super) file: String,
    pub(super) text: String,
    pub(super) problems: Vec<Problem>,
}

impl Package {
    /// Reads a plan, its files, and the vars that the user set by flag or environment; `more` wins over both, and what
    /// the plan does not have is left out of it.
    ///
    /// # Errors
    /// Every problem that the plan has.
    pub(super) fn read(
        path: &Path,
        given: &Vars,
        more: &[(String, String)],
    ) -> Result<Self, Box<Invalid>> {
        Self::read_with(path, given, more, |name| std::env::var(name).ok())
    }

    fn read_with(
        path: &Path,
        given: &Vars,
        more: &[(String, String)],
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Box<Invalid>> {
        let file = path.display().to_string();
        let text = read_text(path).map_err(|mut problem| {
            problem.file.clone_from(&file);
            Box::new(Invalid {
                file: file.clone(),
                text: String::new(),
                problems: vec![problem],
            })
        })?;
        let folder = Folder::of(path);
        let source = Source {
            name: &file,
            text: &text,
            files: &folder,
        };
        let invalid = |problems| {
            Box::new(Invalid {
                file: file.clone(),
                text: text.clone(),
                problems,
            })
        };
        // A plan may be invalid with its defaults only, so its names are taken before it is read.
        let names = plan::declared_vars(&text);
        let mut overrides = vars::from_flags(given);
        vars::from_environment(names.iter(), &mut overrides, environment);
        for (name, value) in more.iter().filter(|(name, _)| names.contains(name)) {
            overrides.set(name, value);
        }
        let (plan, notes) = plan::load(source, &overrides, DRIVERS).map_err(invalid)?;
        Ok(Self {
            plan,
            notes,
            overrides,
        })
    }

    /// The part of the plan that is to be run.
    ///
    /// # Errors
    /// If the plan has no such part.
    pub(super) fn narrowed(self, to: &Narrowing) -> Result<Self, NoScenario> {
        let plan = self.plan.narrowed(to)?;
        Ok(Self { plan, ..self })
    }

    /// The plan itself.
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What could not be checked before the run.
    pub(super) fn notes(&self) -> &[Problem] {
        &self.notes
    }

    /// Overrides of the plan's vars, as a JSON object of names and values in YAML.
    pub(super) fn overrides(&self) -> String {
        self.overrides.to_json()
    }

    /// The plan's name on this machine.
    pub fn plan_file(&self) -> String {
        self.plan.file.clone()
    }

    /// The digest of the plan's text.
    pub fn plan_digest(&self) -> String {
        Digest::of(self.plan.source.as_bytes()).to_string()
    }

    /// The files that the plan names.
    pub fn files(&self) -> Vec<FileRef> {
        let files = self.plan.files.iter().map(|file| FileRef {
            path: file.path.clone(),
            digest: file.digest.to_string(),
            size: u64::try_from(file.bytes.len()).unwrap_or(u64::MAX),
        });
        files.collect()
    }

    /// Everything that travels, each content once.
    pub fn blobs(&self) -> BTreeMap<String, &[u8]> {
        let files = self
            .plan
            .files
            .iter()
            .map(|file| (file.digest.to_string(), file.bytes.as_ref()));
        files
            .chain([(self.plan_digest(), self.plan.source.as_bytes())])
            .collect()
    }
}

impl Invalid {
    /// Shows the problems to a person, on stderr, and says what follows from them.
    pub(super) fn refuse(&self, output: &Output) -> CliError {
        let colour = if output.colour_err() {
            Colour::Always
        } else {
            Colour::Never
        };
        output.talk(&plan::render(&self.problems, &self.text, colour));
        self.error()
    }

    /// What follows from the problems.
    pub(super) fn error(&self) -> CliError {
        let count = u64::try_from(self.problems.len()).unwrap_or(u64::MAX);
        CliError::PlanInvalid {
            file: self.file.clone(),
            problems: format::plural(count, "problem", "problems"),
        }
    }
}

/// Reads a plan's text, and no more of it than a plan may have.
fn read_text(path: &Path) -> Result<String, Problem> {
    let unreadable = |reason: String| {
        Problem::new(
            Span::START,
            ProblemCode::File,
            format!("the plan cannot be read: {reason}"),
        )
        .hint("name a YAML file; `plans/` holds examples")
    };
    let bytes = read_bounded(path, MAX_PLAN).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Problem::new(
            Span::START,
            ProblemCode::Yaml,
            format!("the plan is not UTF-8 text: byte {at} is none"),
        )
        .hint("save it as UTF-8")
    })
}

/// The content of a regular file, cut one byte beyond `limit`: enough to see that it is too large.
fn read_bounded(path: &Path, limit: usize) -> Result<Vec<u8>, String> {
    // Opening a pipe would wait for whoever writes to it.
    let kind = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !kind.is_file() {
        return Err("it is not a file".to_owned());
    }
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let limit = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// The folder that a plan's paths are relative to.
struct Folder(PathBuf);

impl Folder {
    fn of(plan: &Path) -> Self {
        Self(plan.parent().map(Path::to_path_buf).unwrap_or_default())
    }
}

impl Files for Folder {
    fn read(&self, path: &str) -> Result<Arc<[u8]>, String> {
        read_bounded(&self.0.join(path), MAX_FILES).map(Arc::from)
    }
}

#[cfg(test)]
mod tests {
    use super::{Folder, Package, read_bounded};
    use crate::cli::args::Vars;
    use std::path::Path;
    use testmesh_shared::plan::{Files, ProblemCode};

    #[track_caller]
    fn code(path: &Path) -> ProblemCode {
        let invalid = Package::read(path, &Vars { var: Vec::new() }, &[]).unwrap_err();
        invalid.problems[0].code
    }

    #[test]
    fn what_is_no_plan_is_a_problem_with_the_plans_name() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(code(&folder.path().join("absent.yaml")), ProblemCode::File);
        assert_eq!(code(folder.path()), ProblemCode::File);
        let binary = folder.path().join("binary.yaml");
        std::fs::write(&binary, [b'a', 0xff, 0xfe]).unwrap();
        assert_eq!(code(&binary), ProblemCode::Yaml);
    }

    #[test]
    fn the_environment_mends_a_plan_that_is_invalid_with_its_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.yaml");
        let plan = "testmesh: v1\nname: t\nvars: { users: 0 }\ntargets: { web: { http: 'http://x' } }\nscenarios:\n  s:\n    load: { virtual_users: '${vars.users}', for: 1s }\n    stages:\n      - { name: a, http: { target: web, get: / } }\n";
        std::fs::write(&path, plan).unwrap();
        let given = Vars { var: Vec::new() };
        let read = |users: Option<&str>, more: &[(String, String)]| {
            let environment = |name: &str| users.filter(|_| name == "TESTMESH_VAR_USERS");
            let environment = |name: &str| environment(name).map(str::to_owned);
            Package::read_with(&path, &given, more, environment)
        };
        assert!(read(None, &[]).is_err());
        assert_eq!(read(Some("7"), &[]).unwrap().plan().vars["users"], 7);
        let more = |name: &str| [(name.to_owned(), "8".to_owned())];
        let package = read(Some("7"), &more("users")).unwrap();
        assert_eq!(package.plan().vars["users"], 8);
        assert!(read(Some("7"), &more("unknown")).is_ok());
    }

    #[test]
    fn files_are_read_relative_to_the_plan_and_never_beyond_the_bound() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("feed.csv"), b"12345").unwrap();
        let files = Folder::of(&folder.path().join("plan.yaml"));
        assert_eq!(files.read("feed.csv").unwrap().as_ref(), b"12345");
        assert!(files.read("nothing.csv").is_err());
        assert_eq!(
            read_bounded(&folder.path().join("feed.csv"), 2).unwrap(),
            b"123"
        );
    }
}
