//! Applies every rule to a checkout.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use super::{Complaint, Source, markdown, purity, rust, words};
use crate::process::say;
use crate::workspace::Workspace;

/// A rule for one file.
type Rule = fn(&Source) -> Vec<Complaint>;

const ANY_FILE: &[Rule] = &[words::belongs];
const RUST_FILE: &[Rule] = &[
    rust::header,
    rust::size,
    rust::mod_file,
    rust::marks,
    rust::names,
    purity::pure,
];
const MARKDOWN_FILE: &[Rule] = &[markdown::title];

/// Prints every complaint.
///
/// # Errors
///
/// Fails when there is one.
pub fn run(workspace: &Workspace) -> Result<()> {
    let complaints = check(workspace.root())?;
    for complaint in &complaints {
        say(&complaint.to_string());
    }
    anyhow::ensure!(complaints.is_empty(), "{} complaints", complaints.len());
    Ok(())
}

/// Everything that is wrong with the checkout at `root`, by file and line.
///
/// # Errors
///
/// Fails when the checkout cannot be read.
pub fn check(root: &Path) -> Result<Vec<Complaint>> {
    let sources = Source::read_all(root)?;
    let existing = existing(root, &sources);
    let mut complaints = purity::list_is_current(&sources);
    for source in &sources {
        let rules = if source.is_rust() {
            RUST_FILE
        } else if source.is_markdown() {
            complaints.extend(markdown::links(source, &existing));
            MARKDOWN_FILE
        } else {
            &[]
        };
        complaints.extend(ANY_FILE.iter().chain(rules).flat_map(|rule| rule(source)));
    }
    Ok(complaints)
}

/// What a link may name: every file that was read, every directory above one, and files at the root of any kind.
fn existing(root: &Path, sources: &[Source]) -> BTreeSet<String> {
    let mut paths: BTreeSet<String> = sources.iter().map(|source| source.path.clone()).collect();
    for source in sources {
        let above = source
            .path
            .match_indices('/')
            .map(|(end, _)| source.path[..end].to_owned());
        paths.extend(above);
    }
    let at_root = std::fs::read_dir(root).into_iter().flatten().flatten();
    paths.extend(at_root.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    paths.extend([".ci/run", ".config/nextest.toml", ".cargo/config.toml"].map(str::to_owned));
    paths
}
