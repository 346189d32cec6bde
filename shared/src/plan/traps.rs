//! Where YAML and expressions collide, and what to write instead.
//!
//! `!x` is a tag, a leading quote ends where it closes, ` #` starts a comment, and a comma inside of
//! `{…}` or `[…]` ends a value. Each is recognised and answered with the expression in quotes.

use super::problem::{Position, Problem, ProblemCode, Span};
use super::yaml::{Entry, Node, NodeKind};

/// The rest of the line from that byte, without trailing brackets of the collection it stands in.
pub(super) fn line_from(text: &str, start: usize) -> &str {
    let line = text
        .get(start..)
        .unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end();
    let mut depth = 0_i32;
    for (at, c) in line.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => return line[..at].trim_end(),
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    line
}

/// The text in YAML quotes.
pub(super) fn quoted(text: &str) -> String {
    if text.contains('\'') && !text.contains(['"', '\\']) {
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// The way out of a syntax error at that place.
pub(super) fn syntax_hint(text: &str, at: Position, message: &str) -> String {
    if message.contains("tab") {
        return "YAML is indented with spaces, not tabs".to_owned();
    }
    if message.contains("unclosed") {
        return "close the bracket or quote; text that starts with one needs quotes around the whole".to_owned();
    }
    let line = usize::try_from(at.line).unwrap_or(1).max(1);
    // The parser may only notice on the line after.
    let before = text
        .lines()
        .nth(line.saturating_sub(2))
        .filter(|_| line > 1);
    for value in [text.lines().nth(line - 1), before]
        .into_iter()
        .flatten()
        .map(value_of)
    {
        if let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\''))
            && value[1..]
                .find(quote)
                .is_some_and(|end| !value[end + 2..].trim().is_empty())
        {
            let quoted = quoted(value);
            return format!(
                "text that goes on behind its closing quote needs quotes around the whole: {quoted}"
            );
        }
        if value.contains(": ") && !value.starts_with(['{', '[']) {
            return format!("text with `: ` in it needs quotes: {}", quoted(value));
        }
    }
    "check indentation, quotes and brackets here and on the line before".to_owned()
}

/// What stands behind `key: ` or `- ` on a line.
fn value_of(line: &str) -> &str {
    let line = line.trim();
    let line = line.strip_prefix("- ").map_or(line, str::trim_start);
    if line.starts_with(['"', '\'']) {
        return line;
    }
    line.split_once(": ")
        .map_or(line, |(_, value)| value.trim())
}

/// The hint for an expression that does not compile because YAML cut it: by a comment behind it.
pub(super) fn cut_by_comment(text: &str, node: &Node) -> Option<String> {
    let NodeKind::Scalar { plain: true, .. } = node.kind else {
        return None;
    };
    let rest = text.get(node.bytes.end..)?.lines().next()?;
    if !rest.trim_start().starts_with('#') || rest.trim_start() == rest {
        return None;
    }
    let whole = text.get(node.bytes.start..)?.lines().next()?.trim_end();
    Some(format!(
        "` #` starts a comment; if it belongs to the expression, quote it: {}",
        quoted(whole)
    ))
}

/// Joins values that commas of a call cut apart, with a problem that shows the quoted form.
pub(super) fn mend_commas(text: &str, kind: &mut NodeKind, problems: &mut Vec<Problem>) {
    match kind {
        NodeKind::List(items) => {
            let mut at = 0;
            while at < items.len() {
                let extra = pieces(items[at..].iter().map(Some));
                if extra > 0 {
                    let last = items[at + extra].clone();
                    items[at] = joined(text, &items[at], last.span, last.bytes.end, problems);
                    items.drain(at + 1..=at + extra);
                }
                at += 1;
            }
        }
        NodeKind::Map(entries) => {
            let mut at = 0;
            while at < entries.len() {
                let extra = pieces(
                    std::iter::once(Some(&entries[at].value))
                        .chain(
                            // What follows the comma was read as a key without a value.
                            entries[at + 1..]
                                .iter()
                                .map(|entry| entry.value.is_null().then_some(&entry.value)),
                        )
                        .zip(
                            std::iter::once("")
                                .chain(entries[at + 1..].iter().map(|entry| entry.key.as_str())),
                        )
                        .map(|(node, key)| node.map(|node| (node, key))),
                );
                if extra > 0 {
                    let Entry { key_span, key, .. } = entries[at + extra].clone();
                    let end = text
                        .get(entries[at].value.bytes.start..)
                        .and_then(|rest| rest.find(&key))
                        .unwrap_or(0);
                    let end = entries[at].value.bytes.start + end + key.len();
                    entries[at].value = joined(text, &entries[at].value, key_span, end, problems);
                    entries.drain(at + 1..=at + extra);
                }
                at += 1;
            }
        }
        NodeKind::Scalar { .. } => {}
    }
}

/// A piece of a value that may have been cut.
trait Piece {
    fn plain_text(&self) -> Option<&str>;
}

impl Piece for &Node {
    fn plain_text(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Scalar {
                text, plain: true, ..
            } => Some(text),
            _ => None,
        }
    }
}

impl Piece for (&Node, &str) {
    fn plain_text(&self) -> Option<&str> {
        if self.1.is_empty() {
            self.0.plain_text()
        } else {
            Some(self.1)
        }
    }
}

/// How many of the following pieces the first one needs to close its brackets.
fn pieces<P: Piece>(pieces: impl Iterator<Item = Option<P>>) -> usize {
    let mut depth = 0_i32;
    for (at, piece) in pieces.enumerate() {
        let Some(text) = piece.as_ref().and_then(Piece::plain_text) else {
            return 0;
        };
        for c in text.chars() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
        }
        if depth <= 0 {
            return if depth == 0 { at } else { 0 };
        }
    }
    0
}

fn joined(text: &str, first: &Node, last: Span, end: usize, problems: &mut Vec<Problem>) -> Node {
    let bytes = first.bytes.start..end.max(first.bytes.end);
    let whole = text.get(bytes.clone()).unwrap_or_default().to_owned();
    let span = Span {
        start: first.span.start,
        end: last.end,
    };
    let hint = format!("quote it: {}", quoted(&whole));
    let message = "inside of `{…}` and `[…]` a comma ends a value";
    problems.push(Problem::new(span, ProblemCode::Yaml, message).hint(hint));
    Node {
        span,
        bytes,
        kind: NodeKind::Scalar {
            text: whole,
            plain: true,
            verbatim: true,
        },
    }
}
