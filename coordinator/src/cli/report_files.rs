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
    for (name, content) in files {
        if render::FILES.contains(&name.as_str()) {
            let path = directory.join(name);
            std::fs::write(&path, content).map_err(error(&path))?;
        } else if let Some(picture) = picture(name) {
            let folder = directory.join(SCREENSHOTS);
            std::fs::create_dir_all(&folder).map_err(error(&folder))?;
            let path = folder.join(picture);
            std::fs::write(&path, content).map_err(error(&path))?;
        }
    }
    Ok(())
}

/// The folder of a report's pictures.
const SCREENSHOTS: &str = "screenshots";

/// The name of a picture in its folder. It comes over the wire, and must not lead elsewhere.
fn picture(name: &str) -> Option<&str> {
    let picture = name.strip_prefix(SCREENSHOTS)?.strip_prefix('/')?;
    let stem = picture.strip_suffix(".png")?;
    let is_safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (!stem.is_empty() && stem.chars().all(is_safe)).then_some(picture)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_stay_in_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "report.json",
            "screenshots/001-a_b.png",
            "screenshots/../x.png",
            "screenshots/.png",
            "screenshots/a.sh",
            "other/a.png",
        ];
        let files: Files = names
            .iter()
            .map(|name| ((*name).to_owned(), name.as_bytes().to_vec()))
            .collect();
        write(&files, folder.path()).unwrap();
        let listed = |path: &Path| {
            let entries = std::fs::read_dir(path).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(listed(folder.path()), ["report.json", "screenshots"]);
        assert_eq!(listed(&folder.path().join("screenshots")), ["001-a_b.png"]);
    }
}
