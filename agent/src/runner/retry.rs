//! Which failures are tried again.

use testmesh_shared::grpc_status::name_of as grpc_name;
use testmesh_shared::plan::{ErrorKind, Retry, RetryOn};

use crate::driver::StageError;

/// Whether a try that failed so is tried again.
pub(super) fn applies(retry: &Retry, error: &StageError) -> bool {
    if retry.on.is_empty() {
        return is_transport(error.kind);
    }
    retry.on.iter().any(|on| names(on, error))
}

fn names(on: &RetryOn, error: &StageError) -> bool {
    match on {
        // Some kinds and some statuses of gRPC have the same name: `internal`, `cancelled`, `unavailable`.
        RetryOn::Error(kind) => {
            *kind == error.kind
                || error
                    .status
                    .is_some_and(|status| grpc_name(status) == Some(kind.as_str()))
        }
        RetryOn::Status(status) => error.status == Some(*status),
        RetryOn::StatusName(name) => error
            .status
            .is_some_and(|status| grpc_name(status) == Some(name)),
    }
}

/// Whether no complete answer came: in `until`, *not yet*.
pub(super) fn is_transport(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Refused | ErrorKind::Unavailable | ErrorKind::Reset | ErrorKind::Timeout
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_name_a_kind_and_a_status_mean_both() {
        let internal = RetryOn::Error(ErrorKind::Internal);
        let status = |code| StageError::new(ErrorKind::Status, "").with_status(code);
        assert!(names(&internal, &status(13)));
        assert!(!names(&internal, &status(5)));
        assert!(names(&internal, &StageError::new(ErrorKind::Internal, "")));
    }

    #[test]
    fn statuses_are_known_by_name() {
        assert_eq!(grpc_name(8), Some("resource_exhausted"));
        assert_eq!(grpc_name(16), Some("unauthenticated"));
        assert_eq!(
            (grpc_name(17), grpc_name(-1), grpc_name(503)),
            (None, None, None)
        );
    }
}
