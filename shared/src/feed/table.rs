//! The rows of a feed, in memory much as they are in the file: a text and the ends of its parts. A value is made when a session
//! takes the row.

use std::collections::BTreeSet;
use std::io::Read as _;

use crate::plan::expr::Value;

/// How a file holds rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180, with a first line that names the columns.
    Csv,
    /// The same with tabs.
    Tsv,
    /// A list of objects.
    Json,
    /// An object on each line.
    JsonLines,
}

impl Format {
    /// Endings of paths, for hints.
    pub const ENDINGS: &str = "`.csv`, `.tsv`, `.json`, `.jsonl`";

    /// The format of a file, by the ending of its path.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        let (_, ending) = path.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "json" => Some(Self::Json),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            _ => None,
        }
    }

    /// Whether its cells are texts, which a plan may give types.
    #[must_use]
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Csv | Self::Tsv)
    }
}

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number of 64 bits.
    Int,
    /// A number.
    Double,
    /// `true` or `false`.
    Bool,
}

impl Kind {
    /// Their words in a plan.
    pub const WORDS: &[&str] = &["text", "int", "double", "bool"];

    /// The kind of a word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        let all = [Self::Text, Self::Int, Self::Double, Self::Bool];
        let place = Self::WORDS.iter().position(|known| *known == word)?;
        all.get(place).copied()
    }

    fn value(self, cell: &str) -> Option<Value> {
        Some(match self {
            Self::Text => Value::from(cell),
            Self::Int => Value::from(cell.trim().parse::<i64>().ok()?),
            Self::Double => {
                let number: f64 = cell.trim().parse().ok()?;
                number.is_finite().then(|| Value::from(number))?
            }
            Self::Bool => Value::from(cell.trim().parse::<bool>().ok()?),
        })
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Int => "whole number",
            Self::Double => "number",
            Self::Bool => "`true` or `false`",
        }
    }
}

/// Why a file is no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TableProblem {
    /// What is wrong, with the line of the file.
    pub message: String,
    /// The way out.
    pub hint: String,
}

fn problem(message: impl Into<String>, hint: impl Into<String>) -> TableProblem {
    TableProblem {
        message: message.into(),
        hint: hint.into(),
    }
}

/// Rows with columns.
#[derive(Debug)]
pub struct Table {
    columns: Vec<String>,
    rows: u32,
    parts: Parts,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// A part for each cell, row by row.
    Cells(Vec<Kind>),
    /// A part for each row: an object.
    Objects,
}

/// Texts one after another.
#[derive(Debug, Default)]
struct Parts {
    text: String,
    ends: Vec<usize>,
}

impl Parts {
    fn push(&mut self, part: &str) {
        self.text.push_str(part);
        self.ends.push(self.text.len());
    }

    fn get(&self, place: usize) -> Option<&str> {
        let start = match place.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.text.get(start..*self.ends.get(place)?)
    }
}

impl Table {
    /// Reads a file. `kinds` are those of columns of text that are not text.
    ///
    /// # Errors
    /// [`TableProblem`] for what is not of the format, a file without rows, rows that have other columns than the first line,
    /// and cells that are not of their kind.
    pub fn read(
        format: Format,
        bytes: &[u8],
        kinds: &[(String, Kind)],
    ) -> Result<Self, TableProblem> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let table = match format {
            Format::Csv => cells(b',', bytes, kinds)?,
            Format::Tsv => cells(b'\t', bytes, kinds)?,
            Format::Json => objects(json_list(bytes)?)?,
            Format::JsonLines => objects(json_lines(bytes)?)?,
        };
        if table.rows == 0 {
            return Err(problem("it has no rows", "a feed needs at least one"));
        }
        Ok(table)
    }

    /// The names of its columns; of objects all that any of them has.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How many rows it has.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a table has a row")]
    pub const fn len(&self) -> u32 {
        self.rows
    }

    /// A row, by its place from 0: a map from columns.
    #[must_use]
    pub fn row(&self, row: u32) -> Option<Value> {
        let row = row as usize;
        match &self.content {
            Content::Objects => Value::from_json_slice(self.parts.get(row)?.as_bytes()).ok(),
            Content::Cells(kinds) => {
                let first = row * self.columns.len();
                let columns = self.columns.iter().zip(kinds).enumerate();
                let cells: Option<Vec<_>> = columns
                    .map(|(place, (column, kind))| {
                        let value = kind.value(self.parts.get(first + place)?)?;
                        Some((column.as_str(), value))
                    })
                    .collect();
                Some(Value::map(cells?))
            }
        }
    }
}

