//! Variables: defaults, what overrides them, and variables that use others.

use std::collections::{HashMap, HashSet};

use serde_json::Value as Json;

use super::expr::{ExprProblem, Names, Scope, Template, Value, listed};
use super::nearest::nearest;
use super::problem::{MAX_PROBLEMS, Position, Problem, ProblemCode, Span};
use super::yaml::{self, Entry, Node, NodeKind, core_scalar};

/// The longest row of variables that use each other.
const MAX_CHAIN: usize = 64;
/// The most bytes that variables may come to by using others: each can double the one before it.
const MAX_COMPUTED: usize = 256 << 10;
/// The deepest nesting of a variable that uses others.
const MAX_NESTING: usize = 128;

/// What sets variables from outside of the plan: `--var` and `TESTMESH_VAR_…`.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct VarOverrides(Vec<(String, String)>);

/// A text that sets no variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not NAME=VALUE")]
pub struct NotAnOverride(String);

impl VarOverrides {
    /// Sets a variable to a value written in YAML; the last one counts.
    pub fn set(&mut self, name: impl Into<String>, yaml: impl Into<String>) {
        let name = name.into();
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, yaml.into()));
    }

    /// Sets a variable from `NAME=VALUE`.
    ///
    /// # Errors
    ///
    /// A text without `=`, or without a name before it.
    pub fn set_pair(&mut self, pair: &str) -> Result<(), NotAnOverride> {
        match pair.split_once('=') {
            Some((name, value)) if is_identifier(name.trim()) => {
                self.set(name.trim(), value);
                Ok(())
            }
            _ => Err(NotAnOverride(pair.to_owned())),
        }
    }

    /// Whether a variable is set.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// As it travels: a JSON object of names and values written in YAML.
    #[must_use]
    pub fn to_json(&self) -> String {
        let pairs = self
            .iter()
            .map(|(name, value)| (name.to_owned(), Json::from(value)));
        Json::Object(pairs.collect()).to_string()
    }

    /// Reads what [`Self::to_json`] wrote; no text at all sets nothing. A value that is no string counts as the YAML that
    /// its JSON is.
    ///
    /// # Errors
    ///
    /// A text that is no JSON object.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        let pairs: serde_json::Map<String, Json> =
            serde_json::from_str(if text.is_empty() { "{}" } else { text })?;
        let yaml = |value| match value {
            Json::String(yaml) => yaml,
            other => other.to_string(),
        };
        // An object has each name once.
        let pairs = pairs
            .into_iter()
            .map(|(name, value)| (name, yaml(value)))
            .collect();
        Ok(Self(pairs))
    }

    /// Names and values, as they were set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Whether a text can stand behind the dot of `vars.` or be a loop variable.
