//! Rules for documents: links lead somewhere, headings are sentences, lines hold one sentence.

use super::{Complaint, Source};

/// A relative link names a file or directory that exists.
pub(super) fn links(source: &Source, exists: &dyn Fn(&str) -> bool) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (number, line) in prose(source) {
        for target in link_targets(line) {
            let path = resolve(&source.path, target);
            if !exists(&path) {
                complaints
                    .push(source.complain(number, &format!("the link `{target}` leads nowhere")));
            }
        }
    }
    complaints
}

/// A path in backticks, from the workspace or from the document's own directory, names something that exists.
pub(super) fn paths(source: &Source, exists: &dyn Fn(&str) -> bool) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (number, line) in prose(source) {
        let quoted = line.split('`').skip(1).step_by(2);
        for path in quoted.filter(|quoted| is_path(quoted)) {
            let beside = resolve(&source.path, path);
            if !exists(path) && !exists(&beside) {
                complaints.push(source.complain(number, &format!("there is no `{path}`")));
            }
        }
    }
    complaints
}

/// Whether this is meant as one path of the workspace: it starts with a directory of ours, and has no pattern in it.
fn is_path(quoted: &str) -> bool {
    const TOP: &[&str] = &[
        "agent",
        "bench",
        "coordinator",
        "docs",
        "e2e",
        "plans",
        "proto",
        "shared",
        "testbed",
        "xtask",
    ];
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-".contains(character);
    let top = quoted.split_once('/').map(|(top, _)| top);
    // Upper case stands for a name that is chosen, as in `agent/src/driver/NAME.rs`.
    let chosen = |part: &str| {
        part.trim_end_matches(".rs")
            .chars()
            .all(|character| character.is_ascii_uppercase())
    };
    top.is_some_and(|top| TOP.contains(&top))
        && quoted.chars().all(plain)
        && !quoted
            .split('/')
            .any(|part| !part.is_empty() && chosen(part))
}

/// A heading of the first level comes first; before it may only stand where a page was generated from.
pub(super) fn title(source: &Source) -> Vec<Complaint> {
    match source
        .lines()
        .find(|(_, line)| !line.is_empty() && !line.starts_with("<!--"))
    {
        Some((_, line)) if line.starts_with("# ") => Vec::new(),
        _ => vec![source.complain(1, "open the document with its title, `# …`")],
    }
}

/// Prose outside fenced code.
fn prose(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    source.lines().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    let targets = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    targets.filter_map(|target| {
        let file = target.split('#').next().unwrap_or(target);
        let outside = file.is_empty() || file.contains("://") || file.starts_with("mailto:");
        (!outside).then_some(file)
    })
}

fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_followed_from_its_document() {
        let text = "# Title\n[a](../a.md#part) [b](b.md) [out](https://example.com) [here](#part)\n```\n[c](no.md)\n```\n";
        let source = Source {
            path: "docs/design/x.md".to_owned(),
            text: text.to_owned(),
        };
        let complaints = links(&source, &|path| path == "docs/a.md");
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert_eq!(
            complaints[0].to_string(),
            "docs/design/x.md:2: the link `b.md` leads nowhere"
        );
    }
}
