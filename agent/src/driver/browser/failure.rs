//! What went wrong on a page, and what it means for a stage.

use std::sync::Arc;
use std::time::Duration;

use testmesh_shared::plan::ErrorKind;

use super::cdp::CallError;
use crate::driver::contract::StageError;

/// Why an action, or a look at a page, came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The time was over, and why what was waited for was not so.
    NotYet(String),
    /// Waiting would not help.
    Broken(String),
    /// A script of the plan's own threw that.
    Thrown(String),
    /// The page's process does not answer.
    Hung,
    /// The page is gone.
    Gone(Arc<str>),
    /// The browser will not.
    Refused(String),
    /// It is a stage's failure as it stands.
    Failed(Box<StageError>),
}

/// Who can still say what a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaves {
    /// The page itself.
    Page,
    /// The browser, which knows its title and URL.
    Browser,
    /// Nobody.
    Nobody,
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Ended(reason) => Self::Gone(reason),
            CallError::TimedOut(_) => Self::Hung,
            refused @ CallError::Refused { .. } => Self::Refused(refused.to_string()),
        }
    }
}

impl From<StageError> for Trouble {
    fn from(error: StageError) -> Self {
        Self::Failed(Box::new(error))
    }
}

impl Trouble {
    /// Who can still say what the page shows.
    pub(super) fn leaves(&self) -> Leaves {
        match self {
            Self::Gone(_) => Leaves::Nobody,
            Self::Hung => Leaves::Browser,
            _ => Leaves::Page,
        }
    }

    /// The failure of an action that had so much time.
    pub(super) fn failure(self, doing: &str, limit: Duration) -> StageError {
        let limit = Duration::from_millis(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let failed = |kind, text: String| StageError::new(kind, format!("{doing}: {text}"));
        match self {
            Self::NotYet(why) => failed(ErrorKind::Timeout, format!("{why}, after {limit:?}")),
            Self::Broken(why) => failed(ErrorKind::Expectation, why).with_code("unusable"),
            Self::Thrown(text) => {
                failed(ErrorKind::Expectation, format!("it throws {text}")).with_code("exception")
            }
            Self::Hung => failed(
                ErrorKind::Timeout,
                format!(
                    "the page did not answer within {limit:?}: a script of it may run without end"
                ),
            ),
            Self::Gone(reason) => failed(ErrorKind::Reset, reason.to_string()),
            Self::Refused(text) => failed(ErrorKind::Protocol, text),
            Self::Failed(error) => StageError {
                message: format!("{doing}: {}", error.message),
                ..*error
            },
        }
    }
}

/// The failure of a call that no action made.
pub(super) fn call_failure(error: &CallError) -> StageError {
    let kind = match error {
        CallError::Ended(_) => ErrorKind::Reset,
        CallError::TimedOut(_) => ErrorKind::Timeout,
        CallError::Refused { .. } => ErrorKind::Protocol,
    };
    StageError::new(kind, error.to_string())
}

/// The failure of a navigation, by the name that Chromium has for it.
pub(super) fn net_failure(text: &str) -> StageError {
    let failed = |kind| StageError::new(kind, text);
    let name = text.strip_prefix("net::ERR_").unwrap_or(text);
    match name {
        "CONNECTION_REFUSED" => failed(ErrorKind::Refused),
        "NAME_NOT_RESOLVED" | "NAME_RESOLUTION_FAILED" | "DNS_TIMED_OUT" => {
            failed(ErrorKind::Unavailable).with_code("dns")
        }
        "ADDRESS_UNREACHABLE" | "INTERNET_DISCONNECTED" | "NETWORK_CHANGED" => {
            failed(ErrorKind::Unavailable)
        }
        "CONNECTION_RESET" | "CONNECTION_CLOSED" | "EMPTY_RESPONSE" | "SOCKET_NOT_CONNECTED" => {
            failed(ErrorKind::Reset)
        }
        "TIMED_OUT" | "CONNECTION_TIMED_OUT" => failed(ErrorKind::Timeout),
        _ if name.starts_with("CERT_") || name.starts_with("SSL_") => {
            failed(ErrorKind::Protocol).with_code("tls")
        }
        _ => failed(ErrorKind::Protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn navigations_fail_as_requests_do() {
        for (text, kind, code) in [
            ("net::ERR_CONNECTION_REFUSED", ErrorKind::Refused, None),
            (
                "net::ERR_NAME_NOT_RESOLVED",
                ErrorKind::Unavailable,
                Some("dns"),
            ),
            (
                "net::ERR_CERT_AUTHORITY_INVALID",
                ErrorKind::Protocol,
                Some("tls"),
            ),
            ("net::ERR_EMPTY_RESPONSE", ErrorKind::Reset, None),
            ("net::ERR_SOMETHING_NEW", ErrorKind::Protocol, None),
        ] {
            let error = net_failure(text);
            assert_eq!((error.kind, error.code), (kind, code), "{text}");
        }
    }

    #[test]
    fn failures_say_what_was_done_and_for_how_long() {
        let trouble = Trouble::NotYet("no element matches".to_owned());
        let error = trouble.failure("click `#a`", Duration::from_micros(1_900_400));
        assert_eq!(error.message, "click `#a`: no element matches, after 1.9s");
        let gone = Trouble::from(CallError::Ended("the browser ended: signal 9".into()));
        assert_eq!(gone.leaves(), Leaves::Nobody);
        assert_eq!(
            gone.failure("click `#a`", Duration::ZERO).kind,
            ErrorKind::Reset
        );
    }
}
