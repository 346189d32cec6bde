//! Every file of a report, by name: the one list that coordinator, command line and documentation share.
use super::model::{Extras, Report};
use super::{html, json, junit, windows};
use thiserror::Error;

/// The names of a report's files.
pub const FILES: [&str; 5] = [
    "report.json",
    "junit.xml",
    "report.html",
    "events.jsonl",
    "windows.bin",
];

/// Why a file of a report could not be rendered.
#[derive(Debug, Error)]
pub enum RenderError {
    /// JSON.
    #[error("failed to render `{file}`")]
    Json {
        /// The file.
        file: &'static str,
        /// What went wrong.
        #[source]
        source: serde_json::Error,
    },
    /// JUnit.
    #[error("failed to render `junit.xml`")]
    Junit(#[source] quick_junit::SerializeError),
    /// MessagePack.
    #[error("failed to render `windows.bin`")]
    Windows(#[source] windows::WindowsError),
}

/// Renders every file of [`FILES`], in that order.
///
/// # Errors
/// If one of them cannot be said in its format.
pub fn files(
    report: &Report,
    extras: &Extras,
) -> Result<Vec<(&'static str, Vec<u8>)>, RenderError> {
    let json_error = |file| move |source| RenderError::Json { file, source };
    let [json_file, junit_file, html_file, events_file, windows_file] = FILES;
    Ok(vec![
        (
            json_file,
            json::render(report)
                .map_err(json_error(json_file))?
                .into_bytes(),
        ),
        (
            junit_file,
            junit::render(report)
                .map_err(RenderError::Junit)?
                .into_bytes(),
        ),
        (html_file, html::render(report, extras).into_bytes()),
        (
            events_file,
            json::events(&extras.events)
                .map_err(json_error(events_file))?
                .into_bytes(),
        ),
        (
            windows_file,
            windows::encode(&extras.windows).map_err(RenderError::Windows)?,
        ),
    ])
}
