//! Rules for the shape of Rust files: headers, sizes, `mod.rs`, forbidden marks.

use super::{Complaint, Source};

/// Lines that a file may have before its own tests begin.
const HARD_LIMIT: usize = 800;

/// Every file says what it is for before anything else.
pub(super) fn header(source: &Source) -> Vec<Complaint> {
    let first = source
        .lines()
        .find(|(_, line)| !line.trim().is_empty() && !line.starts_with("#!["));
    match first {
        Some((_, line)) if line.starts_with("//! ") => Vec::new(),
        Some((number, _)) => vec![source.complain(
            number,
            "open the file with a `//!` paragraph that says what it is for",
        )],
        None => vec![source.complain(1, "the file is empty")],
    }
}

/// Files stay readable in one sitting.
pub(super) fn size(source: &Source) -> Vec<Complaint> {
    let lines = source.lines_before_tests().count();
    if lines <= HARD_LIMIT {
        return Vec::new();
    }
    vec![source.complain(
        HARD_LIMIT,
        &format!(
            "{lines} lines, tests not counted, are over {HARD_LIMIT}: part the file by concept"
        ),
    )]
}

/// `mod.rs` holds documentation, declarations and re-exports.
pub(super) fn mod_file(source: &Source) -> Vec<Complaint> {
    // `tests/kit/mod.rs` is how Cargo shares code between test executables.
    if source.name() != "mod.rs" || source.path.contains("/tests/") {
        return Vec::new();
    }
    let complain = |(number, _)| {
        source.complain(
            number,
            "`mod.rs` holds no function: move it to a file that its concept names",
        )
    };
    source
        .lines()
        .filter(|(_, line)| is_function(line))
        .map(complain)
        .collect()
}

/// Nothing is switched off or left for later.
pub(super) fn marks(source: &Source) -> Vec<Complaint> {
    let forbidden = [
        (
            ["#[ign", "ore"].concat(),
            "a test that does not run is no test: mend it or remove it",
        ),
        (
            ["todo", "!("].concat(),
            "nothing is left for later in code that runs",
        ),
        (
            ["unimplem", "ented!("].concat(),
            "nothing is left for later in code that runs",
        ),
        (
            ["#[should_", "panic"].concat(),
            "test the error that is returned instead",
        ),
    ];
    let mut complaints = Vec::new();
    for (number, line) in source.lines().filter(|(_, line)| !is_comment(line)) {
        let found = forbidden
            .iter()
            .filter(|(mark, _)| line.contains(mark.as_str()));
        complaints.extend(found.map(|(_, rule)| source.complain(number, rule)));
    }
    complaints
}

/// Types and files are named by what they are.
pub(super) fn names(source: &Source) -> Vec<Complaint> {
    const EMPTY: &[&str] = &["Manager", "Helper", "Helpers", "Util", "Utils"];
    let mut complaints = Vec::new();
    if matches!(
        source.name(),
        "util.rs" | "utils.rs" | "helpers.rs" | "misc.rs" | "errors.rs" | "common.rs"
    ) {
        complaints.push(source.complain(1, "name the file by the concept that it holds"));
    }
    for (number, line) in source.lines() {
        if let Some(name) =
            declared_type(line).filter(|name| EMPTY.iter().any(|word| name.ends_with(word)))
        {
            complaints.push(source.complain(
                number,
                &format!("`{name}` says nothing: name it by what it is"),
            ));
        }
    }
    complaints
}

pub(super) fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn is_function(line: &str) -> bool {
    let line = line.trim_start();
    !is_comment(line) && (line.starts_with("fn ") || line.contains(" fn ")) && line.contains('(')
}

fn declared_type(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = ["pub(crate) ", "pub(super) ", "pub "]
        .iter()
        .find_map(|prefix| line.strip_prefix(prefix))
        .unwrap_or(line);
    let rest = ["struct ", "enum ", "trait ", "type "]
        .iter()
        .find_map(|prefix| line.strip_prefix(prefix))?;
    rest.split(|character: char| !character.is_alphanumeric() && character != '_')
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    fn lines(complaints: &[Complaint]) -> Vec<usize> {
        complaints.iter().map(|complaint| complaint.line).collect()
    }

    #[test]
    fn a_file_needs_a_header() {
        assert_eq!(
            lines(&header(&source("a.rs", "//! Purpose.\nfn a() {}\n"))),
            []
        );
        assert_eq!(
            lines(&header(&source("a.rs", "\nuse std::fmt;\n//! Late.\n"))),
            [2]
        );
        assert_eq!(lines(&header(&source("a.rs", ""))), [1]);
    }

    #[test]
    fn tests_do_not_count_towards_the_size() {
        let long = "//! Purpose.\n".repeat(801);
        assert_eq!(lines(&size(&source("a.rs", &long))), [800]);
        let tested = format!(
            "//! Purpose.\n#[cfg(test)]\nmod tests {{\n{}}}\n",
            "// line\n".repeat(900)
        );
        assert_eq!(lines(&size(&source("a.rs", &tested))), []);
    }

    #[test]
    fn a_mod_file_has_no_function() {
        let text = "//! Purpose.\nmod a;\n/// about fn x()\npub(crate) fn x() {}\n";
        assert_eq!(lines(&mod_file(&source("shared/src/a/mod.rs", text))), [4]);
        assert_eq!(lines(&mod_file(&source("shared/src/a/b.rs", text))), []);
    }

    #[test]
    fn nothing_is_switched_off() {
        let text = [
            "//! Purpose.\n#[ign",
            "ore]\nfn a() { todo",
            "!() }\n// todo",
            "!() in words\n",
        ]
        .concat();
        assert_eq!(lines(&marks(&source("a.rs", &text))), [2, 3]);
    }

    #[test]
    fn empty_names_are_refused() {
        let text = [
            "//! Purpose.\npub struct Run",
            "Manager;\nstruct Utilization;\n",
        ]
        .concat();
        assert_eq!(lines(&names(&source("a.rs", &text))), [2]);
        assert_eq!(lines(&names(&source("a/utils.rs", "//! Purpose.\n"))), [1]);
    }
}
