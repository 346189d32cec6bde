//! Applies every rule to a checkout.

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
    let exists = |path: &str| root.join(path).exists();
    let mut complaints = purity::list_is_current(&sources);
    for source in &sources {
        let rules = if source.is_rust() {
            RUST_FILE
        } else if source.is_markdown() {
            complaints.extend(markdown::links(source, &exists));
            complaints.extend(markdown::paths(source, &exists));
            MARKDOWN_FILE
        } else {
            &[]
        };
        complaints.extend(ANY_FILE.iter().chain(rules).flat_map(|rule| rule(source)));
    }
    Ok(complaints)
}
