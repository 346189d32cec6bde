//! Values that ramp and hold: virtual users, or arrivals per time.
//!
//! A profile is a list of pieces, each linear. Levels of users are whole numbers and times are exact. Arrivals are areas under a
//! rate: areas are exact integers, so that all agents agree on how many arrivals there are and which piece each belongs to, and
//! only within a slope a time is a rounded root, the same on every machine because IEEE 754 says so.

use std::time::Duration;

/// One piece of a profile: from one value to another, linearly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) over: Duration,
}

/// How many virtual users are active, over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Levels(Vec<Piece>);

impl Levels {
    pub(super) fn new(pieces: Vec<Piece>) -> Self {
        Self(pieces)
    }

    /// The most users at once.
    pub(super) fn most(&self) -> u64 {
        let levels = self.0.iter().flat_map(|piece| [piece.from, piece.to]);
        levels.max().unwrap_or_default()
    }

    /// How long it lasts.
    pub(super) fn length(&self) -> Duration {
        self.0.iter().map(|piece| piece.over).sum()
    }

    /// The earliest time from `at` on at which more than `user` users are active; none: never again.
    pub(super) fn above(&self, user: u64, at: Duration) -> Option<Duration> {
        let mut begin = Duration::ZERO;
        for piece in &self.0 {
            let end = begin + piece.over;
            if at < end
                && let Some((from, to)) = piece.above(user)
            {
                let at = at.max(begin + from);
                if at < begin + to {
                    return Some(at);
                }
            }
            begin = end;
        }
        None
    }
}

impl Piece {
    /// Between which times of the piece its level is above `user`, the second one excluded.
    fn above(&self, user: u64) -> Option<(Duration, Duration)> {
        let (from, to) = (self.from, self.to);
        // Rising, a user comes when the level is its number; falling, it goes then.
        let crossing = |distance: u64, height: u64| {
            let nanos = self.over.as_nanos() * u128::from(distance) / u128::from(height);
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        match (from > user, to > user) {
            (true, true) => Some((Duration::ZERO, self.over)),
            (false, true) => Some((crossing(user - from, to - from), self.over)),
            (true, false) => Some((Duration::ZERO, crossing(from - user, from - to))),
            (false, false) => None,
        }
    }
}

/// Twice the area of one arrival: rates are in millionths per hour, which is exact for what people write, per second, minute or
/// hour, and times are in nanoseconds.
const ARRIVAL: u128 = 2 * 1_000_000 * 3_600_000_000_000;

/// Arrivals per time, over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rates {
    pieces: Vec<Piece>,
    /// Twice the area before each piece, and of all.
    areas: Vec<u128>,
}

impl Rates {
    pub(super) fn new(pieces: Vec<Piece>) -> Self {
        let mut area = 0;
        let mut areas = vec![0];
        for piece in &pieces {
            area += (u128::from(piece.from) + u128::from(piece.to)) * piece.over.as_nanos();
            areas.push(area);
        }
        Self { pieces, areas }
    }

    /// How long it lasts.
    pub(super) fn length(&self) -> Duration {
        self.pieces.iter().map(|piece| piece.over).sum()
    }

    /// How many arrivals there are if they come as evenly as the rate says: the first at once, and none at the end.
    pub(super) fn arrivals(&self) -> u64 {
        u64::try_from(self.whole().div_ceil(ARRIVAL)).unwrap_or(u64::MAX)
    }

    /// Expected arrivals, as a number.
    pub(super) fn expected(&self) -> f64 {
        as_f64(self.whole()) / as_f64(ARRIVAL)
    }

    /// When so many arrivals have come before, and the next one does.
    pub(super) fn even(&self, index: u64) -> Duration {
        self.at_area(u128::from(index) * ARRIVAL)
    }

    /// When this many arrivals are expected, fractions included.
    pub(super) fn at(&self, arrivals: f64) -> Duration {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of the whole area, which fits"
        )]
        let area = (arrivals * as_f64(ARRIVAL)) as u128;
        self.at_area(area)
    }

    fn whole(&self) -> u128 {
        self.areas.last().copied().unwrap_or_default()
    }

    fn at_area(&self, area: u128) -> Duration {
        // The last piece that begins at or before that area and has any.
        let mut place = self.areas.partition_point(|before| *before <= area);
        place = place.clamp(1, self.pieces.len()) - 1;
        let before: Duration = self.pieces[..place].iter().map(|piece| piece.over).sum();
        before + self.pieces[place].at_area(area.saturating_sub(self.areas[place]))
    }
}

impl Piece {
    /// When the rate has covered twice this area.
    fn at_area(&self, area: u128) -> Duration {
        if self.from == self.to {
            let nanos = area
                .checked_div(2 * u128::from(self.from))
                .unwrap_or_default();
            return Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(self.over);
        }
        // from·2t + slope·t² = area, in the form that loses no digits.
        let (from, to) = (as_f64(self.from.into()), as_f64(self.to.into()));
        let slope = (to - from) / as_f64(self.over.as_nanos());
        let area = as_f64(area);
        let root = (from * from + slope * area).max(0.0).sqrt();
        let nanos = if area > 0.0 {
            area / (from + root)
        } else {
            0.0
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a time within the piece, cut to whole nanoseconds"
        )]
        let nanos = nanos as u64;
        Duration::from_nanos(nanos).min(self.over)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "53 bits are more than the nanoseconds of a time need"
)]
fn as_f64(number: u128) -> f64 {
    number as f64
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
