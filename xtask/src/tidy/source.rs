//! The files that rules look at, and what rules say about them.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};

/// Directories that hold nothing written by hand.
const SKIPPED: &[&str] = &[
    "target",
    "generated",
    "testmesh-out",
    "snapshots",
    "node_modules",
    "__pycache__",
];
const READ: &[&str] = &[
    "rs", "md", "proto", "toml", "yaml", "yml", "py", "html", "css", "js",
];

/// A text file of the checkout.
#[derive(Debug, Clone)]
pub struct Source {
    /// From the workspace root, with `/` between its parts.
    pub path: String,
    /// What it holds.
    pub text: String,
}

impl Source {
    /// Reads every text file below `root` that people write.
    ///
    /// # Errors
    ///
    /// Fails when a directory or file cannot be read.
    pub fn read_all(root: &Path) -> Result<Vec<Self>> {
        let mut sources = Vec::new();
        read_directory(root, root, &mut sources)?;
        sources.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(sources)
    }

    /// Whether this is Rust.
    #[must_use]
    pub fn is_rust(&self) -> bool {
        self.has_ending("rs")
    }

    /// Whether this is Markdown.
    #[must_use]
    pub fn is_markdown(&self) -> bool {
        self.has_ending("md")
    }

    /// The file's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Numbered lines up to the file's own tests.
    pub fn lines_before_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines()
            .take_while(|(_, line)| line.trim_end() != "#[cfg(test)]")
    }

    /// Lines with their numbers, the first being 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    /// Complains about a line of this file.
    #[must_use]
    pub fn complain(&self, line: usize, rule: &str) -> Complaint {
        Complaint {
            path: self.path.clone(),
            line,
            rule: rule.to_owned(),
        }
    }

    fn has_ending(&self, ending: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|found| found == ending)
    }
}

/// A rule that a line breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The file, from the workspace root.
    pub path: String,
    /// The line, the first being 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub rule: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.rule)
    }
}

fn read_directory(root: &Path, directory: &Path, sources: &mut Vec<Source>) -> Result<()> {
    let failed = || format!("failed to read `{}`", directory.display());
    for entry in std::fs::read_dir(directory).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
                read_directory(root, &path, sources)?;
            }
        } else if path
            .extension()
            .is_some_and(|ending| READ.iter().any(|read| ending == *read))
        {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("failed to read `{}`", path.display()))?;
            let path = path
                .strip_prefix(root)
                .unwrap_or(&path)
                .to_string_lossy()
                .replace('\\', "/");
            sources.push(Source { path, text });
        }
    }
    Ok(())
}
