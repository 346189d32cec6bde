//! How the rows of a stream are numbered: by how much each is more than the one before, and where the number starts again.
//!
//! A number is judged by its distance, in steps, from the one that is expected next. Where numbers start again the shorter way
//! round counts, so that of `N` numbers half may be left out, or be late, before the two are mistaken for each other. A number
//! that no whole number of steps leads to, or that the numbering never reaches, has no distance: it is the number of no row.

use super::path::Scalar;

/// How a stream's rows are numbered. Numbers of 64 bits need no cycle: they start again where 64 bits do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbering {
    step: i64,
    cycle: Option<Cycle>,
}

/// The numbers from `least` on, `length` of them, one after another for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cycle {
    least: i64,
    length: u64,
}

/// Numbers that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberingError {
    /// Rows whose numbers do not grow.
    #[error("a step is at least 1, not {step}")]
    Step {
        /// What was given.
        step: i64,
    },
    /// A step that is no step, since it leads round the whole cycle.
    #[error("with a step of {step}, numbers cannot start again after {length}")]
    Cycle {
        /// The step.
        step: i64,
        /// How many numbers there are.
        length: i64,
    },
}

impl Numbering {
    /// Each number is one more than the one before.
    pub const ONE: Self = Self {
        step: 1,
        cycle: None,
    };

    /// Each number is `step` more than the one before.
    ///
    /// # Errors
    /// [`NumberingError::Step`] if they would not grow.
    pub const fn by(step: i64) -> Result<Self, NumberingError> {
        if step < 1 {
            return Err(NumberingError::Step { step });
        }
        Ok(Self { step, cycle: None })
    }

    /// The same, with the numbers from 0 to `length - 1` only: after the last of them comes 0.
    ///
    /// # Errors
    /// [`NumberingError::Cycle`] if a step leads round all of them.
    pub const fn starting_again_at(self, length: i64) -> Result<Self, NumberingError> {
        if length <= self.step {
            let step = self.step;
            return Err(NumberingError::Cycle { step, length });
        }
        let cycle = Cycle {
            least: 0,
            length: length.cast_unsigned(),
        };
        Ok(Self {
            cycle: Some(cycle),
            ..self
        })
    }

    /// The same, with the numbers of a field's type only: after the greatest of them comes the least.
    ///
    /// # Errors
    /// [`NumberingError::Cycle`] if a step leads round all of them.
    pub const fn starting_again_with(self, scalar: Scalar) -> Result<Self, NumberingError> {
        const LENGTH: i64 = 1 << 32;
        let least = match scalar {
            Scalar::Int32 | Scalar::Sint32 | Scalar::Sfixed32 => -(LENGTH / 2),
            Scalar::Uint32 | Scalar::Fixed32 => 0,
            // 64 bits start again by themselves, and nothing else is a number.
            _ => return Ok(self),
        };
        match self.starting_again_at(LENGTH) {
            Ok(Self {
                step,
                cycle: Some(cycle),
            }) => Ok(Self {
                step,
                cycle: Some(Cycle { least, ..cycle }),
            }),
            other => other,
        }
    }

    /// Whether numbers start again before 64 bits are used up.
    #[must_use]
    pub const fn starts_again(&self) -> bool {
        self.cycle.is_some()
    }

    /// Whether a number can be one of the numbering at all.
    #[must_use]
    pub const fn reaches(&self, number: i64) -> bool {
        match self.cycle {
            Some(cycle) => cycle.contains(number),
            None => true,
        }
    }

    /// The number after one that the numbering reaches.
    #[inline]
    #[must_use]
    pub const fn after(&self, number: i64) -> i64 {
        match self.cycle {
            None => number.wrapping_add(self.step),
            // Neither is above 2^63 - 1, so their sum fits.
            Some(cycle) => cycle.number(cycle.offset(number) + self.step.cast_unsigned()),
        }
    }

    /// How many steps a number is beyond the expected one, which the numbering reaches; negative: before it. `None` if no
    /// whole number of steps leads there.
    #[must_use]
    pub const fn distance(&self, expected: i64, number: i64) -> Option<i64> {
        let apart = match self.cycle {
            None => number.wrapping_sub(expected),
            Some(cycle) if cycle.contains(number) => cycle.shorter_way(expected, number),
            Some(_) => return None,
        };
        if apart % self.step == 0 {
            Some(apart / self.step)
        } else {
            None
        }
    }

