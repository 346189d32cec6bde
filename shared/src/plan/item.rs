//! Typed access to one value of a plan, for readers: what does not fit becomes a problem.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::expr::{Expr, ExprProblem, JsonTemplate, Names, Template, Value};
use super::model::{FieldPath, PlanFile, Target};
use super::nearest::nearest;
use super::problem::{Position, Problem, ProblemCode, Span};
use super::stage::RESULTS;
use super::vars::is_identifier;
use super::yaml::{Node, NodeKind, core_scalar};
use super::{quantity, traps};

/// One value of a plan, with its place and the names its expressions may read.
///
/// Every method that returns `Option` has reported a problem when it returns `None`; reading goes
/// on, so that all problems are found.
#[derive(Clone, Copy)]
pub struct Item<'r> {
    pub(super) context: &'r Context<'r>,
    pub(super) node: &'r Node,
    pub(super) names: &'r Names,
}

/// How names look, as a hint.
const NAMES: &str = "names are made of letters, digits, `_`, `-` and `.`, at most 100";

/// A value of a map, with its key.
#[derive(Clone, Copy)]
pub struct EntryItem<'r> {
    /// The key.
    pub key: &'r str,
    /// Where the key stands.
    pub key_span: Span,
    /// The value.
    pub value: Item<'r>,
}

impl EntryItem<'_> {
    /// Reports a problem unless the key is a name.
    pub fn check_name(self) {
        if !is_name(self.key) {
            let message = format!("`{}` is not a name", self.key);
            self.value
                .problem_at(self.key_span, ProblemCode::BadValue, message, NAMES);
        }
    }
}

impl std::fmt::Debug for Item<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Item").field(&self.node.kind).finish()
    }
}

impl<'r> Item<'r> {
    pub(super) fn at(self, node: &'r Node) -> Self {
        Self { node, ..self }
    }

    /// Where the value stands.
    #[must_use]
    pub fn span(self) -> Span {
        self.node.span
    }

    /// Where the value starts.
    #[must_use]
    pub fn position(self) -> Position {
        self.node.span.start
    }

    /// The value of a key, if it is there.
    #[must_use]
    pub fn key(self, name: &str) -> Option<Self> {
        self.node.get(name).map(|node| self.at(node))
    }

