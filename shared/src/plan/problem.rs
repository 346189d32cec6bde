//! Problems of a plan: what is wrong, where, and the way out.

use std::fmt;

use serde::{Deserialize, Serialize};

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

/// What kind of problem it is; a closed list, stable for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProblemCode {
    /// The text is not YAML, or uses what plans refuse (tags, anchors).
    Yaml,
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
