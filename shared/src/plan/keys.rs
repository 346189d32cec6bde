//! What a table of keys is made of.
//!
//! One table says everything about the plan format: it is walked beside a plan to find unknown,
//! missing and mistyped keys, and it is written out as JSON Schema and as the reference. The
//! top-level tables are in `table.rs`; a driver brings its own with its [`super::DriverForm`].

/// An object of the plan format.
#[derive(Debug)]
pub struct Keys {
    /// What it is called in the reference and in problems: `scenario`.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// Its keys, in the order of the reference.
    pub keys: &'static [Key],
    /// Keys of which not all may stand together.
    pub groups: &'static [Group],
}

/// One key of an object.
#[derive(Debug)]
pub struct Key {
    /// As written in a plan.
    pub name: &'static str,
    /// What its value may be.
    pub form: Form,
    /// Whether it must be there.
    pub need: Need,
    /// Whether this build runs it.
    pub state: State,
    /// What it means.
    pub doc: &'static str,
}

/// Whether a key must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It must.
    Required,
    /// It need not; nothing holds without it.
    Optional,
    /// It need not; this holds without it.
    Default(&'static str),
}

/// Whether this build runs a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It does.
    Built,
    /// It knows the name only.
    NotYet,
}

/// Keys of which not all may stand together.
#[derive(Debug, Clone, Copy)]
pub enum Group {
    /// Exactly one of them.
    ExactlyOne(&'static [&'static str]),
    /// One of them, or none.
    AtMostOne(&'static [&'static str]),
}

/// What a value may be.
///
/// Numbers, times, words and names may be written `${vars…}`, which is resolved when the plan is
/// loaded; templates and expressions are evaluated by agents.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// A name: letters, digits, `_`, `-` and `.`.
    Name,
    /// Text.
    Text,
    /// Text with `${…}` in it.
    Template,
    /// An expression.
    Expr,
    /// `true` or `false`.
    Bool,
    /// A whole number in a range.
    Int(i64, i64),
    /// `250ms`, `1m30s`.
    Duration,
    /// `4MiB`, `512`.
    Size,
    /// `1%`, `0.01`.
    Share,
    /// One of these words.
    Word(&'static [&'static str]),
    /// The path of a file, relative to the plan.
    File,
    /// A field of a message: `a.b`.
    FieldPath,
    /// The name of a target of that driver.
    Target(&'static str),
    /// Any JSON, with templates for strings.
    Json,
    /// Any value; `${vars…}` in it is resolved when the plan is loaded.
    Value,
    /// A list.
    List(&'static Form),
    /// A map from names.
    Map(&'static Form),
    /// An object with these keys.
    Object(&'static Keys),
    /// Any of these; which one follows from the kind of value.
    Either(&'static [Form]),
    /// A stage: the keys of every stage, and those of one driver.
    Stage,
    /// A target: the keys of one driver's targets.
    TargetDefinition,
}

impl Key {
    /// A key that need not be there.
    #[must_use]
    pub const fn new(name: &'static str, form: Form, doc: &'static str) -> Self {
        Self {
            name,
            form,
            need: Need::Optional,
            state: State::Built,
            doc,
        }
    }

    /// It must be there.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.need = Need::Required;
        self
    }

    /// What holds without it.
    #[must_use]
    pub const fn default(mut self, value: &'static str) -> Self {
        self.need = Need::Default(value);
        self
    }

    /// This build does not run it.
    #[must_use]
    pub const fn not_yet(mut self) -> Self {
        self.state = State::NotYet;
        self
    }
}

impl Keys {
    /// The keys of which it needs one.
    pub(super) fn chosen(&self) -> Option<&'static [&'static str]> {
        self.groups.iter().find_map(|group| match group {
            Group::ExactlyOne(names) => Some(*names),
            Group::AtMostOne(_) => None,
        })
    }

    /// The key of that name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}
