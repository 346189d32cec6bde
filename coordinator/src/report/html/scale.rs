//! Scales and their ticks: where on an axis a value stands, and which values deserve a label.

/// Distances between ticks of a time axis, in seconds, that people read without arithmetic.
const TIME_STEPS: [f64; 22] = [
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0,
    3_600.0, 7_200.0, 14_400.0, 21_600.0, 43_200.0, 86_400.0, 172_800.0,
];

/// More ticks than any axis needs: a bound, whatever the numbers are.
const MOST_TICKS: u32 = 24;

/// How values map to an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// Equal distances for equal differences.
    Linear {
        /// Value at the start of the axis.
        from: f64,
        /// Value at its end.
        to: f64,
    },
    /// Equal distances for equal ratios; both ends are above zero.
    Log {
        /// Value at the start of the axis.
        from: f64,
        /// Value at its end.
        to: f64,
    },
    /// Equal distances for each nine of a percentile: 90 %, 99 %, 99.9 %. Values are shares from 0 to 1.
    Nines {
        /// How many nines the axis shows.
        nines: f64,
    },
}

impl Scale {
    /// A linear scale from zero to a round number at or above `most`.
    pub(super) fn from_zero(most: f64, ticks: f64) -> Self {
        if !(most.is_finite() && most > 0.0) {
            return Self::Linear { from: 0.0, to: 1.0 };
        }
        let step = round_step(most / ticks);
        Self::Linear {
            from: 0.0,
            to: (most / step).ceil() * step,
        }
    }

    /// A log scale that holds `least` and `most`, at least half a decade wide.
    pub(super) fn around(least: f64, most: f64) -> Self {
        let usable = least.is_finite() && most.is_finite() && least > 0.0 && most >= least;
        let (least, most) = if usable { (least, most) } else { (1e-3, 1.0) };
        if most / least < 3.2 {
            Self::Log {
                from: least / 1.8,
                to: most * 1.8,
            }
        } else {
            Self::Log {
                from: least,
                to: most,
            }
        }
    }

    /// Where `value` stands, from 0 at the start of the axis to 1 at its end; values outside stand at the ends.
    pub(super) fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear { from, to } => (value - from) / (to - from),
            Self::Log { from, to } => (value / from).ln() / (to / from).ln(),
            Self::Nines { nines } => -(1.0 - value).max(1e-12).log10() / nines,
        };
        if place.is_finite() {
            place.clamp(0.0, 1.0)
        } else {
            0.0
        }
    }

    /// The value at a place from 0 to 1.
    pub(super) fn value(self, place: f64) -> f64 {
        match self {
            Self::Linear { from, to } => from + (to - from) * place,
            Self::Log { from, to } => from * (to / from).powf(place),
            Self::Nines { nines } => 1.0 - 10f64.powf(-nines * place),
        }
    }

    /// Round values along the axis, about `wanted` of them.
    pub(super) fn ticks(self, wanted: f64) -> Vec<f64> {
        match self {
            Self::Linear { from, to } => steps(from, to, round_step((to - from) / wanted)),
            Self::Log { from, to } => decades(from, to, wanted),
            Self::Nines { nines } => {
                let all: [f64; 6] = [0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999];
                all.into_iter()
                    .filter(|share| -(1.0 - share).log10() <= nines + 1e-9)
                    .collect()
            }
        }
    }

    /// Ticks of a time axis that begins at zero.
    pub(super) fn time_ticks(self, wanted: f64) -> Vec<f64> {
        let (Self::Linear { from, to } | Self::Log { from, to }) = self else {
            return Vec::new();
        };
        let ideal = (to - from) / wanted;
        let step = TIME_STEPS
            .iter()
            .copied()
            .find(|step| *step >= ideal)
            .unwrap_or_else(|| round_step(ideal));
        steps(from, to, step)
    }
}

/// 1, 2 or 5 times a power of ten, at or above `ideal`.
fn round_step(ideal: f64) -> f64 {
    let power = 10f64.powf(ideal.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|factor| factor * power >= ideal * 0.999_999);
    factor.unwrap_or(10.0) * power
}

fn steps(from: f64, to: f64, step: f64) -> Vec<f64> {
    let usable = step.is_finite() && step > 0.0;
    let first = if usable {
        (from / step - 1e-9).ceil() * step
    } else {
        from
    };
    (0..MOST_TICKS)
        .map(|index| first + f64::from(index) * step)
        .take_while(|value| usable && *value <= to + step * 1e-6)
        .collect()
}

/// 1, 2 and 5 in each decade, or decades alone where that would be too many.
fn decades(from: f64, to: f64, wanted: f64) -> Vec<f64> {
    let factors: &[f64] = match (to / from).log10() {
        span if span * 3.0 <= wanted => &[1.0, 2.0, 5.0],
        span if span * 2.0 <= wanted * 1.3 => &[1.0, 3.0],
        _ => &[1.0],
    };
    let mut power = 10f64.powf(from.log10().floor());
    let mut ticks = Vec::new();
    for _ in 0..MOST_TICKS {
        ticks.extend(
            factors
                .iter()
                .map(|factor| factor * power)
                .filter(|tick| *tick >= from && *tick <= to),
        );
        power *= 10.0;
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::Scale;

    #[test]
    fn linear_axes_end_on_round_numbers() {
        let scale = Scale::from_zero(873.0, 4.0);
        assert_eq!(
            scale,
            Scale::Linear {
                from: 0.0,
                to: 1_000.0
            }
        );
        assert_eq!(scale.ticks(4.0), [0.0, 500.0, 1_000.0]);
        assert_eq!(scale.ticks(5.0), [0.0, 200.0, 400.0, 600.0, 800.0, 1_000.0]);
    }

    #[test]
    fn nothing_and_nonsense_still_have_an_axis() {
        for most in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(
                Scale::from_zero(most, 4.0),
                Scale::Linear { from: 0.0, to: 1.0 }
            );
        }
        assert_eq!(
            Scale::around(0.0, 0.0),
            Scale::Log {
                from: 1e-3,
                to: 1.0
            }
        );
        assert!(Scale::Linear { from: 1.0, to: 1.0 }.place(1.0).abs() < 1e-9);
    }

    #[test]
    fn places_and_values_are_inverse() {
        let scales = [
            Scale::Linear {
                from: 0.0,
                to: 60.0,
            },
            Scale::Log {
                from: 1e-4,
                to: 10.0,
            },
            Scale::Nines { nines: 3.0 },
        ];
        for scale in scales {
            for place in [0.0, 0.25, 0.5, 1.0] {
                assert!(
                    (scale.place(scale.value(place)) - place).abs() < 1e-9,
                    "{scale:?} at {place}"
                );
            }
        }
    }

    #[test]
    fn time_ticks_are_readable() {
        assert_eq!(
            Scale::Linear {
                from: 0.0,
                to: 60.0
            }
            .time_ticks(6.0),
            [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
        );
        assert_eq!(
            Scale::Linear {
                from: 0.0,
                to: 3_600.0
            }
            .time_ticks(6.0)
            .len(),
            7
        );
    }

    #[test]
    fn log_ticks_stay_inside() {
        let ticks = Scale::around(0.002, 0.9).ticks(6.0);
        assert!(
            ticks.len() > 2 && ticks.iter().all(|tick| (0.002..=0.9).contains(tick)),
            "{ticks:?}"
        );
        assert!(!Scale::around(0.01, 0.0101).ticks(6.0).is_empty());
    }
}