pub(super) fn is_identifier(text: &str) -> bool {
    text.len() <= 100
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Names of the variables that a plan's text declares, also where the plan has problems; for what overrides them.
#[must_use]
pub fn declared_vars(text: &str) -> Vec<String> {
    let (root, _) = yaml::parse(text);
    let names = root.as_ref().map(declared).unwrap_or_default().iter();
    names.map(|entry| entry.key.clone()).collect()
}

fn declared(root: &Node) -> &[Entry] {
    root.get("vars").map(Node::entries).unwrap_or_default()
}

/// Resolves `vars`.
pub(super) fn resolve(
    root: &Node,
    overrides: &VarOverrides,
    problems: &mut Vec<Problem>,
) -> serde_json::Map<String, Json> {
    let declared = declared(root);
    unknown_overrides(root, overrides, problems);
    let mut names = Names::default();
    names.add_fields("vars", declared.iter().map(|entry| entry.key.as_str()));
    let by_name = declared.iter().enumerate().rev();
    let mut resolver = Resolver {
        declared,
        overrides: overrides.iter().collect(),
        problems,
        by_name: by_name
            .map(|(at, entry)| (entry.key.as_str(), at))
            .collect(),
        names,
        states: declared.iter().map(|_| State::New).collect(),
        left: MAX_COMPUTED,
        refused: false,
    };
    for (at, entry) in declared.iter().enumerate() {
        if is_identifier(&entry.key) {
            resolver.resolve(at);
        } else {
            let message = format!("`{}` cannot be read as `vars.…`", entry.key);
            let hint = "names of variables are made of letters, digits and `_`";
            resolver.problem(entry.key_span, ProblemCode::BadValue, message, hint);
        }
    }
    // In the plan's order, whatever order they were resolved in.
    let states = resolver.states.into_iter();
    let resolved = states.zip(declared).filter_map(|(state, entry)| {
        let json = match state {
            State::Done(done) => done.json,
            State::Broken => Json::Null,
            State::New | State::Open(_) => return None,
        };
        Some((entry.key.clone(), json))
    });
    resolved.collect()
}

/// Reports what is set but not declared.
fn unknown_overrides(root: &Node, overrides: &VarOverrides, problems: &mut Vec<Problem>) {
    let known: Vec<&str> = declared(root)
        .iter()
        .map(|entry| entry.key.as_str())
        .collect();
    let is_known: HashSet<&str> = known.iter().copied().collect();
    let at = root
        .entry("vars")
        .map_or(Span::START, |entry| entry.key_span);
    let unknown = overrides
        .iter()
        .filter(|(name, _)| !is_known.contains(name));
    for (name, _) in unknown.take(MAX_PROBLEMS) {
        let hint = nearest(name, known.iter().copied()).map_or_else(
            || format!("the plan's `vars` are: {}", listed(known.iter().copied())),
            |near| format!("did you mean `{near}`?"),
        );
        let message = format!("the plan has no variable `{name}` to set");
        problems.push(Problem::new(at, ProblemCode::UnknownName, message).hint(hint));
    }
}

/// A variable's default before the variables that it uses have values.
enum Draft {
    Value(Json),
    Text(Span, Template),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
    /// Its problem has been reported.
    Broken,
}

/// How far a variable is.
enum State {
    New,
    /// Those that it uses come first.
    Open(Draft),
    Done(Done),
    /// Null, and its problem has been reported.
    Broken,
}

struct Done {
    json: Json,
    /// The same for the evaluator, which shares it.
    value: Value,
    /// How many variables stand behind each other up to this one.
    chain: usize,
}

struct Resolver<'p> {
    declared: &'p [Entry],
    overrides: HashMap<&'p str, &'p str>,
    problems: &'p mut Vec<Problem>,
    by_name: HashMap<&'p str, usize>,
    names: Names,
    /// Of each variable, in the plan's order.
    states: Vec<State>,
    /// The bytes that variables which use others may still come to.
    left: usize,
    /// Whether it has been told that variables are too large; once is enough.
    refused: bool,
}

impl<'p> Resolver<'p> {
    fn problem(&mut self, span: Span, code: ProblemCode, message: String, hint: impl Into<String>) {
        self.report(Problem::new(span, code, message).hint(hint));
    }

