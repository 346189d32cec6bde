//! The body of `POST /config/{task_id}`: read, checked, and turned into a view of one stream.

use serde_json::Value;

use super::stamp;
use crate::grid::Grid;
use crate::limits::MAX_ROW_BYTES;
use crate::profile::Config;
use crate::view::{Fibre, Kind, Request, Source, View};

/// The most rows that one poll may ask for.
pub(crate) const ROWS_PER_POLL: u64 = 1_000;
const MAX_TASK_ID: usize = 256;
const MAX_NFFT: u64 = 65_536;
const MAX_HEIGHT: u64 = 20_000;

/// Why a task is not configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// The body is not one that the flow knows.
    Body(String),
}

/// Whether a text may name a task.
pub(crate) fn is_task_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=MAX_TASK_ID).contains(&text.len()) && text.bytes().all(allowed)
}

/// Reads a body.
pub(crate) fn read(body: &[u8], config: &Config) -> Result<View, Unfit> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| Unfit::Body(format!("the body is not JSON: {error}")))?;
    let duration_ms = milliseconds(&body)?;
    let nfft = positive(&body, "/nfftSelection", MAX_NFFT)?;
    let height = positive(&body, "/canvasInfo/height", MAX_HEIGHT)?;
    let sensors = range(&body, "/sensors")?;
    let frequencies = range(&body, "/frequencyRange")?;
    let source = source(&body)?;
    let within = |holds: bool, message: &str| {
        if holds {
            Ok(())
        } else {
            Err(Unfit::Body(message.to_owned()))
        }
    };
    within(
        sensors.1 < config.highest_channel,
        "sensors.max is beyond the fibre",
    )?;
    within(
        frequencies.1 <= config.prr / 2,
        "frequencyRange.max is above half the PRR",
    )?;
    within(
        duration_ms >= u64::from(height),
        "canvasInfo.height makes more than 1000 lines a second",
    )?;
    let grid = Grid::new(duration_ms, u64::from(height) * 1_000)
        .ok_or_else(|| Unfit::Body("lines_dt must be positive".to_owned()))?;
    // Sensors count from 0, channels from 1.
    let channels = (sensors.0 + 1, sensors.1 + 1);
    let request = Request {
        kind: Kind::MultiChannel,
        channels,
        mapped: channels,
        nfft,
        frequencies: Some(frequencies),
        grid,
        duration: u32::try_from(duration_ms / 1_000).unwrap_or(u32::MAX),
        height,
        source,
    };
    let fibre = Fibre {
        prr: config.prr,
        decimation: match source {
            Source::Live => config.live_decimation,
            Source::Historic { .. } => config.recorded_decimation,
        },
        streams: 1,
    };
    let bytes = View::row_bytes(&request, fibre);
    within(
        bytes > 0 && bytes <= MAX_ROW_BYTES,
        "sensors and frequencyRange make rows that are empty or too large",
    )?;
    Ok(View::new(request, fibre))
}

fn milliseconds(body: &Value) -> Result<u64, Unfit> {
    let seconds = body["displayTimeAxisDuration"].as_f64();
    let milliseconds = seconds
        .filter(|seconds| *seconds > 0.0 && *seconds <= 86_400.0)
        .and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok())
        .and_then(|duration| u64::try_from(duration.as_millis()).ok());
    milliseconds.ok_or_else(|| {
        Unfit::Body("displayTimeAxisDuration must be positive, and a day at most".to_owned())
    })
}

fn positive(body: &Value, pointer: &str, most: u64) -> Result<u32, Unfit> {
    let number = body.pointer(pointer).and_then(Value::as_u64);
    number
        .filter(|number| (1..=most).contains(number))
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| {
            Unfit::Body(format!(
                "{} must be from 1 to {most}",
                pointer.replace('/', " ").trim()
            ))
        })
}

/// A range whose end is greater than its start.
fn range(body: &Value, pointer: &str) -> Result<(u32, u32), Unfit> {
    let end = |name: &str| {
        let number = body.pointer(&format!("{pointer}/{name}"))?.as_u64()?;
        u32::try_from(number).ok()
    };
    end("min")
        .zip(end("max"))
        .filter(|(min, max)| max > min)
        .ok_or_else(|| {
            let name = pointer.trim_start_matches('/');
            Unfit::Body(format!("{name} must have a min from 0 and a greater max"))
        })
}

fn source(body: &Value) -> Result<Source, Unfit> {
    let time = |name: &str| match &body[name] {
        Value::Null => Ok(None),
        value => value
            .as_str()
            .and_then(stamp::parse)
            .map(Some)
            .ok_or_else(|| Unfit::Body(format!("{name} must be null or a time as yymmddHHMMSS"))),
    };
    match (time("start_time")?, time("end_time")?) {
        (None, None) => Ok(Source::Live),
        (Some(start), Some(end)) if start < end => Ok(Source::Historic { start, end }),
        _ => Err(Unfit::Body(
            "start_time and end_time must both be null, or in order".to_owned(),
        )),
    }
}
