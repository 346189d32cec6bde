//! What a driver brings to the plan format: its keys, and how they are read.
//!
//! Adding a driver is one file with its [`DriverForm`] and its [`DriverStage`], and one line in the
//! agent's table of drivers.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use super::item::Item;
use super::keys::{Form, Keys, State};
use super::model::{Integrity, Stage};
use super::problem::ProblemCode;

/// What bounds a stage without a stream where the plan does not.
pub const STAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a driver read from one stage.
pub trait DriverStage: Any + Debug + Send + Sync {
    /// For the driver to find its own type again.
    fn as_any(&self) -> &dyn Any;

    /// Whether the stage has a stream: it then has no default time-out as a whole, but one to the
    /// first message and one between two.
    fn streams(&self) -> bool {
        false
    }

    /// What bounds the stage where the plan does not.
    fn default_timeout(&self) -> Option<Duration> {
        (!self.streams()).then_some(STAGE_TIMEOUT)
    }

    /// Names that `expect`, `until` and `save` of the stage may read, besides `elapsed`.
    fn results(&self) -> &'static [&'static str];

    /// Values of the label `watch` that the stage measures.
    fn watches(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Checks what refers to the stages of `during`, which are read before. `item` is the value behind the driver's key.
    fn check_during(&self, during: &[Stage], item: Item<'_>) {
        let _ = (during, item);
    }

    /// Checks that the stage's stream has the fields that `integrity` names. `item` is the value of
    /// `integrity`; fields know their own places.
    fn check_integrity(&self, integrity: &Integrity, item: Item<'_>) {
        let _ = integrity;
        item.problem(
            ProblemCode::Conflict,
            "this stage has no stream whose rows could be verified",
            "remove `integrity`, or move it to a stage with a stream",
        );
    }
}

/// One driver's part of the plan format.
#[derive(Debug)]
pub struct DriverForm {
    /// The key in a stage, and in a target: `http`.
    pub name: &'static str,
    /// What the driver does, for the reference.
    pub doc: &'static str,
    /// Whether this build runs it; of one that it does not, nothing else is read.
    pub state: State,
    /// What stands behind its key in a stage.
    pub stage: Form,
    /// The keys of its targets, its own name among them; `None`: it has no targets.
    pub target: Option<&'static Keys>,
    /// Reads the value behind its key in a stage; `None` if that gave problems.
    pub read: fn(Item<'_>) -> Option<Box<dyn DriverStage>>,
    /// Reads a whole target; `None` if that gave problems.
    pub read_target: fn(Item<'_>) -> Option<Arc<dyn Any + Send + Sync>>,
}

impl DriverForm {
    /// The key in its value whose stages run while its stream is open, if it has one.
    pub(super) fn during(&self) -> Option<&'static str> {
        let Form::Object(keys) = self.stage else {
            return None;
        };
        let mut keys = keys.keys.iter();
        let key = keys.find(|key| matches!(key.form, Form::List(Form::Stage)))?;
        Some(key.name)
    }

    /// A driver that is known by name only.
    #[must_use]
    pub const fn not_yet(name: &'static str, doc: &'static str) -> Self {
        Self {
            name,
            doc,
            state: State::NotYet,
            stage: Form::Value,
            target: None,
            read: |_| None,
            read_target: |_| None,
        }
    }
}

/// Drivers that a build may lack, known by name all the same. One that the build has is never looked up here.
pub static NOT_YET: [DriverForm; 4] = [
    DriverForm::not_yet("mongodb", "Reads and writes documents."),
    DriverForm::not_yet("amqp", "Publishes and consumes messages."),
    DriverForm::not_yet("kubernetes", "Reads and waits for resources."),
    DriverForm::not_yet("browser", "Drives a page that stays for the session."),
];

/// The drivers that a build with these lacks.
pub(super) fn lacking(forms: &[&'static DriverForm]) -> impl Iterator<Item = &'static DriverForm> {
    NOT_YET
        .iter()
        .filter(|known| forms.iter().all(|form| form.name != known.name))
}