    fn report(&mut self, problem: Problem) {
        if self.problems.len() < 4 * MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    fn too_large(&mut self, span: Span, message: String, hint: &str) {
        if !self.refused {
            self.refused = true;
            self.problem(span, ProblemCode::TooLarge, message, hint);
        }
    }

    /// Resolves one variable, and before it those it uses. A broken one becomes null.
    ///
    /// Those that wait for others stand in a list, so that no chain of them is deeper than the stack.
    fn resolve(&mut self, first: usize) {
        let mut waiting: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut next = Some(first);
        loop {
            if let Some(at) = next.take() {
                if matches!(self.states[at], State::New) {
                    let (draft, uses) = self.draft(at);
                    self.states[at] = State::Open(draft);
                    waiting.push((at, uses));
                } else if matches!(self.states[at], State::Open(_)) {
                    self.circle(at, waiting.iter().map(|(at, _)| *at));
                }
            }
            let Some((at, uses)) = waiting.last_mut() else {
                return;
            };
            next = uses.pop();
            if next.is_none() {
                let at = *at;
                waiting.pop();
                self.finish(at);
            }
        }
    }

    /// Reports variables that use each other; `at` is used by the last of those that wait, and waits itself.
    fn circle(&mut self, at: usize, waiting: impl Iterator<Item = usize>) {
        let declared = self.declared;
        let names = waiting.skip_while(|waits| *waits != at).chain([at]);
        let names: Vec<&str> = names.map(|at| declared[at].key.as_str()).collect();
        let shown = match names.len() {
            0..=MAX_CHAIN => names.join(" → "),
            most => format!("{} → … → {}", names[..8].join(" → "), names[most - 1]),
        };
        self.problem(
            declared[at].key_span,
            ProblemCode::Cycle,
            format!("variables use each other: {shown}"),
            "give one of them a value of its own",
        );
        self.states[at] = State::Broken;
    }

    /// What a variable's default is made of, and the variables that it uses, the last one first.
    fn draft(&mut self, at: usize) -> (Draft, Vec<usize>) {
        let mut uses = Vec::new();
        let mut seen = HashSet::new();
        let draft = self.node(&self.declared[at].value, &mut |used| {
            if seen.insert(used) {
                uses.push(used);
            }
        });
        uses.reverse();
        (draft, uses)
    }

    fn node(&mut self, node: &'p Node, uses: &mut dyn FnMut(usize)) -> Draft {
        match &node.kind {
            NodeKind::Scalar { text, plain, .. } => {
                if text.contains('$') {
                    self.text(node, text, uses)
                } else if *plain {
                    Draft::Value(core_scalar(text))
                } else {
                    Draft::Value(text.as_str().into())
                }
            }
            NodeKind::List(items) => {
                Draft::List(items.iter().map(|item| self.node(item, uses)).collect())
            }
            NodeKind::Map(entries) => Draft::Map(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), self.node(&entry.value, uses)))
                    .collect(),
            ),
        }
    }

    fn text(&mut self, node: &'p Node, text: &str, uses: &mut dyn FnMut(usize)) -> Draft {
        if self.problems.len() >= 4 * MAX_PROBLEMS {
            return Draft::Broken;
        }
        let at = Position { ..node.span.start };
        let (template, found) = match Template::compile(text, at) {
            Ok(template) => {
                let found = template.check(&self.names);
                (Some(template), found)
            }
            Err(found) => (None, found),
        };
        for ExprProblem {
            scope,
            message,
            hint,
            ..
        } in &found
        {
            // A name that is not there may be elsewhere; an expression that does not compile is wrong everywhere.
            let (code, otherwise) = if *scope {
                let only = "variables may use `vars` only".to_owned();
                (ProblemCode::NotInScope, Some(only))
            } else {
                (ProblemCode::Expression, None)
            };
            let mut problem = Problem::new(node.span, code, message.clone());
            problem.hint = hint.clone().or(otherwise);
            self.report(problem);
        }
        let Some(template) = template.filter(|_| found.is_empty()) else {
            return Draft::Broken;
        };
        for field in template.fields("vars") {
            let Some(name) = field else {
                let message = "a variable cannot use `vars` as a whole, which it is part of";
                let hint = "name the variables that it uses";
                self.problem(node.span, ProblemCode::Cycle, message.to_owned(), hint);
                return Draft::Broken;
            };
            if let Some(used) = self.by_name.get(name) {
                uses(*used);
            }
        }
        Draft::Text(node.span, template)
    }

    /// Gives a variable its value; those that it uses have theirs.
    fn finish(&mut self, at: usize) {
        let entry = &self.declared[at];
        let State::Open(draft) = std::mem::replace(&mut self.states[at], State::Broken) else {
            // It is part of a circle.
            if let Some(json) = self.overridden(entry, None) {
                self.states[at] = State::Done(Done::new(json, 1));
            }
            return;
        };
        let mut chain = 0;
        let default = self.json(&draft, &mut chain);
        let default = default.filter(|_| self.fits(entry, chain + 1));
        let json = self.overridden(entry, default.as_ref()).or(default);
        if let Some(json) = json {
            self.states[at] = State::Done(Done::new(json, chain + 1));
        }
    }

    fn fits(&mut self, entry: &Entry, chain: usize) -> bool {
        if chain > MAX_CHAIN {
            let message = format!("more than {MAX_CHAIN} variables use each other in a row");
            let hint = "write values where they are used; a variable should need one or two others";
            self.too_large(entry.key_span, message, hint);
        }
        chain <= MAX_CHAIN
    }

    /// The value of a draft, and how many variables stand behind it.
    fn json(&mut self, draft: &Draft, chain: &mut usize) -> Option<Json> {
        match draft {
            Draft::Value(json) => Some(json.clone()),
            Draft::Text(span, template) => self.evaluate(*span, template, chain),
            // All items are evaluated before any is missed, so that all problems are found.
            Draft::List(items) => {
                let items: Vec<_> = items.iter().map(|item| self.json(item, chain)).collect();
                items.into_iter().collect::<Option<_>>().map(Json::Array)
            }
            Draft::Map(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| Some((key.clone(), self.json(value, chain)?)))
                    .collect();
                entries.into_iter().collect::<Option<_>>().map(Json::Object)
            }
            Draft::Broken => None,
        }
    }

    fn evaluate(&mut self, span: Span, template: &Template, chain: &mut usize) -> Option<Json> {
        let mut used = Vec::new();
        for field in template.fields("vars") {
            let at = *self.by_name.get(field?)?;
            let State::Done(done) = &self.states[at] else {
                return None;
            };
            *chain = (*chain).max(done.chain);
            used.push((self.declared[at].key.as_str(), done.value.clone()));
        }
        if self.refused || *chain >= MAX_CHAIN {
            // `fits` says so; there is no value to go on with.
            return (!self.refused).then_some(Json::Null);
        }
        let mut scope = Scope::root();
        scope.set("vars", Value::map(used));
        let value = match template.value_within(&scope, self.left) {
            Ok(value) => value,
            Err(error) => {
                let hint = "see the variables that it uses";
                self.problem(span, ProblemCode::BadValue, error.to_string(), hint);
                return None;
            }
        };
        let weight = value.as_ref().and_then(|value| weight(value, self.left, 0));
        let Some((value, weight)) = value.zip(weight) else {
            let message = format!(
                "variables that use others come to more than {MAX_COMPUTED} bytes or {MAX_NESTING} levels"
            );
            let hint = "write long values where they are used";
            self.too_large(span, message, hint);
            return None;
        };
        self.left -= weight;
        Some(value.to_json())
    }

    /// The value that overrides the default, if there is one and it is of the default's type.
    fn overridden(&mut self, entry: &Entry, default: Option<&Json>) -> Option<Json> {
        let yaml = *self.overrides.get(entry.key.as_str())?;
        let value = match default {
            // What is text may look like anything.
            Some(Json::String(_)) if !yaml.trim_start().starts_with(['"', '\'']) => yaml.into(),
            _ => self.parsed(entry, yaml)?,
        };
        let fits = match (default, &value) {
            (None | Some(Json::Null), _) => true,
            (Some(Json::Number(default)), Json::Number(value)) => {
                default.is_f64() || !value.is_f64()
            }
            (Some(default), value) => {
                std::mem::discriminant(default) == std::mem::discriminant(value)
            }
        };
        if fits {
            return Some(value);
        }
        let kind = default.map_or("null", json_kind);
        let message = format!(
            "`{}` is set to `{}`, but its default is {kind}",
            entry.key,
            shortened(yaml)
        );
        self.problem(
            entry.key_span,
            ProblemCode::WrongType,
            message,
            format!("set it to {kind}"),
        );
        None
    }

    fn parsed(&mut self, entry: &Entry, yaml: &str) -> Option<Json> {
        let (node, problems) = yaml::parse(yaml);
        if let Some(problem) = problems.first() {
            let message = format!(
                "`{}` is set to `{}`: {}",
                entry.key,
                shortened(yaml),
                problem.message
            );
            self.problem(
                entry.key_span,
                ProblemCode::BadValue,
                message,
                "values are written in YAML",
            );
            return None;
        }
        Some(node.as_ref().map_or(Json::Null, plain_json))
    }
}