fn cells(delimiter: u8, bytes: &[u8], kinds: &[(String, Kind)]) -> Result<Table, TableProblem> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .from_reader(bytes);
    let header = reader
        .headers()
        .map_err(|error| unreadable(bytes, &error))?
        .clone();
    check_quotes(delimiter, bytes, header.len())?;
    let columns: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
    let mut seen = BTreeSet::new();
    for column in &columns {
        if column.is_empty() {
            let hint = "the first line names each column";
            return Err(problem("a column has no name", hint));
        }
        if !seen.insert(column) {
            let message = format!("there are two columns `{column}`");
            return Err(problem(message, "rename one of them"));
        }
    }
    if let Some((unknown, _)) = kinds.iter().find(|(name, _)| !columns.contains(name)) {
        let hint = format!("there are {}", columns.join(", "));
        return Err(problem(format!("it has no column `{unknown}`"), hint));
    }
    let kind_of = |column: &String| {
        let typed = kinds.iter().find(|(name, _)| name == column);
        typed.map_or(Kind::Text, |(_, kind)| *kind)
    };
    let kinds: Vec<Kind> = columns.iter().map(kind_of).collect();
    let (mut parts, mut rows) = (Parts::default(), 0_u32);
    let mut record = csv::StringRecord::new();
    while reader
        .read_record(&mut record)
        .map_err(|error| unreadable(bytes, &error))?
    {
        for ((cell, kind), column) in record.iter().zip(&kinds).zip(&columns) {
            if kind.value(cell).is_none() {
                let line = line(bytes, record.position());
                let message = format!(
                    "line {line}: `{}` in column `{column}` is no {}",
                    shown(cell),
                    kind.noun()
                );
                return Err(problem(message, "mend the file, or `types`"));
            }
            parts.push(cell);
        }
        rows = rows
            .checked_add(1)
            .ok_or_else(|| problem("it has more than 2³² rows", "name a smaller file"))?;
    }
    Ok(Table {
        columns,
        rows,
        parts,
        content: Content::Cells(kinds),
    })
}

/// A quote that is never closed makes one cell of the rest of a file, which is no error of the format. A row put behind the
/// file is then no row.
fn check_quotes(delimiter: u8, bytes: &[u8], columns: usize) -> Result<(), TableProblem> {
    const LAST: &str = "\u{1}";
    if columns == 0 {
        return Ok(());
    }
    let separator = char::from(delimiter).to_string();
    let row = format!("\n{}\n", vec![LAST; columns].join(&separator));
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .from_reader(bytes.chain(row.as_bytes()));
    let mut record = csv::ByteRecord::new();
    let (mut begins, mut is_last) = (0, false);
    while reader.read_byte_record(&mut record).is_ok_and(|more| more) {
        begins = line(bytes, record.position());
        is_last = record.len() == columns && record.iter().all(|cell| cell == LAST.as_bytes());
    }
    if is_last {
        return Ok(());
    }
    let message = format!("the row in line {begins} has a quote that is never closed");
    Err(problem(
        message,
        "close it; a quote within a quoted cell is written twice",
    ))
}

/// The line of a record; a position stands before the empty lines that are skipped.
fn line(bytes: &[u8], position: Option<&csv::Position>) -> u64 {
    let Some(position) = position else { return 0 };
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let behind = bytes.get(start..).unwrap_or_default().iter();
    let skipped = behind.take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.line() + skipped.filter(|byte| **byte == b'\n').count() as u64
}

fn unreadable(bytes: &[u8], error: &csv::Error) -> TableProblem {
    let line = line(bytes, error.position());
    let message = match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("line {line} has {len} cells, and the first line has {expected_len}"),
        csv::ErrorKind::Utf8 { .. } => format!("line {line} is not UTF-8"),
        _ => format!("it is not CSV: {error}"),
    };
    problem(message, "mend the file; cells with commas need quotes")
}

type Object = serde_json::Map<String, serde_json::Value>;

fn json_list(bytes: &[u8]) -> Result<Vec<Object>, TableProblem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("it is not a list of objects: {error}");
        problem(message, "write `[ { \"column\": … }, … ]`")
    })
}

fn json_lines(bytes: &[u8]) -> Result<Vec<Object>, TableProblem> {
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let full = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    full.map(|(number, line)| {
        serde_json::from_slice(line).map_err(|error| {
            let message = format!("line {} is not an object: {error}", number + 1);
            problem(message, "write an object on each line")
        })
    })
    .collect()
}

fn objects(rows: Vec<Object>) -> Result<Table, TableProblem> {
    let mut table = Table {
        columns: Vec::new(),
        rows: u32::try_from(rows.len())
            .map_err(|_| problem("it has more than 2³² rows", "name a smaller file"))?,
        parts: Parts::default(),
        content: Content::Objects,
    };
    let mut seen = BTreeSet::new();
    for row in rows {
        for column in row.keys() {
            if !seen.contains(column) {
                seen.insert(column.clone());
                table.columns.push(column.clone());
            }
        }
        table
            .parts
            .push(&serde_json::Value::Object(row).to_string());
    }
    Ok(table)
}

