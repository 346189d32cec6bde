//! What a well-formed configure may ask for: every rule that was wanted, or only what was observed to be enforced.

use super::refusal::Refusal;
use super::schema::{Frequencies, RawConfigure, RawView, missing};
use crate::behavior::Kind as Behave;
use crate::grid::Grid;
use crate::limits::MAX_ROW_BYTES;
use crate::profile::{Config, Validation};
use crate::view::{Fibre, Kind, Request, Source, View};

/// Longest time axis: a day, the longest official option.
const MAX_DURATION: i64 = 86_400;
/// Shortest `lines_dt`: below a millisecond, timestamps could not tell rows apart.
const MAX_LINES_PER_SECOND: i64 = 1_000;
const MAX_HEIGHT: i64 = 20_000;
/// The client's default, for what a request leaves out.
const DEFAULT_DURATION: i64 = 30;
const DEFAULT_NFFT: i64 = 1_024;
const DEFAULT_HEIGHT: i64 = 200;
const MAX_FREQUENCY: i64 = 1_000;
const NFFT_LEAST: i64 = 32;
const NFFT_MULTI: i64 = 2_048;
const NFFT_SINGLE: i64 = 65_536;

/// Applies the rules that the configuration asks for. `now` is in epoch seconds.
pub(crate) fn apply(
    raw: &RawConfigure,
    config: &Config,
    now: u64,
    slips: &[Behave],
) -> Result<Request, Refusal> {
    let kind = match raw.view {
        RawView::Served(kind) => kind,
        RawView::Heatmap => return Err(bad("view_type 3 (heatmap) is not supported")),
    };
    let raw = match config.validation {
        Validation::Strict => slipping(raw, kind, config, now, slips)?,
        Validation::Lenient => {
            not_forgotten(raw)?;
            lenient(raw, kind, config)
        }
    };
    let source = source(&raw)?;
    let request = request(&raw, kind, source, config)?;
    let bytes = View::row_bytes(&request, fibre(config, source));
    ensure(bytes <= MAX_ROW_BYTES, || {
        "channels and frequencyRange make rows that are too large".to_owned()
    })?;
    ensure(bytes > 0, || {
        "frequencyRange holds no frequency of this nfftSelection: rows would be empty".to_owned()
    })?;
    Ok(request)
}

/// Strict, but for the behaviors that let something slip.
fn slipping(
    raw: &RawConfigure,
    kind: Kind,
    config: &Config,
    now: u64,
    slips: &[Behave],
) -> Result<RawConfigure, Refusal> {
    if slips.contains(&Behave::Null500) && raw.frequencies == Frequencies::Null {
        return Err(null_frequencies());
    }
    if slips.contains(&Behave::BareWaterfall500) && kind == Kind::Waterfall {
        not_forgotten(raw)?;
    }
    if kind == Kind::SingleChannel
        && raw.channels.0 != raw.channels.1
        && slips.contains(&Behave::ManyAsSingle)
    {
        return Ok(lenient(raw, kind, config));
    }
    match strict(raw, kind, config, now) {
        // More than one channel in a single-channel view is another behavior.
        Err(Refusal::Meaning(_))
            if slips.contains(&Behave::AcceptAll) && kind != Kind::SingleChannel =>
        {
            Ok(lenient(raw, kind, config))
        }
        checked => checked.map(|()| raw.clone()),
    }
}

/// What of the configuration a view depends on.
pub(crate) fn fibre(config: &Config, source: Source) -> Fibre {
    let decimation = match source {
        Source::Live => config.live_decimation,
        Source::Historic { .. } => config.recorded_decimation,
    };
    Fibre {
        prr: config.prr,
        decimation,
        streams: config.streams,
    }
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::Meaning(message.into())
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(bad(message())) }
}

fn strict(raw: &RawConfigure, kind: Kind, config: &Config, now: u64) -> Result<(), Refusal> {
    ensure(raw.height > 0, || {
        format!("displayInfo.height must be positive, not {}", raw.height)
    })?;
    ensure(raw.height <= MAX_HEIGHT, || {
        format!("displayInfo.height must be at most {MAX_HEIGHT}")
    })?;
    strict_channels(raw, kind, config)?;
    strict_time_axis(raw, kind)?;
    strict_nfft(raw, kind)?;
    strict_frequencies(raw, kind, config)?;
    strict_times(raw, config, now)
}

