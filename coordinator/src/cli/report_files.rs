//! The files of a report on this machine: fetched from the coordinator, written, and read for the summary.
use super::client::Client;
use super::error::CliError;
use super::output::Output;
use crate::report::model::Report;
use crate::report::terminal::{self, Style};
use crate::report::{json, render};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A report's files by name.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// Fetches every file of a sealed run's report.
pub(super) async fn fetch(client: &mut Client, run: &str) -> Result<Files, CliError> {
    client.report(run, &[]).await
}

/// Where the files of a run go unless the user said otherwise.
pub(super) fn default_directory(run: &str) -> PathBuf {
    // An id comes over the wire: it must not lead elsewhere.
    let safe: String = run
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
                c
            } else {
                '_'
            }
        })
        .collect();
    Path::new("testmesh-out").join(safe)
}

/// Writes the files that are known by name.
pub(super) fn write(files: &Files, directory: &Path) -> Result<(), CliError> {
    let error = |path: &Path| {
        let path = path.to_owned();
        move |source| CliError::Write { path, source }
    };
    std::fs::create_dir_all(directory).map_err(error(directory))?;
    for name in render::FILES {
        if let Some(content) = files.get(name) {
            let path = directory.join(name);
            std::fs::write(&path, content).map_err(error(&path))?;
        }
    }
    Ok(())
}

/// The model of a report.
pub(super) fn read(files: &Files, run: &str) -> Result<Report, CliError> {
    let text = files
        .get("report.json")
        .map(Vec::as_slice)
        .unwrap_or_default();
    json::parse(text).map_err(|source| CliError::Report {
        run: run.to_owned(),
        source,
    })
}

/// Prints the summary; its last line is the verdict.
pub(super) fn print(
    report: &Report,
    directory: Option<&Path>,
    output: &Output,
) -> Result<(), CliError> {
    let style = if output.colour_out() {
        Style::Colour
    } else {
        Style::Plain
    };
    output.text(&terminal::render(report, directory, style))
}
