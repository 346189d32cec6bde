//! `report.json` and `events.jsonl`: the model as it is, since the model is the contract.
use super::model::{EventLine, Report};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use std::io::{self, Write};

/// The report as indented JSON, with a newline at its end. Each of its `series` is one line: with a line for each value,
/// most of a long run's report would be blanks.
///
/// # Errors
/// If a value of the plan's vars cannot be said in JSON, which validated plans do not have.
pub fn render(report: &Report) -> Result<String, serde_json::Error> {
    let mut text = Vec::new();
    report.serialize(&mut Serializer::with_formatter(
        &mut text,
        SeriesInLines::default(),
    ))?;
    text.push(b'\n');
    String::from_utf8(text).map_err(|error| serde::ser::Error::custom(error.utf8_error()))
}

/// One line of JSON per event.
///
/// # Errors
/// As [`render`].
pub fn events(events: &[EventLine]) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for event in events {
        text.push_str(&serde_json::to_string(event)?);
        text.push('\n');
    }
    Ok(text)
}

/// Reads a `report.json`, of a finished run or from a coordinator.
///
/// # Errors
/// If it is no report, or of a version that this build does not know.
pub fn parse(text: &[u8]) -> Result<Report, serde_json::Error> {
    serde_json::from_slice(text)
}

/// The key whose elements are one line each.
const IN_LINES: &str = "series";

/// Indents everything but the elements of the top level's `series`.
#[derive(Default)]
struct SeriesInLines {
    pretty: PrettyFormatter<'static>,
    depth: usize,
    in_key: bool,
    in_series: bool,
}

impl SeriesInLines {
    /// Within one element, whose object is the third level.
    fn is_compact(&self) -> bool {
        self.in_series && self.depth > 2
    }
}

impl Formatter for SeriesInLines {
    fn begin_array<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.depth += 1;
        if self.is_compact() {
            return to.write_all(b"[");
        }
        self.pretty.begin_array(to)
    }

    fn end_array<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        let compact = self.is_compact();
        self.depth -= 1;
        if compact {
            return to.write_all(b"]");
        }
        self.pretty.end_array(to)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        if self.is_compact() {
            return to.write_all(if first { b"" } else { b"," });
        }
        self.pretty.begin_array_value(to, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        if self.is_compact() {
            return Ok(());
        }
        self.pretty.end_array_value(to)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.depth += 1;
        if self.is_compact() {
            return to.write_all(b"{");
        }
        self.pretty.begin_object(to)
    }

    fn end_object<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        let compact = self.is_compact();
        self.depth -= 1;
        if compact {
            return to.write_all(b"}");
        }
        self.pretty.end_object(to)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        if self.is_compact() {
            return to.write_all(if first { b"" } else { b"," });
        }
        self.in_key = true;
        if self.depth == 1 {
            self.in_series = false;
        }
        self.pretty.begin_object_key(to, first)
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.in_key = false;
        self.pretty.end_object_key(to)
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        to: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if self.in_key && self.depth == 1 {
            self.in_series = fragment == IN_LINES;
        }
        to.write_all(fragment.as_bytes())
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        if self.is_compact() {
            return to.write_all(b":");
        }
        self.pretty.begin_object_value(to)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        if self.is_compact() {
            return Ok(());
        }
        self.pretty.end_object_value(to)
    }
}
