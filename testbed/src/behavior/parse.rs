//! `NAME[:RATE|:DURATION]`, as the command line, `--testbed=` and the admin API spell it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::table::{self, Entry, Kind, TABLE, Takes};
use crate::limits::MAX_BEHAVIORS;

/// How often or how long a behavior strikes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Strength {
    /// Once in each call, between its 10th and 50th row; what strikes no row: in every request, call, job or task.
    Once,
    /// Each row, request, call, job or task with this probability.
    Rate(f64),
    /// As `Once`, for this long.
    Duration(Duration),
}

/// A behavior that is switched on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Behavior {
    kind: Kind,
    strength: Strength,
}

/// Why a behavior was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BehaviorError {
    /// The name is not in the table.
    #[error("there is no behavior `{name}`; known are {known}", known = known())]
    Unknown {
        /// What was given.
        name: String,
    },
    /// The value is neither a rate nor a duration.
    #[error("`{value}` is not a value of `{name}`: give {accepts}, for instance `{example}`")]
    Value {
        /// The behavior.
        name: &'static str,
        /// What was given.
        value: String,
        /// What it takes.
        accepts: &'static str,
        /// A value that would do.
        example: &'static str,
    },
    /// Nothing stands between two commas.
    #[error("the list of behaviors has an empty item")]
    Empty,
    /// A behavior is named twice.
    #[error("behavior `{name}` is named twice")]
    Twice {
        /// The behavior.
        name: &'static str,
    },
    /// The list is longer than the testbed keeps.
    #[error("a list of behaviors may have at most {MAX_BEHAVIORS} items")]
    TooMany,
}

impl Behavior {
    /// The behavior at its usual strength: once in each call.
    #[must_use]
    pub const fn new(kind: Kind, strength: Strength) -> Self {
        Self { kind, strength }
    }

    /// Parses a comma-separated list, as in `--testbed=flip-bit,stall:2s`. An empty text is an empty list.
    ///
    /// # Errors
    ///
    /// Names the first item that is not a behavior, has a value it does not take, or is named twice.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, BehaviorError> {
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        let list = text
            .split(',')
            .map(str::parse)
            .collect::<Result<Vec<Self>, _>>()?;
        Self::check_list(&list)?;
        Ok(list)
    }

    /// Checks that a list names no behavior twice and is not too long.
    ///
    /// # Errors
    ///
    /// Names the behavior.
    pub fn check_list(list: &[Self]) -> Result<(), BehaviorError> {
        if list.len() > MAX_BEHAVIORS {
            return Err(BehaviorError::TooMany);
        }
        for (index, behavior) in list.iter().enumerate() {
            if list[..index]
                .iter()
                .any(|earlier| earlier.kind == behavior.kind)
            {
                return Err(BehaviorError::Twice {
                    name: behavior.entry().name,
                });
            }
        }
        Ok(())
    }

    /// Which behavior it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// How often or how long it strikes.
    #[must_use]
    pub const fn strength(&self) -> Strength {
        self.strength
    }

    /// Its row of the table.
    #[must_use]
    pub fn entry(&self) -> &'static Entry {
        table::entry(self.kind)
    }

    /// How long it lasts where it strikes: the given duration or the table's.
    pub(crate) fn lasts(&self) -> Duration {
        match (self.strength, self.entry().takes) {
            (Strength::Duration(duration), _) => duration,
            (_, Takes::RateOrDuration(default)) => default,
            (_, Takes::Rate) => Duration::ZERO,
        }
    }
}

impl FromStr for Behavior {
    type Err = BehaviorError;

    fn from_str(text: &str) -> Result<Self, BehaviorError> {
        let text = text.trim();
        let (name, value) = text
            .split_once(':')
            .map_or((text, None), |(name, value)| (name, Some(value)));
        if name.is_empty() {
            return Err(BehaviorError::Empty);
        }
        let entry = table::named(name).ok_or_else(|| BehaviorError::Unknown {
            name: name.to_owned(),
        })?;
        let strength = match value {
            None => Strength::Once,
            Some(value) => strength(entry, value)?,
        };
        Ok(Self {
            kind: entry.kind,
            strength,
        })
    }
}

