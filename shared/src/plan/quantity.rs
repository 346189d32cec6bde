//! Durations, sizes and shares as plans write them.

use std::time::Duration;

/// The longest duration a plan may name.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Reads `250ms`, `1.5s`, `1m30s`.
///
/// # Errors
///
/// What is wrong, as the rest of a sentence.
pub fn duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    let mut nanos = 0_u128;
    if rest.is_empty() {
        return Err("is empty".to_owned());
    }
    while !rest.is_empty() {
        let (number, after) = split_number(rest).ok_or_else(|| "is not a duration".to_owned())?;
        let unit_end = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let unit: u128 = match &after[..unit_end] {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => return Err("has no unit".to_owned()),
            other => return Err(format!("has an unknown unit `{other}`")),
        };
        nanos = nanos
            .saturating_add(scaled(number, unit).ok_or_else(|| "is not a duration".to_owned())?);
        rest = &after[unit_end..];
    }
    let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
    let duration = Duration::from_nanos(nanos);
    if duration > LONGEST {
        Err("is longer than a year".to_owned())
    } else {
        Ok(duration)
    }
}

/// Reads `4MiB`, `10KB`, `512`.
///
/// # Errors
///
/// What is wrong, as the rest of a sentence.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_number(text.trim()).ok_or_else(|| "is not a size".to_owned())?;
    let unit: u128 = match unit.trim_start() {
        "" | "B" => 1,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => return Err(format!("has an unknown unit `{other}`")),
    };
    let bytes = scaled(number, unit).and_then(|bytes| u64::try_from(bytes).ok());
    bytes.ok_or_else(|| "is not a size".to_owned())
}

/// Reads `1%` or `0.01`.
///
/// # Errors
///
/// What is wrong, as the rest of a sentence.
pub fn share(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let (number, scale) = text
        .strip_suffix('%')
        .map_or((text, 1.0), |number| (number, 100.0));
    let value: f64 = number
        .trim_end()
        .parse()
        .map_err(|_| "is not a share".to_owned())?;
    let value = value / scale;
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err("is not between 0% and 100%".to_owned())
    }
}

/// Reads `20/s`, `0.5/m`, `1200/h` into millionths per hour.
///
/// # Errors
///
/// What is wrong, as the rest of a sentence.
pub fn rate(text: &str) -> Result<u64, String> {
    const MOST_PER_SECOND: u64 = 1_000_000;
    let (number, unit) = split_number(text.trim()).ok_or_else(|| "is not a rate".to_owned())?;
    let unit: u128 = match unit.trim_start().strip_prefix('/').map(str::trim) {
        Some("s") => 3_600_000_000,
        Some("m") => 60_000_000,
        Some("h") => 1_000_000,
        Some(other) => return Err(format!("has an unknown unit `{other}`")),
        None => return Err("says not per which time".to_owned()),
    };
    let rate = scaled(number, unit).ok_or_else(|| "is not a rate".to_owned())?;
    u64::try_from(rate)
        .ok()
        .filter(|rate| *rate <= MOST_PER_SECOND * 3_600_000_000)
        .ok_or_else(|| format!("is more than {MOST_PER_SECOND}/s"))
}

/// Splits `1.5ms` into `1.5` and `ms`.
pub(super) fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    number
        .starts_with(|c: char| c.is_ascii_digit())
        .then_some((number, rest))
}

/// A decimal number times a unit, exactly, what is below one cut off.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = &fraction[..fraction.len().min(18)];
    let mut value = whole.parse::<u128>().ok()?.checked_mul(unit)?;
    if !fraction.is_empty() {
        let digits = u32::try_from(fraction.len()).ok()?;
        value = value
            .checked_add(fraction.parse::<u128>().ok()?.checked_mul(unit)? / 10_u128.pow(digits))?;
    }
    Some(value)
}

/// A duration as plans write it: the largest unit that keeps it exact.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let units = [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
    ];
    let fitting = units
        .iter()
        .find(|(_, unit)| nanos > 0 && nanos.is_multiple_of(*unit));
    fitting.map_or_else(
        || {
            if nanos == 0 {
                "0s".to_owned()
            } else {
                format!("{nanos}ns")
            }
        },
        |(name, unit)| format!("{}{name}", nanos / unit),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{duration, rate, share, show_duration, size};

    #[test]
    fn durations_sizes_and_shares_are_exact() {
        for (text, expected) in [
            ("250ms", Ok(Duration::from_millis(250))),
            ("1.5s", Ok(Duration::from_millis(1500))),
            ("1m30s", Ok(Duration::from_secs(90))),
            ("20us", Ok(Duration::from_micros(20))),
            ("0s", Ok(Duration::ZERO)),
            ("5", Err("has no unit")),
            ("5 s", Err("has no unit")),
            ("5d", Err("has an unknown unit `d`")),
            ("", Err("is empty")),
            ("-1s", Err("is not a duration")),
            ("99999999999999999999999h", Err("is longer than a year")),
            ("1..5s", Err("is not a duration")),
        ] {
            assert_eq!(duration(text), expected.map_err(str::to_owned), "{text}");
        }
        assert_eq!(size("50MiB"), Ok(50 << 20));
        assert_eq!(size("1.5KB"), Ok(1500));
        assert_eq!(size("12"), Ok(12));
        assert_eq!(size("12XB"), Err("has an unknown unit `XB`".to_owned()));
        for (text, expected) in [
            ("20/s", Ok(72_000_000_000)),
            ("1200/m", Ok(72_000_000_000)),
            ("0.5/s", Ok(1_800_000_000)),
            ("3 / h", Ok(3_000_000)),
            ("0/s", Ok(0)),
            ("20", Err("says not per which time")),
            ("20/d", Err("has an unknown unit `d`")),
            ("x/s", Err("is not a rate")),
            ("1000001/s", Err("is more than 1000000/s")),
        ] {
            assert_eq!(rate(text), expected.map_err(str::to_owned), "{text}");
        }
        assert_eq!(share("1%"), Ok(0.01));
        assert_eq!(share("0.5"), Ok(0.5));
        assert_eq!(share("150%"), Err("is not between 0% and 100%".to_owned()));
        assert_eq!(show_duration(Duration::from_secs(90)), "90s");
        assert_eq!(show_duration(Duration::from_millis(1500)), "1500ms");
    }
}
