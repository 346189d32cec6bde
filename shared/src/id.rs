//! Names and numbers that identify things across the mesh. None of them is ever a bare `String` or `u64`: a run cannot be
//! passed where an agent is meant. Text ids come from outside (flags, wire, file names), so parsing bounds them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Longest text id, in bytes: short enough for a file name, a label value and a Kubernetes label.
pub const ID_LENGTH_MAX: usize = 63;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not {what}: 1 to {ID_LENGTH_MAX} letters, digits, `.`, `_` or `-`, beginning with a letter or digit"
)]
pub struct IdError {
    what: &'static str,
    text: String,
}

fn checked(what: &'static str, text: &str) -> Result<Arc<str>, IdError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let begins = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins && text.len() <= ID_LENGTH_MAX && text.bytes().all(plain) {
        return Ok(Arc::from(text));
    }
    // A hostile id may be megabytes long; the message is not.
    let text = text.chars().take(ID_LENGTH_MAX).collect();
    Err(IdError { what, text })
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                checked($what, text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

text_id!(
    /// One execution of a plan, such as `20261122-171530-3fa9`: readable, and sorted by its start.
    RunId,
    "a run id"
);
text_id!(
    /// One agent, named by whoever started it, such as `haifa-3`.
    AgentId,
    "an agent name"
);
text_id!(
    /// Where an agent runs.
    Site,
    "a site name"
);

impl RunId {
    /// Makes the id of a run that begins now. `unix_ns` comes from a [`TimeAnchor`](crate::clock::TimeAnchor); the last
    /// four digits are random, so that two runs that begin in one second differ.
    #[must_use]
    pub fn generate(unix_ns: i64) -> Self {
        let at = Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or(Timestamp::UNIX_EPOCH);
        let [high, low, ..] = *Uuid::new_v4().as_bytes();
        Self(Arc::from(format!(
            "{}-{high:02x}{low:02x}",
            at.strftime("%Y%m%d-%H%M%S")
        )))
    }
}

impl Site {
    /// The site of agents of a local mesh whose plan names none.
    #[must_use]
    pub fn local() -> Self {
        Self(Arc::from("local"))
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a number.
            #[must_use]
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number itself.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one that follows.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

number_id!(
    /// One start of an agent's process. Later starts have greater epochs.
    Epoch
);
number_id!(
    /// Number of a batch within (run, agent, epoch): 1, 2, 3 … without gaps.
    BatchSeq
);
number_id!(
    /// Number of a session within its scenario and run, from 0, the same whatever agents there are.
    SessionIndex
);

impl Epoch {
    /// The epoch of a process that starts now: later starts are greater without anything being remembered.
    #[must_use]
    pub fn at(unix_ns: i64) -> Self {
        Self(u64::try_from(unix_ns).unwrap_or(0))
    }
}

/// One session of a run, written `SCENARIO/INDEX`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    /// The scenario's name.
    pub scenario: Arc<str>,
    /// Its number in that scenario.
    pub index: SessionIndex,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.scenario, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_reads_as_its_start_and_sorts_by_it() {
        let early = RunId::generate(1_795_367_730_000_000_000);
        let late = RunId::generate(1_795_367_731_000_000_000);
        assert!(early.as_str().starts_with("20261122-171530-"), "{early}");
        assert_eq!(early.as_str().len(), 20);
        assert!(early < late);
        assert_eq!(early.as_str().parse::<RunId>().unwrap(), early);
    }

    #[test]
    fn text_ids_are_bounded_and_safe_as_file_names() {
        for good in ["a", "haifa-3", "10.0.0.1", "pod_7"] {
            assert_eq!(good.parse::<AgentId>().unwrap().as_str(), good);
        }
        let long = "x".repeat(1 << 20);
        for bad in ["", "..", "-x", "a/b", "a b", "ä", "a\0", long.as_str()] {
            let error = bad.parse::<AgentId>().unwrap_err().to_string();
            assert!(error.len() < 300, "{error}");
        }
    }

    #[test]
    fn a_session_is_written_with_its_scenario() {
        let id = SessionId {
            scenario: Arc::from("live"),
            index: SessionIndex::new(7),
        };
        assert_eq!(id.to_string(), "live/7");
    }
}