impl fmt::Display for Behavior {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.entry().name;
        match self.strength {
            Strength::Once => f.write_str(name),
            Strength::Rate(rate) => write!(f, "{name}:{rate}"),
            Strength::Duration(duration) => write!(f, "{name}:{duration:?}"),
        }
    }
}

fn strength(entry: &'static Entry, value: &str) -> Result<Strength, BehaviorError> {
    let rate = value
        .parse::<f64>()
        .ok()
        .filter(|rate| (0.0..=1.0).contains(rate))
        .map(Strength::Rate);
    let (found, accepts, example) = match entry.takes {
        Takes::Rate => (rate, "a rate from 0 to 1", "1e-6"),
        Takes::RateOrDuration(_) => {
            let duration = || parse_duration(value).map(Strength::Duration);
            (
                rate.or_else(duration),
                "a rate from 0 to 1 or a duration up to an hour",
                "2s",
            )
        }
    };
    found.ok_or_else(|| BehaviorError::Value {
        name: entry.name,
        value: value.to_owned(),
        accepts,
        example,
    })
}

/// Parses `150us`, `20ms`, `1.5s` or `2m`, up to an hour.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic() || c == 'µ')?;
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return None,
    } * number.parse::<f64>().ok()?;
    (0.0..=3_600.0)
        .contains(&seconds)
        .then(|| Duration::try_from_secs_f64(seconds).ok())?
}

fn known() -> String {
    TABLE
        .iter()
        .map(|entry| entry.name)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_one_entry_and_parses_by_its_name() {
        for (index, entry) in TABLE.iter().enumerate() {
            let parsed: Behavior = entry.name.parse().unwrap();
            assert_eq!(
                (parsed.kind(), parsed.strength()),
                (entry.kind, Strength::Once)
            );
            assert!(
                TABLE[..index]
                    .iter()
                    .all(|other| other.kind != entry.kind && other.name != entry.name)
            );
            assert_eq!(parsed.to_string(), entry.name);
        }
    }

    #[test]
    fn lists_with_values() {
        let list = Behavior::parse_list("flip-bit:1e-6, stall:2s,slow-stage").unwrap();
        assert_eq!(
            list,
            [
                Behavior::new(Kind::FlipBit, Strength::Rate(1e-6)),
                Behavior::new(Kind::Stall, Strength::Duration(Duration::from_secs(2))),
                Behavior::new(Kind::SlowStage, Strength::Once),
            ]
        );
        assert_eq!(list[1].lasts(), Duration::from_secs(2));
        assert_eq!(list[2].lasts(), Duration::from_millis(1_500));
        assert_eq!(Behavior::parse_list("").unwrap(), []);
        let text = list
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",");
        assert_eq!(Behavior::parse_list(&text).unwrap(), list);
    }

    #[test]
    fn errors_name_the_place_and_the_way_out() {
        let error = |text: &str| Behavior::parse_list(text).unwrap_err().to_string();
        assert!(
            error("flip-byte").contains("no behavior `flip-byte`; known are flip-bit, drop-row")
        );
        assert!(error("flip-bit:2s").contains("`2s` is not a value of `flip-bit`: give a rate"));
        assert!(error("drop-row:1.5").contains("`1.5`"));
        assert!(error("drop-row:NaN").contains("`NaN`"));
        assert!(error("stall:-1s").contains("or a duration"));
        assert!(error("stall:99h").contains("or a duration"));
        assert_eq!(
            error("flip-bit,,stall"),
            "the list of behaviors has an empty item"
        );
        assert_eq!(error("stall,stall:1s"), "behavior `stall` is named twice");
    }

    #[test]
    fn durations() {
        for (text, expect) in [
            ("20ms", Some(Duration::from_millis(20))),
            ("1.5s", Some(Duration::from_millis(1_500))),
            ("2m", Some(Duration::from_secs(120))),
            ("150us", Some(Duration::from_micros(150))),
            ("5", None),
            ("s", None),
            ("1d", None),
            ("", None),
        ] {
            assert_eq!(parse_duration(text), expect, "{text}");
        }
    }
}
