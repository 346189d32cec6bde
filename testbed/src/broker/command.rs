//! The six commands, read strictly: an unknown key, a wrong type or a broken rule is a reason to reject one.

use serde::Deserialize;

use crate::limits::{MAX_COMMAND, MAX_COMMAND_TEXT, MAX_MONITORED};

/// A command that keeps its own rules.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    Keepalive,
    InputChanged,
    Colormap(Colormap),
    Caxis { min: f32, max: f32 },
    Region { start: u32, end: u32 },
    MonitorQueues,
}

/// How a viewer paints values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Colormap {
    #[default]
    Parula,
    Grayscale,
    Jet,
}

impl Colormap {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Parula => "parula",
            Self::Grayscale => "grayscale",
            Self::Jet => "jet",
        }
    }
}

/// Why a command is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("{bytes} bytes are too many for a command, which may have {MAX_COMMAND}")]
    TooLarge { bytes: usize },
    #[error("content type `{0}` is not application/json")]
    ContentType(String),
    #[error("not a command: {0}")]
    Form(String),
    #[error("{0}")]
    Rule(String),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum Raw {
    #[serde(rename = "KeepaliveCommand")]
    Keepalive { value: Source },
    #[serde(rename = "InputChangedCommand")]
    InputChanged { metadata: Metadata },
    #[serde(rename = "ColormapCommand")]
    Colormap { value: Colormap },
    #[serde(rename = "CaxisCommand")]
    Caxis { value: Axis },
    #[serde(rename = "RegionOfInterestCommand")]
    Region { value: Ends },
    #[serde(rename = "MonitorQueuesCommand")]
    MonitorQueues { value: Queues },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    prr: f64,
    num_samples_per_trace: i64,
    dtype: String,
    dx: Option<f64>,
    fiber_start_meters: Option<f64>,
    fiber_length_meters: Option<f64>,
    sw_version: Option<String>,
    number_of_channels: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Axis {
    min: f32,
    max: f32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ends {
    start: i64,
    end: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Queues {
    queues_to_monitor: Vec<String>,
}

/// Reads a message's body.
///
/// # Errors
///
/// It is none of the six, or breaks a rule that does not depend on the job.
pub(crate) fn read(body: &[u8], content_type: Option<&str>) -> Result<Command, CommandError> {
    if body.len() > MAX_COMMAND {
        return Err(CommandError::TooLarge { bytes: body.len() });
    }
    if let Some(other) = content_type.filter(|kind| !kind.starts_with("application/json")) {
        let shown = other.chars().take(MAX_COMMAND_TEXT).collect();
        return Err(CommandError::ContentType(shown));
    }
    let raw = serde_json::from_slice(body).map_err(|error| {
        // An unknown key or name is quoted in it.
        let text: String = error.to_string().chars().take(MAX_COMMAND_TEXT).collect();
        CommandError::Form(text)
    })?;
    checked(raw).map_err(CommandError::Rule)
}

fn checked(raw: Raw) -> Result<Command, String> {
    match raw {
        Raw::Keepalive { value } => {
            text("value.source", &value.source)?;
            Ok(Command::Keepalive)
        }
        Raw::InputChanged { metadata } => input_changed(&metadata),
        Raw::Colormap { value } => Ok(Command::Colormap(value)),
        Raw::Caxis {
            value: Axis { min, max },
        } => {
            rule(min.is_finite() && max.is_finite(), || {
                "value.min and value.max must be finite".to_owned()
            })?;
            rule(max > min, || {
                format!("value.max ({max}) must be greater than value.min ({min})")
            })?;
            Ok(Command::Caxis { min, max })
        }
        Raw::Region { value } => region(&value),
        Raw::MonitorQueues { value } => {
            let queues = &value.queues_to_monitor;
            rule((1..=MAX_MONITORED).contains(&queues.len()), || {
                format!(
                    "value.queues_to_monitor must name from 1 to {MAX_MONITORED} queues, not {}",
                    queues.len()
                )
            })?;
            for queue in queues {
                text("value.queues_to_monitor", queue)?;
            }
            Ok(Command::MonitorQueues)
        }
    }
}

fn input_changed(metadata: &Metadata) -> Result<Command, String> {
    let positive = |name: &str, value: f64| {
        rule(value.is_finite() && value > 0.0, || {
            format!("metadata.{name} must be positive, not {value}")
        })
    };
    positive("prr", metadata.prr)?;
    rule(metadata.num_samples_per_trace > 0, || {
        format!(
            "metadata.num_samples_per_trace must be positive, not {}",
            metadata.num_samples_per_trace
        )
    })?;
    text("metadata.dtype", &metadata.dtype)?;
    if let Some(version) = &metadata.sw_version {
        text("metadata.sw_version", version)?;
    }
    for (name, value) in [
        ("dx", metadata.dx),
        ("fiber_length_meters", metadata.fiber_length_meters),
        ("number_of_channels", metadata.number_of_channels),
    ] {
        if let Some(value) = value {
            positive(name, value)?;
        }
    }
    let start = metadata.fiber_start_meters.unwrap_or_default();
    rule(start.is_finite() && start >= 0.0, || {
        format!("metadata.fiber_start_meters must not be negative, not {start}")
    })?;
    Ok(Command::InputChanged)
}

/// The signs are checked first, as the real server does.
fn region(Ends { start, end }: &Ends) -> Result<Command, String> {
    let positive = |name: &str, value: i64| {
        u32::try_from(value).map_err(|_| {
            if value < 0 {
                format!("value.{name} must not be negative, not {value}")
            } else {
                format!("value.{name} ({value}) is beyond every fibre")
            }
        })
    };
    let (start, end) = (positive("start", *start)?, positive("end", *end)?);
    rule(end > start, || {
        format!("value.end ({end}) must be greater than value.start ({start})")
    })?;
    Ok(Command::Region { start, end })
}

fn text(name: &str, text: &str) -> Result<(), String> {
    rule(
        !text.is_empty() && text.chars().count() <= MAX_COMMAND_TEXT,
        || format!("{name} must have from 1 to {MAX_COMMAND_TEXT} characters"),
    )
}

fn rule(holds: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(message()) }
}

impl Command {
    /// Its `type`, as messages spell it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Keepalive => "KeepaliveCommand",
            Self::InputChanged => "InputChangedCommand",
            Self::Colormap(_) => "ColormapCommand",
            Self::Caxis { .. } => "CaxisCommand",
            Self::Region { .. } => "RegionOfInterestCommand",
            Self::MonitorQueues => "MonitorQueuesCommand",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(body: &str) -> Command {
        read(body.as_bytes(), Some("application/json")).unwrap()
    }

    fn rejected(body: &str) -> String {
        read(body.as_bytes(), None).unwrap_err().to_string()
    }

    #[test]
    fn the_six_commands() {
        for (body, expect) in [
            (
                r#"{"type":"KeepaliveCommand","value":{"source":"focus"}}"#,
                Command::Keepalive,
            ),
            (
                r#"{"type":"InputChangedCommand","metadata":{"prr":2000,"num_samples_per_trace":9791,"dtype":"float32","dx":1.02}}"#,
                Command::InputChanged,
            ),
            (
                r#"{"value":"jet","type":"ColormapCommand"}"#,
                Command::Colormap(Colormap::Jet),
            ),
            (
                r#"{"type":"CaxisCommand","value":{"min":-1,"max":2.5}}"#,
                Command::Caxis {
                    min: -1.0,
                    max: 2.5,
                },
            ),
            (
                r#"{"type":"RegionOfInterestCommand","value":{"start":0,"end":5}}"#,
                Command::Region { start: 0, end: 5 },
            ),
            (
                r#"{"type":"MonitorQueuesCommand","value":{"queues_to_monitor":["a"]}}"#,
                Command::MonitorQueues,
            ),
        ] {
            let command = accepted(body);
            assert_eq!(command, expect);
            assert!(body.contains(command.name()));
        }
    }

    #[test]
    fn every_rule_has_a_reason() {
        for (body, reason) in [
            ("{", "not a command"),
            (r#"{"type":"Roi"}"#, "unknown variant `Roi`"),
            (r#"{"type":"KeepaliveCommand"}"#, "missing field `value`"),
            (
                r#"{"type":"KeepaliveCommand","value":{"source":""}}"#,
                "value.source must have",
            ),
            (
                r#"{"type":"KeepaliveCommand","value":{"source":"a","x":1}}"#,
                "unknown field `x`",
            ),
            (
                r#"{"type":"KeepaliveCommand","value":{"source":"a"},"x":1}"#,
                "unknown field `x`",
            ),
            (
                r#"{"type":"ColormapCommand","value":"pink"}"#,
                "unknown variant `pink`",
            ),
            (
                r#"{"type":"CaxisCommand","value":{"min":2,"max":2}}"#,
                "must be greater than",
            ),
            (
                r#"{"type":"CaxisCommand","value":{"min":0,"max":1e300}}"#,
                "must be finite",
            ),
            (
                r#"{"type":"RegionOfInterestCommand","value":{"start":-1,"end":-5}}"#,
                "value.start must not be negative",
            ),
            (
                r#"{"type":"RegionOfInterestCommand","value":{"start":1,"end":-5}}"#,
                "value.end must not",
            ),
            (
                r#"{"type":"RegionOfInterestCommand","value":{"start":5,"end":5}}"#,
                "must be greater",
            ),
            (
                r#"{"type":"RegionOfInterestCommand","value":{"start":1.5,"end":5}}"#,
                "not a command",
            ),
            (
                r#"{"type":"MonitorQueuesCommand","value":{"queues_to_monitor":[]}}"#,
                "from 1 to",
            ),
            (
                r#"{"type":"InputChangedCommand","metadata":{"prr":0,"num_samples_per_trace":1,"dtype":"f"}}"#,
                "metadata.prr must be positive",
            ),
            (
                r#"{"type":"InputChangedCommand","metadata":{"prr":1,"num_samples_per_trace":0,"dtype":"f"}}"#,
                "metadata.num_samples_per_trace must be positive",
            ),
        ] {
            let error = rejected(body);
            assert!(error.contains(reason), "{body}: {error}");
        }
        let keepalive = br#"{"type":"KeepaliveCommand","value":{"source":"focus"}}"#;
        let kind = read(keepalive, Some("text/plain")).unwrap_err();
        assert_eq!(kind, CommandError::ContentType("text/plain".to_owned()));
        let large = vec![b' '; MAX_COMMAND + 1];
        assert!(matches!(
            read(&large, None),
            Err(CommandError::TooLarge { .. })
        ));
    }
}