fn strict_channels(raw: &RawConfigure, kind: Kind, config: &Config) -> Result<(), Refusal> {
    let (min, max) = raw.channels;
    let highest = i64::from(config.highest_channel);
    ensure(min >= 1, || {
        format!("channels.min must be at least 1, not {min}")
    })?;
    ensure(max >= min, || {
        format!("channels.max ({max}) must not be less than channels.min ({min})")
    })?;
    ensure(max <= highest, || {
        format!("channels.max ({max}) exceeds the highest channel ({highest})")
    })?;
    let limit = i64::from(config.max_channels);
    ensure(max - min < limit, || {
        format!(
            "at most {limit} channels may be shown, not {}",
            max - min + 1
        )
    })?;
    ensure(kind != Kind::SingleChannel || min == max, || {
        format!(
            "view_type 1 (single channel) requires channels.min == channels.max, not {min} and {max}"
        )
    })
}

fn strict_time_axis(raw: &RawConfigure, kind: Kind) -> Result<(), Refusal> {
    let duration = match (kind, raw.duration) {
        (Kind::Waterfall, None) => return Ok(()),
        (Kind::Waterfall, Some(_)) => {
            return Err(bad(
                "displayTimeAxisDuration must be absent for a waterfall",
            ));
        }
        (Kind::MultiChannel | Kind::SingleChannel, None) => {
            return Err(missing("displayTimeAxisDuration"));
        }
        (Kind::MultiChannel | Kind::SingleChannel, Some(duration)) => duration,
    };
    ensure((1..=MAX_DURATION).contains(&duration), || {
        format!("displayTimeAxisDuration must be from 1 to {MAX_DURATION} seconds, not {duration}")
    })?;
    ensure(raw.height <= duration * MAX_LINES_PER_SECOND, || {
        format!(
            "displayInfo.height must be at most {MAX_LINES_PER_SECOND} lines per second of displayTimeAxisDuration"
        )
    })
}

fn strict_nfft(raw: &RawConfigure, kind: Kind) -> Result<(), Refusal> {
    let Some(nfft) = raw.nfft else { return Ok(()) };
    let most = match kind {
        Kind::Waterfall => {
            return ensure(nfft == 1, || {
                format!("nfftSelection must be 1 for a waterfall, not {nfft}")
            });
        }
        Kind::MultiChannel => NFFT_MULTI,
        Kind::SingleChannel => NFFT_SINGLE,
    };
    let power_of_two = nfft > 0 && nfft.count_ones() == 1;
    ensure(power_of_two && (NFFT_LEAST..=most).contains(&nfft), || {
        format!("nfftSelection must be a power of two from {NFFT_LEAST} to {most}, not {nfft}")
    })
}

fn strict_frequencies(raw: &RawConfigure, kind: Kind, config: &Config) -> Result<(), Refusal> {
    let Frequencies::Range(min, max) = raw.frequencies else {
        return Ok(());
    };
    ensure(kind != Kind::Waterfall, || {
        "frequencyRange must be absent for a waterfall".to_owned()
    })?;
    ensure(min >= 0, || {
        format!("frequencyRange.min must not be negative, not {min}")
    })?;
    ensure(max > min, || {
        format!("frequencyRange.max ({max}) must be greater than frequencyRange.min ({min})")
    })?;
    let nyquist = i64::from(config.prr) / 2;
    ensure(max <= MAX_FREQUENCY.min(nyquist), || {
        format!(
            "frequencyRange.max must be at most {} Hz, not {max}",
            MAX_FREQUENCY.min(nyquist)
        )
    })
}

fn strict_times(raw: &RawConfigure, config: &Config, now: u64) -> Result<(), Refusal> {
    let (Some(start), Some(end)) = (raw.start, raw.end) else {
        return ensure(raw.start.is_none() && raw.end.is_none(), || {
            "start_time and end_time must both be set (historic) or both be null (live)".to_owned()
        });
    };
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    ensure(start >= 0, || {
        format!("start_time must not be negative, not {start}")
    })?;
    ensure(end > start, || {
        format!("end_time ({end}) must be after start_time ({start})")
    })?;
    ensure(end <= now, || {
        format!("end_time ({end}) lies in the future")
    })?;
    let duration = raw
        .duration
        .unwrap_or_else(|| i64::from(config.waterfall_duration));
    let limit = duration.saturating_mul(i64::from(config.max_windows));
    ensure(end - start <= limit, || {
        format!(
            "the time range must not exceed {} windows of {duration} s, which are {limit} s",
            config.max_windows
        )
    })
}

