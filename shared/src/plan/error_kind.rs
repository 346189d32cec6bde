//! The closed set of ways in which a stage can fail.
//!
//! It is the `error` label of `stage_errors`, the vocabulary of `retry.on`, and what every driver
//! answers with; free text belongs into findings and spans, never into a label.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a stage failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// A time-out of the stage, of one attempt, or between two messages elapsed.
    Timeout,
    /// The connection was refused.
    Refused,
    /// The server said, or the transport found, that it cannot serve now.
    Unavailable,
    /// An open connection was reset or closed before the answer was whole.
    Reset,
    /// The answer breaks its protocol, or is larger than allowed.
    Protocol,
    /// The answer's status is a failure.
    Status,
    /// An `expect` expression was false or could not be evaluated.
    Expectation,
    /// The data of a stream is not what it must be.
    Integrity,
    /// Cut by a stop, or because a sibling of a parallel group failed.
    Cancelled,
    /// A defect of testmesh itself.
    Internal,
}

impl ErrorKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Timeout,
        Self::Refused,
        Self::Unavailable,
        Self::Reset,
        Self::Protocol,
        Self::Status,
        Self::Expectation,
        Self::Integrity,
        Self::Cancelled,
        Self::Internal,
    ];

    /// The word used in plans, metrics and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Status => "status",
            Self::Expectation => "expectation",
            Self::Integrity => "integrity",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no [`ErrorKind`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an error kind")]
pub struct UnknownErrorKind(pub String);

impl FromStr for ErrorKind {
    type Err = UnknownErrorKind;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| UnknownErrorKind(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorKind;

    #[test]
    fn every_kind_is_found_by_its_word() {
        for kind in ErrorKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert!("flaky".parse::<ErrorKind>().is_err());
    }
}
