//! What decides does no I/O: files that hold decisions name nothing that waits, reads or connects.

use super::rust::is_comment;
use super::{Complaint, Source};

/// Files, or directories that end in `/`, that are values in and values out.
const PURE: &[&str] = &[
    "shared/src/integrity/",
    "shared/src/metric/",
    "shared/src/plan/",
    "shared/src/segment.rs",
    "shared/src/feed/",
    "shared/src/load/",
    "coordinator/src/scheduler/",
    "coordinator/src/verdict/",
    "coordinator/src/run/state.rs",
    "coordinator/src/fault/",
    "coordinator/src/phase.rs",
    "coordinator/src/registry/lease.rs",
    "agent/src/link/state.rs",
];

const IMPURE: &[&str] = &[
    "async fn",
    "async move",
    ".await",
    "tokio::net",
    "tokio::fs",
    "tokio::spawn",
    "std::fs",
    "std::net::Tcp",
    "std::process",
];

/// Pure files stay pure.
pub(super) fn pure(source: &Source) -> Vec<Complaint> {
    let is_test = source.path.contains("/tests/") || source.name().ends_with("_tests.rs");
    if is_test || !PURE.iter().any(|pattern| covers(pattern, &source.path)) {
        return Vec::new();
    }
    let code = source
        .lines_before_tests()
        .filter(|(_, line)| !is_comment(line));
    let impure = code.filter_map(|(number, line)| {
        IMPURE
            .iter()
            .find(|word| line.contains(*word))
            .map(|word| (number, word))
    });
    impure
        .map(|(number, word)| {
            source.complain(
                number,
                &format!("this file decides and does no I/O: no `{word}` here"),
            )
        })
        .collect()
}

/// Every pattern still names something: a file that was moved must not escape its rule.
pub(super) fn list_is_current(sources: &[Source]) -> Vec<Complaint> {
    let gone = PURE
        .iter()
        .filter(|pattern| !sources.iter().any(|source| covers(pattern, &source.path)));
    gone.map(|pattern| Complaint {
        path: "xtask/src/tidy/purity.rs".to_owned(),
        line: 1,
        rule: format!("`{pattern}` names no file: say where its code went"),
    })
    .collect()
}

fn covers(pattern: &str, path: &str) -> bool {
    if pattern.ends_with('/') {
        path.starts_with(pattern)
    } else {
        path == pattern
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pure_files_are_held_to_it_and_their_tests_are_not() {
        let text = "//! Purpose, which may say .await.\nasync fn a() {}\n#[cfg(test)]\nmod tests { async fn b() {} }\n";
        let in_file = |path: &str| {
            pure(&Source {
                path: path.to_owned(),
                text: text.to_owned(),
            })
        };
        assert_eq!(
            in_file("coordinator/src/verdict/judge.rs")
                .iter()
                .map(|found| found.line)
                .collect::<Vec<_>>(),
            [2]
        );
        assert_eq!(in_file("coordinator/src/run/driver.rs"), []);
        assert_eq!(in_file("coordinator/src/scheduler/tests/script.rs"), []);
    }

    #[test]
    fn a_pattern_without_a_file_is_noticed() {
        assert_eq!(list_is_current(&[]).len(), PURE.len());
    }
}
