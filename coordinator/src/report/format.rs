//! Numbers as people read them: the same digits in the terminal, in HTML and in JUnit.
use super::model::Unit;

/// What stands where nothing was measured.
pub const NOTHING: &str = "–";

/// A whole number with separated thousands: `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number that need not be whole, with three significant digits below one thousand.
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() {
        NOTHING.to_owned()
    } else if magnitude >= 1e15 {
        format!("{value:e}")
    } else if value.fract() == 0.0 || magnitude >= 1_000.0 {
        let sign = if value.round() < 0.0 { "-" } else { "" };
        // Exact: `{:.0}` of a number below 1e15 is at most fifteen digits.
        let whole = format!("{magnitude:.0}").parse().unwrap_or(u64::MAX);
        format!("{sign}{}", count(whole))
    } else {
        significant(value)
    }
}

/// A duration in seconds, in the unit that suits it: `250 µs`, `12.3 ms`, `1.50 s`, `2 min 05 s`, `1 h 02 min`.
pub fn seconds(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() {
        NOTHING.to_owned()
    } else if magnitude == 0.0 {
        "0 s".to_owned()
    } else if magnitude < 999.5e-6 {
        format!("{} µs", significant(value * 1e6))
    } else if magnitude < 999.5e-3 {
        format!("{} ms", significant(value * 1e3))
    } else if magnitude < 119.95 {
        format!("{} s", significant(value))
    } else {
        let sign = if value < 0.0 { "-" } else { "" };
        let whole: u64 = format!("{magnitude:.0}").parse().unwrap_or(u64::MAX);
        if whole < 7_200 {
            format!("{sign}{} min {:02} s", whole / 60, whole % 60)
        } else {
            format!(
                "{sign}{} h {:02} min",
                count(whole / 3_600),
                whole % 3_600 / 60
            )
        }
    }
}

/// A number of bytes: `0 B`, `1.50 KiB`, `12.3 GiB`.
pub fn bytes(value: f64) -> String {
    if !value.is_finite() {
        return NOTHING.to_owned();
    }
    let mut scaled = value;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if scaled.abs() < 1_023.5 {
            return format!("{} {unit}", number(scaled));
        }
        scaled /= 1_024.0;
    }
    format!("{} PiB", number(scaled))
}

/// A share from 0 to 1: `99.8 %`. Never rounds something to nothing, nor a part to the whole.
pub fn percent(ratio: f64) -> String {
    if !ratio.is_finite() {
        return NOTHING.to_owned();
    }
    let value = ratio * 100.0;
    if value != 0.0 && value.abs() < 0.001 {
        return format!("{value:.1e} %");
    }
    if value < 100.0 && value > 99.9 {
        // Cut instead of rounded: 99.9999 % is not 100 %.
        return format!("{:.3} %", (value * 1_000.0).floor() / 1_000.0);
    }
    format!("{} %", significant(value))
}

/// `part` of `whole` as a share; nothing of nothing is nothing.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        NOTHING.to_owned()
    } else {
        percent(as_f64(part) / as_f64(whole))
    }
}

/// A value of a threshold in its unit.
pub fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Seconds => seconds(value),
        Unit::Ratio => percent(value),
        Unit::Bytes => bytes(value),
        Unit::Count => number(value),
        Unit::PerSecond => format!("{} /s", number(value)),
    }
}

/// A value that may be absent.
pub fn optional(value: Option<f64>, render: fn(f64) -> String) -> String {
    value.map_or_else(|| NOTHING.to_owned(), render)
}

/// `1 agent`, `2 agents`.
pub fn plural(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

/// `text` with at most `limit` characters; the middle gives way, because names differ at their ends.
pub fn shorten(text: &str, limit: usize) -> String {
    let length = text.chars().count();
    if length <= limit || limit < 3 {
        return text.to_owned();
    }
    let head = limit / 2;
    let tail = limit - head - 1;
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(length - tail).collect();
    format!("{start}…{end}")
}

/// A count for drawing and shares, where the 53rd bit does not matter.
#[expect(clippy::cast_precision_loss, reason = "for display only")]
pub fn as_f64(value: u64) -> f64 {
    value as f64
}

/// Three significant digits, without zeros that say nothing.
fn significant(value: f64) -> String {
    let magnitude = value.abs();
    let text = if magnitude >= 99.95 {
        return format!("{value:.0}");
    } else if magnitude >= 9.995 {
        format!("{value:.1}")
    } else if magnitude >= 0.9995 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The offset of a clock with its bounds, in seconds: `120 µs ± 340 µs`, or that nobody knows it.
pub fn clock(offset: Option<f64>, uncertainty: Option<f64>) -> String {
    match (offset, uncertainty) {
        (Some(offset), Some(by)) => format!("{} ± {}", seconds(offset), seconds(by)),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, number, percent, seconds, shorten};

    #[track_caller]
    fn check(render: fn(f64) -> String, cases: &[(f64, &str)]) {
        for (value, expect) in cases {
            assert_eq!(&render(*value), expect, "of {value:?}");
        }
    }

    #[test]
    fn counts_have_separated_thousands() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ];
        for (value, expect) in cases {
            assert_eq!(count(value), expect);
        }
    }

    #[test]
    fn durations_choose_their_unit() {
        check(
            seconds,
            &[
                (0.0, "0 s"),
                (0.000_000_5, "0.5 µs"),
                (0.000_25, "250 µs"),
                (0.000_999_6, "1 ms"),
                (0.0123, "12.3 ms"),
                (0.9996, "1 s"),
                (1.5, "1.5 s"),
                (60.0, "60 s"),
                (119.99, "2 min 00 s"),
                (125.2, "2 min 05 s"),
                (7_325.0, "2 h 02 min"),
                (-0.002, "-2 ms"),
                (f64::NAN, "–"),
            ],
        );
    }

    #[test]
    fn shares_never_round_a_part_to_the_whole() {
        check(
            percent,
            &[
                (0.0, "0 %"),
                (1.0, "100 %"),
                (0.999_999, "99.999 %"),
                (0.998, "99.8 %"),
                (0.000_001, "1.0e-4 %"),
                (0.05, "5 %"),
            ],
        );
    }

    #[test]
    fn sizes_and_numbers() {
        check(
            bytes,
            &[
                (0.0, "0 B"),
                (1_023.0, "1,023 B"),
                (1_536.0, "1.5 KiB"),
                (5e9, "4.66 GiB"),
            ],
        );
        check(
            number,
            &[
                (3.0, "3"),
                (3.5, "3.5"),
                (12_345.6, "12,346"),
                (0.25, "0.25"),
                (-4.0, "-4"),
            ],
        );
    }

    #[test]
    fn long_names_lose_their_middle() {
        assert_eq!(shorten("short", 10), "short");
        assert_eq!(shorten("abcdefghijklmnop", 7), "abc…nop");
        assert_eq!(shorten("ééééééééé", 5).chars().count(), 5);
    }
}
