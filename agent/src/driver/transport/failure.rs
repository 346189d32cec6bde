//! Tells what went wrong below a protocol in the closed vocabulary of stage errors.

use std::error::Error;
use std::io;

use testmesh_shared::plan::ErrorKind;

use crate::driver::contract::StageError;

/// The first `E` among an error and its sources.
pub(crate) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // `io::Error` answers `source()` with its inner error's source, and so hides the inner error itself.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = inner
            .map(|inner| inner as &(dyn Error + 'static))
            .or_else(|| error.source());
    }
    None
}

/// An error with its sources on one line; a source that the text already says is not said twice.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = error.source();
    }
    text
}

/// What an I/O error means for a stage, with the finer word where there is one.
pub(crate) fn io_failure(error: &io::Error) -> (ErrorKind, Option<&'static str>) {
    if find::<rustls::Error>(error).is_some() {
        return (ErrorKind::Protocol, Some("tls"));
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => (ErrorKind::Refused, None),
        io::ErrorKind::TimedOut => (ErrorKind::Timeout, None),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected
        | io::ErrorKind::UnexpectedEof => (ErrorKind::Reset, None),
        io::ErrorKind::InvalidData => (ErrorKind::Protocol, None),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => {
            (ErrorKind::Internal, Some("ports_exhausted"))
        }
        _ if error
            .raw_os_error()
            .is_some_and(|code| code == EMFILE || code == ENFILE) =>
        {
            (ErrorKind::Internal, Some("file_limit"))
        }
        _ => (ErrorKind::Unavailable, None),
    }
}

/// The process, or the system, has no file descriptor left. `io::ErrorKind` has no name for these.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

impl StageError {
    /// A failure of the transport: `doing` says what was tried, with whom.
    pub(crate) fn io(doing: &str, error: &io::Error) -> Self {
        let (kind, code) = io_failure(error);
        let hint = match code {
            Some("file_limit") => " (raise the agent's limit of open files)",
            Some("ports_exhausted") => " (the agent has no local port left for this address)",
            _ => "",
        };
        Self {
            code,
            ..Self::new(kind, format!("{doing}: {}{hint}", chain(error)))
        }
    }
}

/// What an HTTP/2 error means for a stage.
pub(crate) fn http2_failure(doing: &str, error: &h2::Error) -> StageError {
    if let Some(io) = error.get_io() {
        return StageError::io(doing, io);
    }
    let failure = |kind| StageError::new(kind, format!("{doing}: {error}"));
    match error.reason() {
        // The peer gave up one stream, or the whole connection, in words of its own.
        Some(h2::Reason::REFUSED_STREAM) if error.is_remote() => failure(ErrorKind::Unavailable),
        Some(h2::Reason::NO_ERROR) if error.is_go_away() && error.is_remote() => {
            failure(ErrorKind::Unavailable)
        }
        Some(_) if error.is_remote() => failure(ErrorKind::Reset),
        // This end refused what came: it breaks HTTP/2.
        Some(_) => failure(ErrorKind::Protocol),
        None => failure(ErrorKind::Reset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart() {
        let kind = |kind: io::ErrorKind| io_failure(&io::Error::from(kind)).0;
        assert_eq!(kind(io::ErrorKind::ConnectionRefused), ErrorKind::Refused);
        assert_eq!(kind(io::ErrorKind::UnexpectedEof), ErrorKind::Reset);
        assert_eq!(kind(io::ErrorKind::HostUnreachable), ErrorKind::Unavailable);
        let tls = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError);
        assert_eq!(io_failure(&tls), (ErrorKind::Protocol, Some("tls")));
        assert_eq!(
            io_failure(&io::Error::from_raw_os_error(EMFILE)),
            (ErrorKind::Internal, Some("file_limit"))
        );
    }
}