/// As much of a cell as a message needs.
fn shown(cell: &str) -> String {
    match cell.char_indices().nth(40) {
        None => cell.to_owned(),
        Some((end, _)) => format!("{}…", &cell[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(text: &str, kinds: &[(&str, Kind)]) -> Result<Table, String> {
        let kinds: Vec<_> = (kinds.iter())
            .map(|(name, kind)| ((*name).to_owned(), *kind))
            .collect();
        Table::read(Format::Csv, text.as_bytes(), &kinds).map_err(|problem| problem.message)
    }

    fn json(table: &Table, row: u32) -> serde_json::Value {
        table.row(row).unwrap().to_json()
    }

    #[test]
    fn cells_are_text_unless_they_have_a_type() {
        let text = "\u{feff}name, height,live\r\n\"a, \"\"b\"\"\",007,true\n,1_000,no\n";
        let table = csv(text, &[]).unwrap();
        assert_eq!(table.columns(), ["name", "height", "live"]);
        assert_eq!(table.len(), 2);
        let first = serde_json::json!({ "name": "a, \"b\"", "height": "007", "live": "true" });
        assert_eq!(json(&table, 0), first);
        assert_eq!(table.row(2), None);
        let kinds = [("height", Kind::Int), ("live", Kind::Bool)];
        let text = "name,height,live\nx,007,true\n";
        let first = serde_json::json!({ "name": "x", "height": 7, "live": true });
        assert_eq!(json(&csv(text, &kinds).unwrap(), 0), first);
        let double = csv("a\n1e3\n", &[("a", Kind::Double)]).unwrap();
        assert_eq!(json(&double, 0), serde_json::json!({ "a": 1000.0 }));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        /// A file, kinds of its columns, and what is wrong.
        type Case = (&'static str, &'static [(&'static str, Kind)], &'static str);
        let cases: [Case; 9] = [
            ("a,b\n", &[], "it has no rows"),
            ("", &[], "it has no rows"),
            (
                "a,b\n1,2\n3\n",
                &[],
                "line 3 has 1 cells, and the first line has 2",
            ),
            ("a,a\n1,2\n", &[], "there are two columns `a`"),
            ("a,\n1,2\n", &[], "a column has no name"),
            (
                "a\n1\n\nx\n",
                &[("a", Kind::Int)],
                "line 4: `x` in column `a` is no whole number",
            ),
            ("a\n1\n", &[("b", Kind::Int)], "it has no column `b`"),
            (
                "a\n\"ann\nbob\ncy\n",
                &[],
                "the row in line 2 has a quote that is never closed",
            ),
            (
                "a\nnan\n",
                &[("a", Kind::Double)],
                "line 2: `nan` in column `a` is no number",
            ),
        ];
        for (text, kinds, message) in cases {
            assert_eq!(
                csv(text, kinds).map(drop),
                Err(message.to_owned()),
                "{text:?}"
            );
        }
        let latin = Table::read(Format::Csv, b"a\n1\n\xe9\n", &[]).unwrap_err();
        assert_eq!(latin.message, "line 3 is not UTF-8");
    }

    #[test]
    fn objects_keep_their_types_and_may_lack_columns() {
        let list = br#"[{"a": 1, "b": [1, "x"]}, {"c": null}]"#;
        let lines = b"{\"a\": 1, \"b\": [1, \"x\"]}\n\n{\"c\": null}\n";
        for (format, bytes) in [(Format::Json, &list[..]), (Format::JsonLines, lines)] {
            let table = Table::read(format, bytes, &[]).unwrap();
            assert_eq!(table.columns(), ["a", "b", "c"]);
            assert_eq!(
                json(&table, 0),
                serde_json::json!({ "a": 1, "b": [1, "x"] })
            );
            assert_eq!(json(&table, 1), serde_json::json!({ "c": null }));
        }
        let message = |format, bytes| Table::read(format, bytes, &[]).unwrap_err().message;
        assert_eq!(message(Format::Json, b"[]"), "it has no rows");
        assert!(message(Format::Json, b"{}").starts_with("it is not a list of objects: "));
        assert!(message(Format::JsonLines, b"{}\n1\n").starts_with("line 2 is not an object: "));
    }

    #[test]
    fn the_ending_of_a_path_says_its_format() {
        assert_eq!(Format::of("a/b.CSV"), Some(Format::Csv));
        assert_eq!(Format::of("b.ndjson"), Some(Format::JsonLines));
        assert_eq!((Format::of("csv"), Format::of("a.txt")), (None, None));
    }
}
