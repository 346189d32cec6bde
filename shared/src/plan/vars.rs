//! Variables: defaults, what overrides them, and variables that use others.

use std::collections::HashSet;

use serde_json::Value as Json;

use super::expr::{Names, Scope, Template, Value};
use super::nearest::nearest;
use super::problem::{Position, Problem, ProblemCode, Span};
use super::yaml::{self, Entry, Node, NodeKind, core_scalar};

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
        let mut overrides = Self::default();
        for (name, value) in pairs {
            match value {
                Json::String(yaml) => overrides.set(name, yaml),
                other => overrides.set(name, other.to_string()),
            }
        }
        Ok(overrides)
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

/// Resolves `vars`.
pub(super) fn resolve(
    root: &Node,
    overrides: &VarOverrides,
    problems: &mut Vec<Problem>,
) -> serde_json::Map<String, Json> {
    let declared = root.get("vars").map(Node::entries).unwrap_or_default();
    for (name, _) in overrides
        .iter()
        .filter(|(name, _)| !declared.iter().any(|entry| entry.key == *name))
    {
        let names = declared.iter().map(|entry| entry.key.as_str());
        let hint = nearest(name, names.clone()).map_or_else(
            || {
                format!(
                    "the plan's `vars` are: {}",
                    names.collect::<Vec<_>>().join(", ")
                )
            },
            |near| format!("did you mean `{near}`?"),
        );
        let message = format!("the plan has no variable `{name}` to set");
        let at = root
            .entry("vars")
            .map_or(Span::START, |entry| entry.key_span);
        problems.push(Problem::new(at, ProblemCode::UnknownName, message).hint(hint));
    }
    let mut resolver = Resolver {
        declared,
        overrides,
        problems,
        done: serde_json::Map::new(),
        broken: HashSet::new(),
    };
    for entry in declared {
        if is_identifier(&entry.key) {
            resolver.variable(entry, &mut Vec::new());
        } else {
            let message = format!("`{}` cannot be read as `vars.…`", entry.key);
            let hint = "names of variables are made of letters, digits and `_`";
            resolver
                .problems
                .push(Problem::new(entry.key_span, ProblemCode::BadValue, message).hint(hint));
        }
    }
    let Resolver { mut done, .. } = resolver;
    // In the plan's order, whatever order they were resolved in.
    declared
        .iter()
        .filter_map(|entry| Some((entry.key.clone(), done.remove(&entry.key)?)))
        .collect()
}

struct Resolver<'p> {
    declared: &'p [Entry],
    overrides: &'p VarOverrides,
    problems: &'p mut Vec<Problem>,
    done: serde_json::Map<String, Json>,
    /// Variables whose problem has been reported.
    broken: HashSet<String>,
}

impl<'p> Resolver<'p> {
    fn problem(&mut self, span: Span, code: ProblemCode, message: String, hint: impl Into<String>) {
        self.problems
            .push(Problem::new(span, code, message).hint(hint));
    }

    /// Resolves one variable, and before it those it uses. A broken one becomes null.
    fn variable(&mut self, entry: &'p Entry, using: &mut Vec<&'p str>) {
        if self.done.contains_key(&entry.key) || self.broken.contains(&entry.key) {
            return;
        }
        if let Some(start) = using.iter().position(|name| *name == entry.key) {
            let mut circle: Vec<&str> = using[start..].to_vec();
            circle.push(&entry.key);
            let message = format!("variables use each other: {}", circle.join(" → "));
            self.problem(
                entry.key_span,
                ProblemCode::Cycle,
                message,
                "give one of them a value of its own",
            );
            self.broken.insert(entry.key.clone());
            return;
        }
        using.push(&entry.key);
        let value = self.node(&entry.value, using);
        using.pop();
        let value = match self.overridden(entry, value.as_ref()) {
            Some(overridden) => Some(overridden),
            None => value,
        };
        if value.is_none() {
            self.broken.insert(entry.key.clone());
        }
        self.done
            .insert(entry.key.clone(), value.unwrap_or(Json::Null));
    }

    fn node(&mut self, node: &'p Node, using: &mut Vec<&'p str>) -> Option<Json> {
        match &node.kind {
            NodeKind::Scalar { text, plain, .. } => {
                if text.contains('$') {
                    self.text(node, text, using)
                } else if *plain {
                    Some(core_scalar(text))
                } else {
                    Some(text.as_str().into())
                }
            }
            NodeKind::List(items) => {
                let items: Vec<_> = items.iter().map(|item| self.node(item, using)).collect();
                items.into_iter().collect::<Option<_>>().map(Json::Array)
            }
            NodeKind::Map(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|entry| Some((entry.key.clone(), self.node(&entry.value, using)?)))
                    .collect();
                entries.into_iter().collect::<Option<_>>().map(Json::Object)
            }
        }
    }

    fn text(&mut self, node: &'p Node, text: &str, using: &mut Vec<&'p str>) -> Option<Json> {
        let mut names = Names::default();
        names.add_fields("vars", self.declared.iter().map(|entry| entry.key.as_str()));
        let at = Position { ..node.span.start };
        let (template, found) = match Template::compile(text, at) {
            Ok(template) => {
                let found = template.check(&names);
                (Some(template), found)
            }
            Err(found) => (None, found),
        };
        for problem in &found {
            let code = if problem.scope {
                ProblemCode::NotInScope
            } else {
                ProblemCode::Expression
            };
            let hint = problem
                .hint
                .clone()
                .unwrap_or_else(|| "variables may use `vars` only".to_owned());
            self.problem(node.span, code, problem.message.clone(), hint);
        }
        let template = template.filter(|_| found.is_empty())?;
        for entry in self.declared {
            if template.reads_field("vars", &entry.key) {
                self.variable(entry, using);
                if !self.done.contains_key(&entry.key) || self.broken.contains(&entry.key) {
                    return None;
                }
            }
        }
        let mut scope = Scope::root();
        scope.set("vars", Value::from_json(&Json::Object(self.done.clone())));
        match template.value(&scope) {
            Ok(value) => Some(value.to_json()),
            Err(error) => {
                self.problem(
                    node.span,
                    ProblemCode::BadValue,
                    error.to_string(),
                    "see the variables that it uses",
                );
                None
            }
        }
    }

    /// The value that overrides the default, if there is one and it is of the default's type.
    fn overridden(&mut self, entry: &Entry, default: Option<&Json>) -> Option<Json> {
        let (_, yaml) = self.overrides.iter().find(|(name, _)| *name == entry.key)?;
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
