//! Strings with `${…}` in them, and JSON trees of such strings.

use std::borrow::Cow;
use std::fmt;

use super::check::Names;
use super::compile::ExprProblem;
use super::expression::{EvalError, Expr};
use super::scope::Scope;
use super::value::Value;
use crate::plan::problem::Position;

/// A string with `${…}` in it: a literal, one expression whose type is kept, or text made of both.
pub struct Template {
    source: Box<str>,
    position: Position,
    parts: Vec<Part>,
}

enum Part {
    Text(String),
    Expr(Expr),
}

impl Template {
    /// Compiles a template that stands at `position`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with its expressions, and a `${` without its `}`.
    pub fn compile(source: &str, position: Position) -> Result<Self, Vec<ExprProblem>> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut problems = Vec::new();
        let mut rest = source;
        while let Some(found) = rest.find('$') {
            text.push_str(&rest[..found]);
            rest = &rest[found..];
            if let Some(after) = rest.strip_prefix("$${") {
                text.push_str("${");
                rest = after;
            } else if let Some(after) = rest.strip_prefix("${") {
                let start = source.len() - after.len();
                let Some(length) = expression_length(after) else {
                    let start = source[..start].chars().count() - 2;
                    problems.push(unclosed(start, source.chars().count()));
                    text.push_str(rest);
                    rest = "";
                    break;
                };
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                match Expr::compile(&after[..length], position) {
                    Ok(expr) => parts.push(Part::Expr(expr)),
                    Err(found) => {
                        problems.extend(found.into_iter().map(|p| shifted(p, source, start)))
                    }
                }
                rest = &after[length + 1..];
            } else {
                text.push('$');
                rest = &rest[1..];
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        if problems.is_empty() {
            Ok(Self {
                source: source.into(),
                position,
                parts,
            })
        } else {
            Err(problems)
        }
    }

    /// As the plan wrote it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Where it stands in the plan.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The text, if there is no expression in it.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether one of its expressions reads that name.
    #[must_use]
    pub fn reads(&self, name: &str) -> bool {
        self.exprs().any(|expr| expr.reads(name))
    }

    /// The fields of a name that its expressions read, perhaps more than once; `None` for one that reads the name as a
    /// whole.
    pub(in crate::plan) fn fields(&self, name: &str) -> impl Iterator<Item = Option<&str>> {
        self.exprs().flat_map(move |expr| expr.fields(name))
    }

    /// Whether a secret is in it.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.reads("secrets")
    }

    /// Every name it reads that will not be there.
    #[must_use]
    pub fn check(&self, names: &Names) -> Vec<ExprProblem> {
        let mut found = Vec::new();
        let mut searched = 0;
        for expr in self.exprs() {
            // The parts stand in the source in their order.
            let start = self.source[searched..]
                .find(expr.source())
                .map_or(0, |at| searched + at);
            searched = start + expr.source().len();
            found.extend(
                expr.check(names)
                    .into_iter()
                    .map(|p| shifted(p, &self.source, start)),
            );
        }
        found
    }

    /// Its value: of a single `${…}` with its type, otherwise the text.
    ///
    /// # Errors
    ///
    /// As [`Expr::evaluate`], and null, lists and maps inside of text.
    pub fn value(&self, scope: &Scope<'_>) -> Result<Value, EvalError> {
        match self.parts.as_slice() {
            [Part::Expr(expr)] => expr.evaluate(scope),
            _ => self.text(scope).map(|text| Value::from(text.into_owned())),
        }
    }

    /// As [`Self::value`], but none where text would have more than `most` bytes.
    pub(in crate::plan) fn value_within(
        &self,
        scope: &Scope<'_>,
        most: usize,
    ) -> Result<Option<Value>, EvalError> {
        match self.parts.as_slice() {
            [Part::Expr(expr)] => expr.evaluate(scope).map(Some),
            _ => {
                let text = self.text_within(scope, most)?;
                Ok(text.map(|text| Value::from(text.into_owned())))
            }
        }
    }