    /// A key with its value, if it is there.
    pub(super) fn entry(self, name: &str) -> Option<EntryItem<'r>> {
        let entry = self.node.entry(name)?;
        Some(EntryItem {
            key: &entry.key,
            key_span: entry.key_span,
            value: self.at(&entry.value),
        })
    }

    /// Whether a key is there.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        self.node.get(name).is_some()
    }

    /// Whether the value is a map.
    #[must_use]
    pub fn is_map(self) -> bool {
        matches!(self.node.kind, NodeKind::Map(_))
    }

    /// Whether the value is a list.
    #[must_use]
    pub fn is_list(self) -> bool {
        matches!(self.node.kind, NodeKind::List(_))
    }

    /// The items of a list, a single value being a list of one.
    #[must_use]
    pub fn items(self) -> Vec<Self> {
        match &self.node.kind {
            NodeKind::List(items) => items.iter().map(|node| self.at(node)).collect(),
            NodeKind::Scalar { .. } if self.node.is_null() => Vec::new(),
            NodeKind::Scalar { .. } | NodeKind::Map(_) => vec![self],
        }
    }

    /// The entries of a map, in the plan's order.
    #[must_use]
    pub fn entries(self) -> Vec<EntryItem<'r>> {
        let entries = self.node.entries().iter();
        entries
            .map(|entry| EntryItem {
                key: &entry.key,
                key_span: entry.key_span,
                value: self.at(&entry.value),
            })
            .collect()
    }

    /// Reports a problem with this value.
    pub fn problem(self, code: ProblemCode, message: impl Into<String>, hint: impl Into<String>) {
        self.problem_at(self.node.span, code, message, hint);
    }

    /// Reports a problem at a place.
    pub fn problem_at(
        self,
        span: Span,
        code: ProblemCode,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.context
            .report(Problem::new(span, code, message).hint(hint));
    }

    /// Notes that something about this value could not be checked before the run.
    pub fn note(self, message: impl Into<String>, hint: impl Into<String>) {
        self.context
            .note(Problem::new(self.node.span, ProblemCode::Unverified, message).hint(hint));
    }

    /// A scalar's text with `${vars…}` resolved.
    #[must_use]
    pub fn text(self) -> Option<Cow<'r, str>> {
        match &self.node.kind {
            NodeKind::Scalar { text, .. } if !self.node.is_null() => {
                if text.contains('$') {
                    self.resolved().map(Cow::Owned)
                } else {
                    Some(Cow::Borrowed(text))
                }
            }
            _ => {
                self.wrong_type("text");
                None
            }
        }
    }

    fn resolved(self) -> Option<String> {
        let template = self.compile_template(&self.context.names)?;
        match template.text(&self.context.scope) {
            Ok(text) => Some(text.into_owned()),
            Err(error) => {
                self.problem(ProblemCode::BadValue, error.message(), "see `vars`");
                None
            }
        }
    }

    fn parsed<T>(
        self,
        what: &str,
        example: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.node.text().is_none() || self.node.is_null() {
            self.wrong_type(what);
            return None;
        }
        let text = self.text()?;
        parse(&text)
            .map_err(|reason| {
                let shown: String = text.chars().take(60).collect();
                self.problem(
                    ProblemCode::BadValue,
                    format!("`{shown}` {reason}"),
                    format!("{what} is written like {example}"),
                );
            })
            .ok()
    }

    /// A duration: `250ms`.
    #[must_use]
    pub fn duration(self) -> Option<Duration> {
        self.parsed(
            "a duration",
            "`250ms`, `30s` or `1m30s`",
            quantity::duration,
        )
    }

    /// A size in bytes: `4MiB`.
    #[must_use]
    pub fn size(self) -> Option<u64> {
        self.parsed("a size", "`512`, `64KiB` or `4MiB`", quantity::size)
    }

    /// A share: `1%`.
    #[must_use]
    pub fn share(self) -> Option<f64> {
        self.parsed("a share", "`1%` or `0.01`", quantity::share)
    }

    /// A rate, in millionths per hour: `20/s`.
    #[must_use]
    pub fn rate(self) -> Option<u64> {
        self.parsed("a rate", "`20/s`, `0.5/m` or `100/h`", quantity::rate)
    }

    /// A whole number in a range.
    #[must_use]
    pub fn int(self, range: RangeInclusive<i64>) -> Option<i64> {
        self.parsed("a whole number", "`20`", |text| {
            let number: i64 = text
                .trim()
                .parse()
                .map_err(|_| "is not a whole number".to_owned())?;
            if range.contains(&number) {
                return Ok(number);
            }
            Err(
                match (number < *range.start(), *range.start(), *range.end()) {
                    (true, least, _) => format!("is less than {least}"),
                    (false, _, most) => format!("is more than {most}"),
                },
            )
        })
    }

    /// `true` or `false`.
    #[must_use]
    pub fn bool(self) -> Option<bool> {
        self.parsed("a bool", "`true` or `false`", |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("is neither true nor false".to_owned()),
        })
    }

    /// One of some words.
    #[must_use]
    pub fn word(self, words: &[&'static str]) -> Option<&'static str> {
        if self.node.text().is_none() || self.node.is_null() {
            self.wrong_type(&format!("one of {}", words.join(", ")));
            return None;
        }
        let text = self.text()?;
        let found = words.iter().copied().find(|word| *word == text);
        if found.is_none() {
            let hint = nearest(&text, words.iter().copied()).map_or_else(
                || format!("write one of {}", words.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            self.problem(
                ProblemCode::BadValue,
                format!("`{text}` is not known here"),
                hint,
            );
        }
        found
    }

    /// A name: letters, digits, `_`, `-` and `.`.
    #[must_use]
    pub fn name(self) -> Option<String> {
        let text = self.text()?;
        if is_name(&text) {
            return Some(text.into_owned());
        }
        self.problem(
            ProblemCode::BadValue,
            format!("`{text}` is not a name"),
            NAMES,
        );
        None
    }

    /// A field of a message: `a.b`.
    #[must_use]
    pub fn field_path(self) -> Option<FieldPath> {
        let text = self.text()?;
        let names: Vec<String> = text.split('.').map(str::to_owned).collect();
        if names.iter().any(|name| {
            name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        }) {
            self.problem(
                ProblemCode::BadValue,
                format!("`{text}` is not a field"),
                "write the field's name, or a path like `a.b`",
            );
            return None;
        }
        Some(FieldPath {
            position: self.position(),
            names,
        })
    }

    /// An expression; its names are checked.
    #[must_use]
    pub fn expr(self) -> Option<Expr> {
        let Some(text) = self.node.text().filter(|_| !self.node.is_null()) else {
            let written = self
                .context
                .source
                .get(self.node.bytes.clone())
                .unwrap_or_default();
            if matches!(written.chars().next(), Some('{' | '[')) && !written.contains('\n') {
                let hint = format!(
                    "an expression that starts with a bracket needs quotes: {}",
                    traps::quoted(written)
                );
                self.problem(
                    ProblemCode::WrongType,
                    format!("an expression is expected, not {}", self.node.kind_name()),
                    hint,
                );
            } else {
                self.wrong_type("an expression");
            }
            return None;
        };
        if self.context.is_full() {
            return None;
        }
        match Expr::compile(text, self.position()) {
            Ok(expr) => {
                let problems = expr.check(self.names);
                self.context.reads_feeds(expr.fields("feed"));
                let open = self.without_secrets(expr.reads("secrets"));
                let fine = problems.is_empty() && open;
                self.expr_problems(problems, 0);
                fine.then_some(expr)
            }
            Err(problems) => {
                self.expr_problems(problems, 0);
                None
            }
        }
    }

    /// An expression over results that the stage has at this place, besides what any expression reads, and over what its
    /// inner stages save.
    #[must_use]
    pub fn expr_over(self, results: &[&'static str]) -> Option<Expr> {
        let mut names = self.names.clone();
        names.enter();
        for result in results {
            names.add(*result);
        }
        Item {
            names: &names,
            ..self
        }
        .expr()
    }

    /// Reads the value with another name in scope, such as that of a loop.
    pub fn with_name<T>(self, name: Option<&str>, read: impl FnOnce(Item<'_>) -> T) -> T {
        let Some(name) = name else { return read(self) };
        let mut names = self.names.clone();
        names.add(name);
        read(Item {
            names: &names,
            ..self
        })
    }

    /// The name of a loop's variable, which nothing else in scope has.
    #[must_use]
    pub fn variable(self) -> Option<String> {
        let name = self.name()?;
        if is_identifier(&name) && !self.names.contains(&name) && !RESULTS.contains(&&*name) {
            return Some(name);
        }
        self.problem(
            ProblemCode::BadValue,
            format!("`{name}` cannot be a loop variable"),
            "choose a name of letters, digits and `_` that nothing else has",
        );
        None
    }

    fn without_secrets(self, reads: bool) -> bool {
        if reads {
            let hint = "secrets may stand in addresses, headers, metadata, bodies and messages";
            self.problem(
                ProblemCode::SecretExposed,
                "a secret may not be read here",
                hint,
            );
        }
        !reads
    }

    /// Text with `${…}` in it; its names are checked.
    #[must_use]
    pub fn template(self) -> Option<Template> {
        self.compile_template(self.names)
    }

    /// Text with `${…}` in it whose value is kept or compared, so that no secret may be in it.
    #[must_use]
    pub fn open_template(self) -> Option<Template> {
        let template = self.compile_template(self.names)?;
        self.without_secrets(template.is_secret())
            .then_some(template)
    }

    fn compile_template(self, names: &Names) -> Option<Template> {
        let Some(text) = self.node.text().filter(|_| !self.node.is_null()) else {
            self.wrong_type("text");
            return None;
        };
        if self.context.is_full() {
            return None;
        }
        match Template::compile(text, self.position()) {
            Ok(template) => {
                let problems = template.check(names);
                self.context.reads_feeds(template.fields("feed"));
                let fine = problems.is_empty();
                self.expr_problems(problems, 0);
                fine.then_some(template)
            }
            Err(problems) => {
                self.expr_problems(problems, 0);
                None
            }
        }
    }

    /// Any JSON, with templates for strings; their names are checked.
    #[must_use]
    pub fn json(self) -> Option<JsonTemplate> {
        match &self.node.kind {
            NodeKind::Scalar { text, plain, .. } => {
                if *plain && !text.contains('$') {
                    return Some(JsonTemplate::literal_value(core_scalar(text)));
                }
                self.template().map(JsonTemplate::template)
            }
            NodeKind::List(items) => {
                // All items are read before any is missed, so that all problems are found.
                let items: Vec<_> = items.iter().map(|node| self.at(node).json()).collect();
                items
                    .into_iter()
                    .collect::<Option<_>>()
                    .map(JsonTemplate::list)
            }
            NodeKind::Map(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|entry| Some((entry.key.clone(), self.at(&entry.value).json()?)))
                    .collect();
                entries
                    .into_iter()
                    .collect::<Option<_>>()
                    .map(JsonTemplate::map)
            }
        }
    }

    /// Any value with `${vars…}` resolved.
    #[must_use]
    pub fn value(self) -> Option<serde_json::Value> {
        let json = Item {
            names: &self.context.names,
            ..self
        }
        .json()?;
        match json.json(&self.context.scope) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(ProblemCode::BadValue, error.message(), "see `vars`");
                None
            }
        }
    }

    /// The file that this path names; it becomes part of the plan.
    #[must_use]
    pub fn file(self) -> Option<PlanFile> {
        let path = self.text()?;
        match self.context.file(&path) {
            Ok(file) => Some(file),
            Err(mut problem) => {
                problem.span = self.node.span;
                self.context.report(problem);
                None
            }
        }
    }

    /// A file that a file of the plan names (an import); it becomes part of the plan. Whether it is
    /// missing is for the caller to say.
    #[must_use]
    pub fn imported_file(self, path: &str) -> Option<PlanFile> {
        self.context.file(path).ok()
    }

    /// The target of that driver that this value names.
    #[must_use]
    pub fn target(self, form: &str) -> Option<Arc<Target>> {
        self.target_of(&[form])
    }

    /// The target of one of those drivers that this value names.
    #[must_use]
    pub fn target_of(self, forms: &[&str]) -> Option<Arc<Target>> {
        let name = self.text()?;
        let targets = self.context.targets.borrow();
        match targets.iter().find(|target| target.name == name) {
            Some(target) if forms.contains(&target.form) => Some(Arc::clone(target)),
            Some(target) => {
                let forms = forms.join(" or ");
                let message = format!("`{name}` is a target for {}, not for {forms}", target.form);
                self.problem(
                    ProblemCode::WrongType,
                    message,
                    format!("name a target with the key `{forms}`"),
                );
                None
            }
            None => {
                let names = targets.iter().map(|target| target.name.as_str());
                let hint = nearest(&name, names.clone()).map_or_else(
                    || match names.collect::<Vec<_>>().as_slice() {
                        [] => "declare it under `targets`".to_owned(),
                        names => format!("`targets` has {}", names.join(", ")),
                    },
                    |near| format!("did you mean `{near}`?"),
                );
                self.problem(
                    ProblemCode::UnknownName,
                    format!("there is no target `{name}`"),
                    hint,
                );
                None
            }
        }
    }

    pub(super) fn wrong_type(self, want: &str) {
        let message = match self.node.kind_name() {
            "nothing" => format!("{want} is expected, but nothing is written"),
            got => format!("{want} is expected, not {got}"),
        };
        self.problem(
            ProblemCode::WrongType,
            message,
            format!("write {want} here"),
        );
    }

    /// Reports problems of an expression that starts that many characters into the text.
    fn expr_problems(self, problems: Vec<ExprProblem>, offset: usize) {
        let cut = traps::cut_by_comment(self.context.source, self.node);
        for problem in problems {
            let code = if problem.scope {
                ProblemCode::NotInScope
            } else {
                ProblemCode::Expression
            };
            let span = problem.at.map_or(self.node.span, |(from, to)| {
                self.inside(from + offset, to + offset)
            });
            let hint = cut.clone().filter(|_| !problem.scope).or(problem.hint);
            self.context.report(Problem {
                hint,
                ..Problem::new(span, code, problem.message)
            });
        }
    }

    /// The place of characters inside of the text, where it can be told.
    fn inside(self, from: usize, to: usize) -> Span {
        let NodeKind::Scalar {
            plain,
            verbatim: true,
            ..
        } = self.node.kind
        else {
            return self.node.span;
        };
        let Span { start, end } = self.node.span;
        if start.line != end.line {
            return self.node.span;
        }
        let quote = usize::from(!plain);
        let column = |at: usize| {
            let column = u32::try_from(at + quote)
                .unwrap_or(u32::MAX)
                .saturating_add(start.column);
            Position {
                line: start.line,
                column: column.min(end.column),
            }
        };
        Span {
            start: column(from),
            end: column(to),
        }
    }

    /// The value as the evaluator sees `vars`.
    #[must_use]
    pub fn vars(self) -> Value {
        self.context.vars_value.clone()
    }
}

/// Whether a text may name a stage, scenario, target, variable or site.
pub(super) fn is_name(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}
