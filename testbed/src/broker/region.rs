//! Which change of the region of interest is safe: size and centre may each move by half of the present size.

/// A change of at most this share of the present size is safe, in percent.
const MAX_CHANGE_PERCENT: u64 = 50;

/// Why a region is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RegionError {
    #[error("channels {start} to {end} are not within the fibre's 1 to {highest}")]
    Beyond { start: u32, end: u32, highest: u32 },
    #[error(
        "a job of {streams} streams shows at least as many channels and at most {most}, not {channels}"
    )]
    Size {
        channels: u32,
        streams: usize,
        most: u32,
    },
    #[error("its rows would have {bytes} bytes, more than {most}")]
    Rows { bytes: u64, most: u64 },
    #[error("unsafe: {from} channels become {to}, a change of more than {MAX_CHANGE_PERCENT} %")]
    SizeChange { from: u32, to: u32 },
    #[error(
        "unsafe: the centre moves by {shift} channels, more than {MAX_CHANGE_PERCENT} % of {of}"
    )]
    CentreShift { shift: String, of: u32 },
}

/// Channels of a range, both ends included.
pub(crate) fn size((start, end): (u32, u32)) -> u32 {
    end - start + 1
}

/// Checks that a change is safe.
///
/// # Errors
///
/// It is not, and says by what.
pub(crate) fn check_change(from: (u32, u32), to: (u32, u32)) -> Result<(), RegionError> {
    let (before, after) = (size(from), size(to));
    let allowed = u64::from(before) * MAX_CHANGE_PERCENT;
    if u64::from(before.abs_diff(after)) * 100 > allowed {
        return Err(RegionError::SizeChange {
            from: before,
            to: after,
        });
    }
    let twice_centre = |(start, end): (u32, u32)| u64::from(start) + u64::from(end);
    let twice_shift = twice_centre(from).abs_diff(twice_centre(to));
    if twice_shift * 100 > 2 * allowed {
        let half = if twice_shift % 2 == 1 { ".5" } else { "" };
        return Err(RegionError::CentreShift {
            shift: format!("{}{half}", twice_shift / 2),
            of: before,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_present_size_is_the_limit() {
        let from = (11, 110);
        for to in [(11, 160), (11, 60), (61, 160), (36, 85), (11, 110)] {
            assert_eq!(check_change(from, to), Ok(()), "{to:?}");
        }
        let grown = RegionError::SizeChange { from: 100, to: 151 };
        assert_eq!(check_change(from, (11, 161)), Err(grown));
        let shrunk = RegionError::SizeChange { from: 100, to: 49 };
        assert_eq!(check_change(from, (11, 59)), Err(shrunk));
        let shifted = RegionError::CentreShift {
            shift: "51".to_owned(),
            of: 100,
        };
        assert_eq!(check_change(from, (62, 161)), Err(shifted));
        let by_half = RegionError::CentreShift {
            shift: "50.5".to_owned(),
            of: 100,
        };
        assert_eq!(check_change(from, (61, 161)), Err(by_half));
    }

    #[test]
    fn one_channel_has_no_safe_change() {
        assert!(check_change((7, 7), (7, 8)).is_err());
        assert!(check_change((7, 7), (8, 8)).is_err());
    }
}
