//! Every file of a report, by name: the one list that coordinator, command line and documentation share.
use super::model::{Extras, Report};
use super::{html, json, junit, windows};
use thiserror::Error;

/// Renders one file.
type Render = fn(&Report, &Extras) -> Result<Vec<u8>, RenderError>;

/// Every file of a report, in the order of the documentation. A new form of report is one renderer beside this file, and one
/// line here.
const RENDERERS: &[(&str, Render)] = &[
    ("report.json", |report, _| {
        json::render(report)
            .map(String::into_bytes)
            .map_err(json_error("report.json"))
    }),
    ("junit.xml", |report, _| {
        junit::render(report)
            .map(String::into_bytes)
            .map_err(RenderError::Junit)
    }),
    ("report.html", |report, extras| {
        Ok(html::render(report, extras).into_bytes())
    }),
    ("events.jsonl", |_, extras| {
        json::events(&extras.events)
            .map(String::into_bytes)
            .map_err(json_error("events.jsonl"))
    }),
    ("windows.bin", |_, extras| {
        windows::encode(&extras.windows).map_err(RenderError::Windows)
    }),
];

/// The names of a report's files.
pub const FILES: [&str; RENDERERS.len()] = {
    let mut names = [""; RENDERERS.len()];
    let mut index = 0;
    while index < RENDERERS.len() {
        names[index] = RENDERERS[index].0;
        index += 1;
    }
    names
};

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

/// Renders every file of [`FILES`], in that order, each for itself: one that fails costs no other.
pub fn each<'a>(
    report: &'a Report,
    extras: &'a Extras,
) -> impl Iterator<Item = (&'static str, Result<Vec<u8>, RenderError>)> + 'a {
    RENDERERS
        .iter()
        .map(move |(name, render)| (*name, render(report, extras)))
}

/// Renders every file of [`FILES`], in that order.
///
/// # Errors
/// If one of them cannot be said in its format.
pub fn files(
    report: &Report,
    extras: &Extras,
) -> Result<Vec<(&'static str, Vec<u8>)>, RenderError> {
    each(report, extras)
        .map(|(name, rendered)| Ok((name, rendered?)))
        .collect()
}

fn json_error(file: &'static str) -> impl FnOnce(serde_json::Error) -> RenderError {
    move |source| RenderError::Json { file, source }
}
