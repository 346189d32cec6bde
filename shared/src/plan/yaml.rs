//! Plan text to a tree in which every key and value knows its place.
//!
//! The parser gives events with positions; the tree over them is ours, so that all problems are
//! found in one pass, aliases are refused before they are expanded, and the size of a plan is
//! bounded before and while it is read. The parser is young: this is the only file that knows it.

use std::borrow::Cow;
use std::ops::Range;

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StructureStyle};

use super::problem::{Position, Problem, ProblemCode, Span};
use super::traps;

/// The largest plan, in bytes.
pub const MAX_PLAN: usize = 4 << 20;
/// The most keys and values of a plan.
pub const MAX_NODES: usize = 100_000;
/// The deepest nesting of a plan.
pub const MAX_DEPTH: usize = 64;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    /// The value's bytes in the plan.
    pub(super) bytes: Range<usize>,
    pub(super) kind: NodeKind,
}

#[derive(Debug, Clone)]
pub(super) enum NodeKind {
    Scalar {
        text: String,
        /// Written without quotes, so that `1` is a number and nothing is null.
        plain: bool,
        /// On one line and without escapes, so that places inside of the text are places in the plan.
        verbatim: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: Node,
}

impl Node {
    /// The entries of a map; none of anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.kind {
            NodeKind::Map(entries) => entries,
            NodeKind::Scalar { .. } | NodeKind::List(_) => &[],
        }
    }

    /// The items of a list; none of anything else.
    pub(super) fn items(&self) -> &[Node] {
        match &self.kind {
            NodeKind::List(items) => items,
            NodeKind::Scalar { .. } | NodeKind::Map(_) => &[],
        }
    }

    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Scalar { text, .. } => Some(text),
            NodeKind::List(_) | NodeKind::Map(_) => None,
        }
    }

    /// Whether nothing is written, or `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, NodeKind::Scalar { text, plain: true, .. }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What it is, for messages.
    pub(super) fn kind_name(&self) -> &'static str {
        match &self.kind {
            NodeKind::Scalar { .. } if self.is_null() => "nothing",
            NodeKind::Scalar {
                text, plain: true, ..
            } if core_scalar(text).is_number() => "a number",
            NodeKind::Scalar {
                text, plain: true, ..
            } if core_scalar(text).is_boolean() => "a bool",
            NodeKind::Scalar { .. } => "text",
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a map",
        }
    }
}

/// A plain scalar's value in YAML 1.2's core schema.
pub(super) fn core_scalar(text: &str) -> serde_json::Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return serde_json::Value::Null,
        "true" | "True" | "TRUE" => return true.into(),
        "false" | "False" | "FALSE" => return false.into(),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let numeric = unsigned.starts_with(|c: char| c.is_ascii_digit())
        || (unsigned.starts_with('.') && unsigned[1..].starts_with(|c: char| c.is_ascii_digit()));
    if !numeric {
        return text.into();
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).map_or_else(|_| text.into(), Into::into);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return u64::from_str_radix(octal, 8).map_or_else(|_| text.into(), Into::into);
    }
    let digits = text.strip_prefix('+').unwrap_or(text);
    if let Ok(value) = digits.parse::<i64>() {
        return value.into();
    }
    if let Ok(value) = digits.parse::<u64>() {
        return value.into();
    }
    let number = digits.parse::<f64>().ok().filter(|value| value.is_finite());
    number.map_or_else(|| text.into(), Into::into)
}

/// Reads the tree; `None` if there is none to go on with.
pub(super) fn parse(text: &str) -> (Option<Node>, Vec<Problem>) {
    if let Some(problem) = too_large(text.len()) {
        return (None, vec![problem]);
    }
    let mut builder = Builder {
        text,
        open: Vec::new(),
        root: None,
        problems: Vec::new(),
        tags: Vec::new(),
        nodes: 0,
        documents: 0,
    };
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_anchor_events: true,
        emit_unresolved_aliases: true,
        emit_comments: false,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                builder.syntax(&error);
                return (None, builder.problems);
            }
        };
        if !builder.event(event, &span) {
            return (None, builder.problems);
        }
    }
    if builder.root.is_none() && builder.problems.is_empty() {
        let hint = "a plan starts with `testmesh: v1`";
        builder
            .problems
            .push(Problem::new(Span::START, ProblemCode::Yaml, "the plan is empty").hint(hint));
    }
    (builder.root, builder.problems)
}