    /// The number so many steps beyond another one, which the numbering reaches.
    #[must_use]
    pub fn at(&self, first: i64, steps: i64) -> i64 {
        let Some(cycle) = self.cycle else {
            return first.wrapping_add(self.step.wrapping_mul(steps));
        };
        let apart = i128::from(self.step) * i128::from(steps);
        let offset = (i128::from(cycle.offset(first)) + apart).rem_euclid(cycle.length.into());
        cycle.number(u64::try_from(offset).unwrap_or_default())
    }
}

impl Cycle {
    const fn offset(self, number: i64) -> u64 {
        number.wrapping_sub(self.least).cast_unsigned()
    }

    const fn contains(self, number: i64) -> bool {
        self.offset(number) < self.length
    }

    /// The number at an offset below twice the length.
    const fn number(self, offset: u64) -> i64 {
        let offset = if offset >= self.length {
            offset - self.length
        } else {
            offset
        };
        self.least.wrapping_add(offset.cast_signed())
    }

    const fn shorter_way(self, from: i64, to: i64) -> i64 {
        let ahead = (self.offset(to) + self.length - self.offset(from)) % self.length;
        if ahead <= (self.length - 1) / 2 {
            ahead.cast_signed()
        } else {
            (self.length - ahead).cast_signed().wrapping_neg()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_start_again_where_they_are_said_to() {
        let bytes = Numbering::ONE.starting_again_at(256).unwrap();
        assert_eq!((bytes.after(254), bytes.after(255)), (255, 0));
        assert_eq!(bytes.distance(0, 127), Some(127));
        assert_eq!(bytes.distance(0, 128), Some(-128));
        assert_eq!(bytes.distance(3, 255), Some(-4));
        assert_eq!(
            (bytes.distance(3, 256), bytes.distance(3, -1)),
            (None, None)
        );
        let int = Numbering::ONE.starting_again_with(Scalar::Int32).unwrap();
        assert_eq!(int.after(i32::MAX.into()), i64::from(i32::MIN));
        let unsigned = Numbering::ONE.starting_again_with(Scalar::Fixed32).unwrap();
        assert_eq!(unsigned.after(u32::MAX.into()), 0);
        let wide = Numbering::ONE.starting_again_with(Scalar::Uint64).unwrap();
        assert_eq!(wide.after(-1), 0, "which is the greatest u64");
        assert!(!wide.starts_again());
    }

    #[test]
    fn a_step_need_not_divide_the_cycle() {
        let clock = Numbering::by(160).and_then(|by| by.starting_again_at(1_000));
        let clock = clock.unwrap();
        assert_eq!(clock.after(900), 60);
        assert_eq!(clock.distance(60, 900), Some(-1));
        assert_eq!(clock.distance(60, 61), None);
        assert_eq!(clock.at(900, 2), 220);
    }

    #[test]
    fn numbers_that_go_nowhere_are_refused() {
        assert_eq!(Numbering::by(0), Err(NumberingError::Step { step: 0 }));
        let four = Numbering::by(4).unwrap();
        assert!(four.starting_again_at(5).is_ok());
        let cycle = NumberingError::Cycle { step: 4, length: 4 };
        assert_eq!(four.starting_again_at(4), Err(cycle));
        assert_eq!(
            cycle.to_string(),
            "with a step of 4, numbers cannot start again after 4"
        );
        assert!(
            Numbering::by(1 << 33)
                .unwrap()
                .starting_again_with(Scalar::Int32)
                .is_err()
        );
    }

    proptest! {
        /// Going and measuring are each other's reverse, at every size of numbers.
        #[test]
        fn steps_lead_where_they_are_measured_from(
            step in prop_oneof![1..200i64, Just(i64::MAX)],
            length in prop::option::of(prop_oneof![2..100_000i64, Just(i64::MAX)]),
            first: i64,
            steps in -1_000..1_000i64,
        ) {
            let by = Numbering::by(step).unwrap();
            let numbering = match length {
                Some(length) if length > step => by.starting_again_at(length).unwrap(),
                _ => by,
            };
            let first = length.filter(|_| numbering.starts_again()).map_or(first, |length| first.rem_euclid(length));
            let there = numbering.at(first, steps);
            prop_assert!(numbering.reaches(there));
            prop_assert_eq!(numbering.at(there, -steps), first);
            let after = (0..steps.max(0)).fold(first, |number, _| numbering.after(number));
            prop_assert_eq!(numbering.at(first, steps.max(0)), after);
            let half = length.filter(|_| numbering.starts_again()).unwrap_or(i64::MAX) / 2;
            if step.checked_mul(steps.abs()).is_some_and(|apart| apart < half) {
                prop_assert_eq!(numbering.distance(first, there), Some(steps));
            }
        }
    }
}
