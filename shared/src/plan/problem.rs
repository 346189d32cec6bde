//! Problems of a plan: what is wrong, where, and the way out.

use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};
use serde::{Deserialize, Serialize};

/// The most problems that are reported of one plan.
pub const MAX_PROBLEMS: usize = 200;

/// A place in a plan's text; lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// From the first character up to, not including, the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The first character.
    pub start: Position,
    /// Behind the last character.
    pub end: Position,
}

impl Span {
    /// The start of the text.
    pub const START: Self = {
        let start = Position { line: 1, column: 1 };
        Self { start, end: start }
    };
}

/// Declares the codes once: variant, word, meaning.
macro_rules! codes {
    ($($variant:ident $word:literal $doc:literal;)*) => {
        /// What kind of problem it is; a closed list, stable for scripts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum ProblemCode {
            $(#[doc = $doc] $variant,)*
        }

        impl ProblemCode {
            /// Every code with its meaning.
            pub const ALL: &[(Self, &str)] = &[$((Self::$variant, $doc),)*];

            /// The word used in output.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

codes! {
    Yaml "yaml" "The text is not YAML, or uses what plans refuse: tags, anchors, a second document.";
    TooLarge "too_large" "The plan, or a file it names, is larger or nested deeper than allowed.";
    DuplicateKey "duplicate_key" "A key is written twice.";
    UnknownKey "unknown_key" "There is no such key.";
    MissingKey "missing_key" "A key that is needed is not there.";
    WrongType "wrong_type" "The value is of another kind: text for a number, a list for a map.";
    BadValue "bad_value" "The value is of the right kind, but not allowed.";
    Conflict "conflict" "Keys that exclude each other, or a range whose end is before its start.";
    NotYet "not_yet" "This build knows the key, but does not run it yet.";
    Expression "expression" "An expression does not compile.";
    NotInScope "not_in_scope" "An expression names what is not there when it runs.";
    SecretExposed "secret_exposed" "A secret is read where its value would be kept or compared.";
    UnknownName "unknown_name" "There is no target, block, variable, stage or scenario of that name.";
    DuplicateName "duplicate_name" "Two things have the same name.";
    Cycle "cycle" "Variables or blocks that use each other.";
    File "file" "A file that the plan names cannot be read.";
    Proto "proto" "A proto file or descriptor set cannot be used, or lacks what the plan names.";
    Threshold "threshold" "A threshold that cannot be judged: unknown metric, label, or aggregate.";
    Unverified "unverified" "A note: this could not be checked before the run.";
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong with a plan, or one note about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Problem {
    /// The plan's name as given.
    pub file: String,
    /// Where.
    pub span: Span,
    /// What kind.
    pub code: ProblemCode,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem at a place; the plan's name is filled in when reading ends.
    pub fn new(span: Span, code: ProblemCode, message: impl Into<String>) -> Self {
        Self {
            file: String::new(),
            span,
            code,
            message: message.into(),
            hint: None,
        }
    }

    /// Adds the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// One line: `plan.yaml:3:7: unknown_key: there is no key …`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}: {}",
            self.file, self.span.start, self.code, self.message
        )?;
        self.hint
            .as_ref()
            .map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl std::error::Error for Problem {}

/// Whether a rendering is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// With terminal colours.
    Always,
    /// Plain text.
    Never,
}

/// Every problem with a snippet of the plan, for people.
#[must_use]
pub fn render(problems: &[Problem], source: &str, colour: Colour) -> String {
    let theme = match colour {
        Colour::Always => GraphicalTheme::unicode(),
        Colour::Never => GraphicalTheme::unicode_nocolor(),
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(110)
        .with_links(false);
    let lines = Lines::new(source);
    let mut rendered = String::new();
    for problem in problems {
        let (span, source) = lines.snippet(problem);
        let shown = Shown {
            problem,
            span,
            source,
        };
        if handler.render_report(&mut rendered, &shown).is_err() {
            rendered.push_str(&problem.to_string());
        }
        rendered.push('\n');
    }
    rendered
}

/// Where each line of a text starts.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        let after_breaks = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .map(|(at, _)| at + 1);
        Self {
            text,
            starts: std::iter::once(0).chain(after_breaks).collect(),
        }
    }

    fn offset(&self, position: Position) -> usize {
        let line = usize::try_from(position.line)
            .unwrap_or(usize::MAX)
            .saturating_sub(1);
        let Some(start) = self.starts.get(line) else {
            return self.text.len();
        };
        let column = usize::try_from(position.column)
            .unwrap_or(usize::MAX)
            .saturating_sub(1);
        let rest = &self.text[*start..];
        start
            + rest
                .char_indices()
                .nth(column)
                .map_or(rest.len(), |(at, _)| at)
    }

    /// The text around a problem with lines of a length that people read, and the problem's place in it.
    fn snippet(&self, problem: &Problem) -> ((usize, usize), Snippet) {
        let (start, length) = self.bytes(problem.span);
        let at = self.starts.partition_point(|line| *line <= start) - 1;
        let mut snippet = Snippet {
            name: problem.file.clone(),
            text: String::with_capacity(self.text.len().min(1 << 16)),
            shift: 0,
        };
        let mut span = (start, length);
        for (number, line) in self.text.split('\n').enumerate() {
            if number > 0 {
                snippet.text.push('\n');
            }
            let near = number.abs_diff(at) <= 2;
            if !near {
                continue;
            }
            if number == at {
                let within = start - self.starts[at];
                let from = line.floor_char_boundary(within.saturating_sub(LINE_SHOWN / 2));
                let cut = if from > 0 { "…" } else { "" };
                snippet.shift = line[..from].chars().count() - cut.chars().count();
                span.0 = snippet.text.len() + cut.len() + within - from;
                snippet.text.push_str(cut);
                push_cut(&mut snippet.text, &line[from..]);
                span.1 = length.min(snippet.text.len() - span.0);
            } else {
                push_cut(&mut snippet.text, line);
            }
        }
        (span, snippet)
    }

    /// The bytes of a place; of one that spans lines, those of its first line.
    fn bytes(&self, span: Span) -> (usize, usize) {
        let start = self.offset(span.start);
        let end = self.offset(span.end).max(start);
        let line_end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |at| start + at);
        (start, end.min(line_end) - start)
    }
}

/// How much of a line a snippet shows, in bytes.
const LINE_SHOWN: usize = 160;

/// Adds a line, or as much of it as is shown.
fn push_cut(text: &mut String, line: &str) {
    if line.len() <= LINE_SHOWN {
        text.push_str(line);
    } else {
        text.push_str(&line[..line.floor_char_boundary(LINE_SHOWN)]);
        text.push('…');
    }
}

/// The lines around a problem. What is left out of its own line before it still counts for its column.
struct Snippet {
    name: String,
    text: String,
    shift: usize,
}

impl SourceCode for Snippet {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let found = self.text.read_span(span, lines_before, lines_after)?;
        // Without lines around it, it is the place itself that is asked for.
        let column = match (lines_before, lines_after) {
            (0, 0) => found.column() + self.shift,
            _ => found.column(),
        };
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            found.data(),
            *found.span(),
            found.line(),
            column,
            found.line_count(),
        )))
    }
}

struct Shown<'p> {
    problem: &'p Problem,
    span: (usize, usize),
    source: Snippet,
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.problem, f)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.problem.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        (self.problem.code == ProblemCode::Unverified).then_some(miette::Severity::Advice)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let hint = self.problem.hint.as_ref()?;
        Some(Box::new(hint))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new(Some("here".to_owned()), self.span.0, self.span.1);
        Some(Box::new(std::iter::once(label)))
    }
}
