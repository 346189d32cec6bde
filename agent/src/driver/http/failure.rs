//! What an HTTP client's error means for a stage.

use std::io;

use testmesh_shared::plan::ErrorKind;

use crate::driver::contract::StageError;
use crate::driver::transport::{chain, find, http2_failure};

/// A failure of a request or of its answer's body.
pub(in crate::driver) fn failure(doing: &str, error: &reqwest::Error) -> StageError {
    let failed = |kind| StageError::new(kind, format!("{doing}: {}", reason(error)));
    if error.is_redirect() {
        return failed(ErrorKind::Protocol).with_code("too_many_redirects");
    }
    if error.is_builder() {
        return failed(ErrorKind::Internal).with_code("bad_request");
    }
    if let Some(http2) = find::<h2::Error>(error) {
        return http2_failure(doing, http2);
    }
    let hyper = find::<hyper::Error>(error);
    if hyper.is_some_and(|error| error.is_parse() || error.is_parse_too_large()) {
        return failed(ErrorKind::Protocol).with_code("garbage");
    }
    if let Some(io) = find::<io::Error>(error) {
        return match reason(error) {
            text if text.contains("dns error") => failed(ErrorKind::Unavailable).with_code("dns"),
            text => StageError {
                message: format!("{doing}: {text}"),
                ..StageError::io(doing, io)
            },
        };
    }
    match hyper {
        Some(error)
            if error.is_incomplete_message() || error.is_canceled() || error.is_closed() =>
        {
            failed(ErrorKind::Reset)
        }
        Some(error) if error.is_timeout() => failed(ErrorKind::Timeout),
        _ if error.is_connect() => failed(ErrorKind::Unavailable),
        Some(_) => failed(ErrorKind::Protocol),
        None => failed(ErrorKind::Reset),
    }
}

/// The causes, without the URL that `doing` already says.
fn reason(error: &reqwest::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), chain)
}