impl Done {
    fn new(json: Json, chain: usize) -> Self {
        let value = Value::from_json(&json);
        Self { json, value, chain }
    }
}

/// The bytes that a value comes to, if they are no more than `most` and it is not nested too deeply.
fn weight(value: &Value, most: usize, depth: usize) -> Option<usize> {
    let mut total = value.as_str().map_or(1, str::len).max(1);
    if depth > MAX_NESTING || total > most {
        return None;
    }
    for item in value.as_list().unwrap_or_default() {
        total += weight(item, most - total, depth + 1)?;
    }
    for (key, item) in value.as_map().into_iter().flatten() {
        total += weight(key, most - total, depth + 1)?;
        total += weight(item, most - total, depth + 1)?;
    }
    Some(total)
}

/// A value as it is written, nothing resolved.
fn plain_json(node: &Node) -> Json {
    match &node.kind {
        NodeKind::Scalar {
            text, plain: true, ..
        } => core_scalar(text),
        NodeKind::Scalar { text, .. } => text.as_str().into(),
        NodeKind::List(items) => items.iter().map(plain_json).collect(),
        NodeKind::Map(entries) => Json::Object(
            entries
                .iter()
                .map(|entry| (entry.key.clone(), plain_json(&entry.value)))
                .collect(),
        ),
    }
}

fn json_kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a bool",
        Json::Number(number) if number.is_f64() => "a number",
        Json::Number(_) => "a whole number",
        Json::String(_) => "text",
        Json::Array(_) => "a list",
        Json::Object(_) => "a map",
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}