/// The problem of a plan of that many bytes, if it is too large to be read.
pub(super) fn too_large(bytes: usize) -> Option<Problem> {
    (bytes > MAX_PLAN).then(|| {
        let message = format!("the plan has {bytes} bytes, more than the {MAX_PLAN} allowed");
        let hint = "move data into files that the plan names";
        Problem::new(Span::START, ProblemCode::TooLarge, message).hint(hint)
    })
}

/// A list or map whose end has not come yet.
struct Open {
    start: Marker,
    flow: bool,
    kind: NodeKind,
    /// The key of a map whose value has not come yet.
    key: Option<(String, Span)>,
}

struct Builder<'t> {
    text: &'t str,
    open: Vec<Open>,
    root: Option<Node>,
    problems: Vec<Problem>,
    /// Where tags stand that have been reported.
    tags: Vec<Position>,
    nodes: usize,
    documents: usize,
}

fn position(marker: &Marker) -> Position {
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Position {
        line: narrow(marker.line()).max(1),
        column: narrow(marker.col()).saturating_add(1),
    }
}

fn place(span: &granit_parser::Span) -> Span {
    Span {
        start: position(&span.start),
        end: position(&span.end),
    }
}

fn offset(marker: &Marker) -> usize {
    marker.byte_offset().unwrap_or_default()
}

