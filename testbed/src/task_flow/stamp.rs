//! Times as the task flow writes them: `yymmddHHMMSS`, in UTC.

/// Seconds since the epoch; none if it is no such time.
pub(super) fn parse(text: &str) -> Option<u64> {
    if text.len() != 12 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |at: usize| text[at..at + 2].parse::<u64>().ok();
    let (year, month, day) = (2_000 + part(0)?, part(2)?, part(4)?);
    let (hour, minute, second) = (part(6)?, part(8)?, part(10)?);
    let of_calendar = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    let of_clock = hour < 24 && minute < 60 && second < 60;
    let days = days_before(year, month) + day.checked_sub(1)?;
    (of_calendar && of_clock).then_some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Days from the epoch to the first of a month.
fn days_before(year: u64, month: u64) -> u64 {
    let years: u64 = (1970..year)
        .map(|year| 365 + u64::from(is_leap(year)))
        .sum();
    let months: u64 = (1..month).map(|month| days_in(year, month)).sum();
    years + months
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_times() {
        for (text, expect) in [
            ("231114221320", Some(1_700_000_000)),
            ("000101000000", Some(946_684_800)),
            ("240229235959", Some(1_709_251_199)),
            ("230229000000", None),
            ("231301000000", None),
            ("231100000000", None),
            ("231114240000", None),
            ("2311142213", None),
            ("23111422132x", None),
        ] {
            assert_eq!(parse(text), expect, "{text}");
        }
    }
}
