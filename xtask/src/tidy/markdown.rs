//! Rules for documents: links lead somewhere, headings are sentences, lines hold one sentence.

use std::collections::BTreeSet;

use super::{Complaint, Source};

/// A relative link names a file or directory that exists.
pub(super) fn links(source: &Source, existing: &BTreeSet<String>) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (number, line) in prose(source) {
        for target in link_targets(line) {
            let path = resolve(&source.path, target);
            if !existing.contains(&path) {
                complaints
                    .push(source.complain(number, &format!("the link `{target}` leads nowhere")));
            }
        }
    }
    complaints
}

/// One heading of the first level, on the first line.
pub(super) fn title(source: &Source) -> Vec<Complaint> {
    match source.lines().next() {
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
        let existing = BTreeSet::from(["docs/a.md".to_owned()]);
        let complaints = links(&source, &existing);
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert_eq!(
            complaints[0].to_string(),
            "docs/design/x.md:2: the link `b.md` leads nowhere"
        );
    }
}
