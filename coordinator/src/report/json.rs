//! `report.json` and `events.jsonl`: the model as it is, since the model is the contract.
use super::model::{EventLine, Report};

/// The report as indented JSON, with a newline at its end.
///
/// # Errors
/// If a value of the plan's vars cannot be said in JSON, which validated plans do not have.
pub fn render(report: &Report) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    Ok(text)
}

/// One line of JSON per event.
///
/// # Errors
/// As [`render`].
pub fn events(events: &[EventLine]) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for event in events {
        text.push_str(&serde_json::to_string(event)?);
        text.push('\n');
    }
    Ok(text)
}

/// Reads a `report.json`, of a finished run or from a coordinator.
///
/// # Errors
/// If it is no report, or of a version that this build does not know.
pub fn parse(text: &[u8]) -> Result<Report, serde_json::Error> {
    serde_json::from_slice(text)
}