/// What production forgot: optional fields.
fn not_forgotten(raw: &RawConfigure) -> Result<(), Refusal> {
    if raw.frequencies == Frequencies::Null {
        return Err(null_frequencies());
    }
    if raw.duration.is_none() || raw.nfft.is_none() || raw.frequencies == Frequencies::Absent {
        return Err(Refusal::Internal("Error parsing configuration".to_owned()));
    }
    Ok(())
}

fn null_frequencies() -> Refusal {
    Refusal::Internal("'NoneType' object has no attribute 'min'".to_owned())
}

/// What production did: it adjusts what it can.
fn lenient(raw: &RawConfigure, kind: Kind, config: &Config) -> RawConfigure {
    let duration = or_default(raw.duration, DEFAULT_DURATION).min(MAX_DURATION);
    let height = or_default(Some(raw.height), DEFAULT_HEIGHT)
        .min(MAX_HEIGHT)
        .min(duration * MAX_LINES_PER_SECOND);
    let highest = i64::from(config.highest_channel);
    let (a, b) = raw.channels;
    let channels = (a.min(b).clamp(1, highest), a.max(b).clamp(1, highest));
    let nfft = or_default(raw.nfft, DEFAULT_NFFT).min(NFFT_SINGLE);
    let nfft = if kind == Kind::Waterfall {
        1
    } else {
        power_of_two(nfft)
    };
    let frequencies = match (kind, raw.frequencies) {
        (Kind::Waterfall, _) | (_, Frequencies::Absent | Frequencies::Null) => Frequencies::Absent,
        (Kind::MultiChannel | Kind::SingleChannel, Frequencies::Range(a, b)) => {
            let nyquist = i64::from(config.prr) / 2;
            let low = a.min(b).clamp(0, nyquist - 1);
            Frequencies::Range(low, a.max(b).clamp(low + 1, nyquist))
        }
    };
    let time = |value: Option<i64>| value.map(|value| value.max(0));
    RawConfigure {
        duration: Some(duration),
        nfft: Some(nfft),
        height,
        channels,
        frequencies,
        start: time(raw.start),
        end: time(raw.end),
        view: raw.view,
    }
}

fn or_default(value: Option<i64>, default: i64) -> i64 {
    value.filter(|value| *value > 0).unwrap_or(default)
}

fn power_of_two(value: i64) -> i64 {
    u32::try_from(value)
        .ok()
        .and_then(u32::checked_next_power_of_two)
        .map_or(DEFAULT_NFFT, i64::from)
}

fn source(raw: &RawConfigure) -> Result<Source, Refusal> {
    match (raw.start, raw.end) {
        (None, None) => Ok(Source::Live),
        (Some(start), Some(end)) if start < end => Ok(Source::Historic {
            start: unsigned(start),
            end: unsigned(end),
        }),
        (Some(_), Some(_)) => Err(bad("end_time must be after start_time")),
        (Some(_), None) | (None, Some(_)) => Err(bad(
            "start_time and end_time must both be set or both be null",
        )),
    }
}

fn request(
    raw: &RawConfigure,
    kind: Kind,
    source: Source,
    config: &Config,
) -> Result<Request, Refusal> {
    let default_duration = i64::from(config.waterfall_duration);
    let duration = narrow(raw.duration.unwrap_or(default_duration));
    let height = narrow(raw.height);
    let mapped = (narrow(raw.channels.0), narrow(raw.channels.1));
    let nyquist = config.prr / 2;
    let frequencies = match (kind, raw.frequencies) {
        (Kind::Waterfall, _) => None,
        (Kind::MultiChannel | Kind::SingleChannel, Frequencies::Range(min, max)) => {
            Some((narrow(min), narrow(max)))
        }
        (Kind::MultiChannel | Kind::SingleChannel, Frequencies::Absent | Frequencies::Null) => {
            Some((0, narrow(MAX_FREQUENCY).min(nyquist)))
        }
    };
    Ok(Request {
        kind,
        // Lenient validation lets a single-channel view name many: it shows the first.
        channels: if kind == Kind::SingleChannel {
            (mapped.0, mapped.0)
        } else {
            mapped
        },
        mapped,
        nfft: if kind == Kind::Waterfall {
            1
        } else {
            narrow(raw.nfft.unwrap_or(DEFAULT_NFFT))
        },
        frequencies,
        grid: Grid::new(duration.into(), height.into())
            .ok_or_else(|| bad("lines_dt must be positive"))?,
        duration,
        height,
        source,
    })
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn narrow(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(0)
}