impl Builder<'_> {
    fn problem(&mut self, span: Span, code: ProblemCode, message: &str, hint: impl Into<String>) {
        self.problems
            .push(Problem::new(span, code, message).hint(hint));
    }

    /// Takes one event; whether to go on.
    fn event(&mut self, event: Event<'_>, span: &granit_parser::Span) -> bool {
        if let Some(tag) = span.tag_start().filter(|_| event.tag().is_some()) {
            self.tag(&tag, span);
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let hint = "write each plan into a file of its own";
                    self.problem(
                        place(span),
                        ProblemCode::Yaml,
                        "a second document starts here",
                        hint,
                    );
                    return false;
                }
            }
            // What `!x && y` is to YAML: one problem is enough.
            Event::Anchor(..) if self.follows_tag(span) => {}
            Event::Anchor(..) => {
                let hint = "write the value where it is needed, or use `vars` and `blocks`";
                self.problem(
                    place(span),
                    ProblemCode::Yaml,
                    "anchors are not part of plans",
                    hint,
                );
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                let hint = "write the value here, or use `vars` and `blocks`; text that starts with `*` needs quotes";
                self.problem(
                    place(span),
                    ProblemCode::Yaml,
                    "aliases are not part of plans",
                    hint,
                );
                return self.scalar(Cow::Borrowed(""), ScalarStyle::DoubleQuoted, span);
            }
            Event::Scalar(text, style, ..) => return self.scalar(text, style, span),
            Event::SequenceStart(style, ..) => {
                return self.start(
                    span,
                    style == StructureStyle::Flow,
                    NodeKind::List(Vec::new()),
                );
            }
            Event::MappingStart(style, ..) => {
                return self.start(
                    span,
                    style == StructureStyle::Flow,
                    NodeKind::Map(Vec::new()),
                );
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            _ => {}
        }
        true
    }

    fn tag(&mut self, tag: &Marker, span: &granit_parser::Span) {
        let start = position(tag);
        self.tags.push(start);
        let whole = Span {
            start,
            end: place(span).end.max(start),
        };
        let hint = match traps::line_from(self.text, offset(tag)) {
            "" => "write the value without its tag".to_owned(),
            line => format!(
                "an expression that starts with `!` needs quotes: {}",
                traps::quoted(line)
            ),
        };
        self.problem(
            whole,
            ProblemCode::Yaml,
            "`!` starts a YAML tag, and tags are not part of plans",
            hint,
        );
    }

    /// Whether a problem of a tag stands before that place, on its line.
    fn follows_tag(&self, span: &granit_parser::Span) -> bool {
        let place = place(span).start;
        self.tags
            .last()
            .is_some_and(|tag| tag.line == place.line && tag.column < place.column)
    }

    fn count(&mut self, span: &granit_parser::Span) -> bool {
        self.nodes += 1;
        if self.nodes <= MAX_NODES {
            return true;
        }
        let hint = format!("at most {MAX_NODES} keys and values are allowed; move data into files");
        self.problem(
            place(span),
            ProblemCode::TooLarge,
            "the plan is too large",
            hint,
        );
        false
    }

    fn scalar(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        span: &granit_parser::Span,
    ) -> bool {
        if !self.count(span) {
            return false;
        }
        let plain = style == ScalarStyle::Plain;
        let bytes = offset(&span.start)..offset(&span.end);
        let written = self.text.get(bytes.clone()).unwrap_or_default();
        let verbatim = written.trim_matches(['"', '\'']) == text.trim_matches(['"', '\'']);
        // The parser says `~` where nothing is written.
        let text = if written.is_empty() && plain {
            String::new()
        } else {
            text.into_owned()
        };
        let kind = NodeKind::Scalar {
            text,
            plain,
            verbatim,
        };
        self.add(Node {
            span: place(span),
            bytes,
            kind,
        });
        true
    }

    fn start(&mut self, span: &granit_parser::Span, flow: bool, kind: NodeKind) -> bool {
        if !self.count(span) {
            return false;
        }
        if self.open.len() >= MAX_DEPTH {
            let hint = format!("at most {MAX_DEPTH} levels are allowed");
            self.problem(
                place(span),
                ProblemCode::TooLarge,
                "the plan is nested too deeply",
                hint,
            );
            return false;
        }
        self.open.push(Open {
            start: span.start,
            flow,
            kind,
            key: None,
        });
        true
    }

    fn end(&mut self, span: &granit_parser::Span) {
        let Some(mut open) = self.open.pop() else {
            return;
        };
        if open.flow {
            traps::mend_commas(self.text, &mut open.kind, &mut self.problems);
        }
        let bytes = offset(&open.start)..offset(&span.end).max(offset(&open.start));
        let span = Span {
            start: position(&open.start),
            end: position(&span.end),
        };
        self.add(Node {
            span,
            bytes,
            kind: open.kind,
        });
    }

    /// Adds a finished node to the list or map it stands in.
    fn add(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match (&mut open.kind, open.key.take()) {
            (NodeKind::List(items), _) => items.push(node),
            (NodeKind::Map(_), None) => {
                let span = node.span;
                let key = match node.kind {
                    NodeKind::Scalar { text, .. } => text,
                    NodeKind::List(_) | NodeKind::Map(_) => {
                        let hint =
                            "`{…}` and `[…]` at the start of text need quotes around the whole";
                        self.problem(span, ProblemCode::Yaml, "a key must be text", hint);
                        String::new()
                    }
                };
                if let Some(open) = self.open.last_mut() {
                    open.key = Some((key, span));
                }
            }
            (NodeKind::Map(entries), Some((key, key_span))) => {
                if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                    let hint = format!(
                        "the first one is on line {}; remove one of them",
                        first.key_span.start.line
                    );
                    let message = format!("`{key}` is written twice");
                    self.problems.push(
                        Problem::new(key_span, ProblemCode::DuplicateKey, message).hint(hint),
                    );
                } else {
                    entries.push(Entry {
                        key,
                        key_span,
                        value: node,
                    });
                }
            }
            (NodeKind::Scalar { .. }, _) => {}
        }
    }

    fn syntax(&mut self, error: &ScanError) {
        let start = position(error.marker());
        let span = Span {
            start,
            end: Position {
                column: start.column.saturating_add(1),
                ..start
            },
        };
        let message = format!("this is not YAML: {error}");
        let message = message.split(" at ").next().unwrap_or_default().to_owned();
        if message.contains("recursion limit") {
            let hint = format!("at most {MAX_DEPTH} levels are allowed");
            self.problem(
                span,
                ProblemCode::TooLarge,
                "the plan is nested too deeply",
                hint,
            );
            return;
        }
        let hint = traps::syntax_hint(self.text, start, &message);
        self.problem(span, ProblemCode::Yaml, &message, hint);
    }
}