    /// Its text; bytes become base64.
    ///
    /// # Errors
    ///
    /// As [`Expr::evaluate`], and null, lists and maps.
    pub fn text(&self, scope: &Scope<'_>) -> Result<Cow<'_, str>, EvalError> {
        let text = self.text_within(scope, usize::MAX)?;
        Ok(text.expect("no text is longer than memory"))
    }

    fn text_within(
        &self,
        scope: &Scope<'_>,
        most: usize,
    ) -> Result<Option<Cow<'_, str>>, EvalError> {
        if let Some(text) = self.literal() {
            return Ok(Some(Cow::Borrowed(text)));
        }
        let mut text = String::with_capacity(self.source.len());
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Expr(expr) => {
                    let value = expr.evaluate(scope)?;
                    if value.is_null() || value.as_list().is_some() || value.as_map().is_some() {
                        let message = format!(
                            "its value is a {}, which has no place in text",
                            value.type_name()
                        );
                        return Err(EvalError::new(
                            expr.source(),
                            message.replace("a null", "null"),
                        ));
                    }
                    match value.as_str() {
                        Some(part) => text.push_str(part),
                        None => text.push_str(&value.to_string()),
                    }
                }
            }
            if text.len() > most {
                return Ok(None);
            }
        }
        Ok(Some(Cow::Owned(text)))
    }

    fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expr(expr) => Some(expr),
            Part::Text(_) => None,
        })
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.source).finish()
    }
}

fn unclosed(start: usize, end: usize) -> ExprProblem {
    ExprProblem {
        at: Some((start, end)),
        scope: false,
        message: "`${` without its `}`".to_owned(),
        hint: Some("close it, or write `$${` for a literal `${`".to_owned()),
    }
}

/// Moves a place inside of an expression, in characters, to its place in the template.
fn shifted(mut problem: ExprProblem, source: &str, start: usize) -> ExprProblem {
    let start = source[..start].chars().count();
    problem.at = problem.at.map(|(from, to)| (from + start, to + start));
    problem
}

/// The length of the expression up to its `}`, braces and quotes inside of it heeded.
fn expression_length(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(at),
            (None, '}') => depth -= 1,
            _ => {}
        }
    }
    None
}

/// JSON with templates for strings: a body, a message, a query.
#[derive(Debug)]
pub struct JsonTemplate {
    root: Node,
    secret: bool,
}

#[derive(Debug)]
enum Node {
    Literal(serde_json::Value),
    Template(Template),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl JsonTemplate {
    /// A tree without templates.
    #[must_use]
    pub const fn literal_value(value: serde_json::Value) -> Self {
        Self {
            root: Node::Literal(value),
            secret: false,
        }
    }

    /// A single template.
    #[must_use]
    pub fn template(template: Template) -> Self {
        match template.literal() {
            Some(text) => Self::literal_value(text.into()),
            None => Self {
                secret: template.is_secret(),
                root: Node::Template(template),
            },
        }
    }

    /// A list of trees.
    #[must_use]
    pub fn list(items: Vec<Self>) -> Self {
        let secret = items.iter().any(|item| item.secret);
        let literals = items.iter().map(|item| item.literal().cloned()).collect();
        let root = match literals {
            Some(literals) => Node::Literal(serde_json::Value::Array(literals)),
            None => Node::List(items.into_iter().map(|item| item.root).collect()),
        };
        Self { root, secret }
    }

    /// A map of trees.
    #[must_use]
    pub fn map(entries: Vec<(String, Self)>) -> Self {
        let secret = entries.iter().any(|(_, item)| item.secret);
        let literals = entries
            .iter()
            .map(|(key, item)| Some((key.clone(), item.literal()?.clone())));
        let root = match literals.collect() {
            Some(literals) => Node::Literal(serde_json::Value::Object(literals)),
            None => Node::Map(
                entries
                    .into_iter()
                    .map(|(key, item)| (key, item.root))
                    .collect(),
            ),
        };
        Self { root, secret }
    }

    /// The JSON, if there is no expression in it.
    #[must_use]
    pub const fn literal(&self) -> Option<&serde_json::Value> {
        match &self.root {
            Node::Literal(value) => Some(value),
            _ => None,
        }
    }

    /// Whether a secret is in it.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        self.secret
    }

    /// The JSON with every expression evaluated; bytes become base64.
    ///
    /// # Errors
    ///
    /// As [`Template::value`].
    pub fn json(&self, scope: &Scope<'_>) -> Result<serde_json::Value, EvalError> {
        render(&self.root, scope)
    }
}

fn render(node: &Node, scope: &Scope<'_>) -> Result<serde_json::Value, EvalError> {
    match node {
        Node::Literal(value) => Ok(value.clone()),
        Node::Template(template) => template.value(scope).map(|value| value.to_json()),
        Node::List(items) => items.iter().map(|item| render(item, scope)).collect(),
        Node::Map(entries) => entries
            .iter()
            .map(|(key, item)| Ok((key.clone(), render(item, scope)?)))
            .collect::<Result<serde_json::Map<_, _>, _>>()
            .map(serde_json::Value::Object),
    }
}
